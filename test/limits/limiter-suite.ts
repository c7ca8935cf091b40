import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Limiter } from '#limits'

/**
 * What every driver promises. `pass(ms)` lets that much of the driver's own time go by (a hand-moved clock, or real
 * waiting where the time is a server's).
 */
export async function limiterSuite(
  t: Test,
  open: () => Promise<Limiter>,
  pass: (ms: number) => Promise<void> = pause,
): Promise<void> {
  await t.test('a rate lets the burst through, then one each interval, and says how long to wait', async (t) => {
    await using limiter = await open()
    const rate = { limit: 10, perMs: 2000, burst: 3 }
    for (let i = 0; i < 3; i++) t.same(await limiter.take('r1', rate), { granted: true }, `burst ${i}`)
    const refused = await limiter.take('r1', rate)
    t.equal(refused.granted, false)
    if (!refused.granted)
      t.ok(refused.retryAfterMs > 100 && refused.retryAfterMs <= 200, `wait ${refused.retryAfterMs} ms`)
    t.same(await limiter.take('r2', rate), { granted: true }, 'another key is not touched')
    await pass(210)
    t.same(await limiter.take('r1', rate), { granted: true }, 'one interval later one is free')
    t.equal((await limiter.take('r1', rate)).granted, false, 'and only one')
  })

  await t.test('several at once are taken all or not at all', async (t) => {
    await using limiter = await open()
    const rate = { limit: 10, perMs: 10_000, burst: 5 }
    t.same(await limiter.take('all', rate, 4), { granted: true })
    t.equal((await limiter.take('all', rate, 2)).granted, false)
    t.same(await limiter.take('all', rate, 1), { granted: true }, 'the refused two took nothing')
  })

  await t.test('under contention never more than the limit is granted', async (t) => {
    await using limiter = await open()
    const rate = { limit: 20, perMs: 60_000, burst: 20 }
    const answers = await Promise.all(Array.from({ length: 100 }, () => limiter.take('crowd', rate)))
    t.equal(answers.filter((answer) => answer.granted).length, 20)
    const slots = await Promise.all(Array.from({ length: 50 }, () => limiter.acquire('crowd', 7, 60_000)))
    t.equal(slots.filter((slot) => slot !== null).length, 7)
  })

  await t.test('slots come back by release and by time', async (t) => {
    await using limiter = await open()
    const first = await limiter.acquire('s', 2, 10_000)
    const second = await limiter.acquire('s', 2, 300)
    t.ok(first && second)
    t.equal(await limiter.acquire('s', 2, 300), null)
    await limiter.release(first!)
    t.ok(await limiter.acquire('s', 2, 300), 'released')
    t.equal(await limiter.acquire('s', 2, 300), null)
    await pass(350)
    t.ok(await limiter.acquire('s', 2, 300), 'a holder that was lost blocks only until its time ends')
  })

  await t.test('flags end by themselves and can be cleared', async (t) => {
    await using limiter = await open()
    await limiter.set('f', 'open', 300)
    t.equal(await limiter.get('f'), 'open')
    t.equal(await limiter.get('other'), null)
    await pass(350)
    t.equal(await limiter.get('f'), null)
    await limiter.set('f', 'again', 10_000)
    await limiter.clear('f')
    t.equal(await limiter.get('f'), null)
  })

  await t.test('one leads; another only after the first let its time run out', async (t) => {
    await using limiter = await open()
    t.equal(await limiter.lead('clean-up', 'a', 300), true)
    t.equal(await limiter.lead('clean-up', 'b', 300), false)
    t.equal(await limiter.lead('clean-up', 'a', 300), true, 'the leader stays by asking again')
    await pass(350)
    t.equal(await limiter.lead('clean-up', 'b', 300), true)
    t.equal(await limiter.lead('clean-up', 'a', 300), false)
  })
}
