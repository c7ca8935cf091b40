import t from 'tap'
import { silentLog, systemClock } from '#base'
import { RedisLimiter } from '#limits'
import { limiterSuite } from './limiter-suite.ts'
import { REMEDY, RedisServer } from './redis-server.ts'

const server = await RedisServer.start()
let opened = 0

async function open(nodes = 1, prefix = `t${opened++}:`): Promise<RedisLimiter> {
  const limiter = await RedisLimiter.open({ url: server!.url, nodes, clock: systemClock, log: silentLog, prefix })
  for (let i = 0; i < 100; i++) {
    await limiter.get('ready')
    if (limiter.standing() === 'shared') break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return limiter
}

const RATE = { limit: 100, perMs: 3_600_000, burst: 100 }

if (server === null) {
  t.comment(`left out: limits in redis (remedy: ${REMEDY})`)
  t.not(process.env.RELEVO_TEST_ALL, '1', 'with --all nothing may be left out')
} else {
  t.teardown(() => server[Symbol.asyncDispose]())
  await limiterSuite(t, () => open())

  await t.test('two nodes share one limit', async (t) => {
    await using one = await open(2, 'both:')
    await using two = await open(2, 'both:')
    const answers = await Promise.all([...Array(120).keys()].map((i) => (i % 2 === 0 ? one : two).take('k', RATE)))
    t.equal(answers.filter((answer) => answer.granted).length, 100)
  })

  await t.test(
    'redis killed: each node keeps to its share, never to nothing and never to "unlimited"; back: shared again',
    async (t) => {
      await using one = await open(4, 'cut:')
      t.equal(one.standing(), 'shared')
      await server.kill()
      const answers = []
      for (let i = 0; i < 60; i++) answers.push(await one.take('k', RATE))
      t.equal(one.standing(), 'degraded')
      t.equal(answers.filter((answer) => answer.granted).length, 25, 'a quarter of 100 for one of four nodes')
      t.equal(await one.lead('x', 'me', 1000), false, 'nobody leads while nobody can be asked')
      const began = performance.now()
      for (let i = 0; i < 1000; i++) await one.take('k', RATE)
      t.ok(performance.now() - began < 1500, 'its absence does not cost a wait for each message')
      await server.start()
      for (let i = 0; i < 200 && one.standing() !== 'shared'; i++) {
        await one.take('again', RATE)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      t.equal(one.standing(), 'shared')
    },
  )

  await t.test(
    'what redis forgets a node does not: a flush after each message grants no second whole limit',
    async (t) => {
      await using one = await open(2, 'forgets:')
      let granted = 0
      for (let i = 0; i < 400; i++) {
        if ((await one.take('k', RATE)).granted) granted += 1
        if (i % 5 === 0) await server.flush()
      }
      t.equal(one.standing(), 'shared')
      t.ok(granted >= 100 && granted <= 112, `${granted} of a limit of 100`)
    },
  )

  await t.test('a server that stands still is an absent one, and is back when it goes on', async (t) => {
    await using one = await open(4, 'still:')
    server.freeze()
    t.teardown(() => server.thaw())
    const began = performance.now()
    let granted = 0
    for (let i = 0; i < 60; i++) if ((await one.take('k', RATE)).granted) granted += 1
    t.equal(one.standing(), 'degraded')
    t.equal(granted, 25, 'a quarter of 100 for one of four nodes')
    t.ok(performance.now() - began < 2500, 'one wait, not one for each')
    server.thaw()
    for (let i = 0; i < 200 && one.standing() !== 'shared'; i++) await new Promise((resolve) => setTimeout(resolve, 50))
    t.equal(one.standing(), 'shared', 'also when nobody asks for anything')
  })

  await t.test('started without redis: opens at once and works at its share', async (t) => {
    const limiter = await RedisLimiter.open({
      url: '/nonexistent/redis.sock',
      nodes: 2,
      clock: systemClock,
      log: silentLog,
    })
    t.teardown(() => limiter[Symbol.asyncDispose]())
    t.equal((await limiter.take('k', RATE)).granted, true)
    t.equal(limiter.standing(), 'degraded')
  })
}
