import t from 'tap'
import { blackHole, fastClock, manualClock, scriptedMx } from '#world'
import { dial, message, opened, said } from './smtp-client-harness.ts'

await t.test('a port that answers nothing is given up at the deadline', async (t) => {
  await using hole = await blackHole()
  const started = performance.now()
  const result = await dial(hole.port, { deadlines: { connectMs: 400 } })
  t.match(result, { ok: false, failure: { stage: 'connect', reason: 'connect-timeout' } })
  t.ok(performance.now() - started < 3000)
})

await t.test('a closed port is refused at once', async (t) => {
  await using mx = await scriptedMx({ behaviour: 'refuse' })
  t.match(await dial(mx.port), { ok: false, failure: { stage: 'connect', reason: 'connection-refused', reply: null } })
})

await t.test('bytes that trickle do not move the deadline: it is the phase’s, by the given clock', async (t) => {
  await using mx = await scriptedMx({ behaviour: { paceMs: 20 } })
  const clock = manualClock()
  const dialing = dial(mx.port, { clock, deadlines: { bannerMs: 60_000 } })
  await new Promise((resolve) => setTimeout(resolve, 120))
  await clock.advance(59_999)
  await new Promise((resolve) => setTimeout(resolve, 60))
  await clock.advance(1)
  t.match(await dialing, { ok: false, failure: { stage: 'banner', reason: 'banner-timeout' } })
})

await t.test('a tarpit is left after the phases’ deadlines, an hour’s worth in seconds', async (t) => {
  await using mx = await scriptedMx({ behaviour: { paceMs: 100 } })
  const result = await dial(mx.port, { clock: fastClock(300), deadlines: { bannerMs: 300_000, ehloMs: 300_000 } })
  t.match(result, { ok: false, failure: { reason: /^(?:banner|ehlo)-timeout$/ } })
})

await t.test('endless banners, huge lines and many lines end by themselves and cost no memory', async (t) => {
  await using endless = await scriptedMx({ behaviour: 'endlessbanner' })
  await using huge = await scriptedMx({ behaviour: 'hugereply' })
  await using wide = await scriptedMx({ behaviour: { connect: () => `220-${'x'.repeat(1900)}\r\n`.repeat(40) } })
  const before = await settledRss()
  for (let round = 0; round < 10; round++) {
    const all = [endless, huge, wide].flatMap((mx) => [dial(mx.port), dial(mx.port)])
    for (const result of await Promise.all(all)) {
      t.match(result, { ok: false, failure: { stage: 'banner', reason: 'protocol-error' } })
      if (!result.ok) t.ok(result.failure.transcript.length <= 16_384)
    }
  }
  const grown = (await settledRss()) - before
  t.ok(grown < 20 * 1_048_576, `grew by ${Math.round(grown / 1024)} KiB`)
})

async function settledRss(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  return process.memoryUsage().rss
}

await t.test(
  'a peer that stops reading the content is left at the body’s deadline, and nothing is uncertain',
  async (t) => {
    await using mx = await scriptedMx({
      behaviour: {
        data: (s) => {
          s.say('354 go on')
          s.stopReading()
          return undefined
        },
      },
    })
    const connection = await opened(mx.port, { deadlines: { bodyMs: 700 } })
    const large = Buffer.alloc(78 * 400_000, `${'z'.repeat(76)}\r\n`)
    const before = process.memoryUsage().arrayBuffers
    const sending = connection.send(message({ content: [large] }))
    await new Promise((resolve) => setTimeout(resolve, 300))
    t.ok(process.memoryUsage().arrayBuffers - before < 20 * 1_048_576, 'no copy of the content piles up')
    t.equal(said((await sending).results[0]), 'deferred body body-timeout 4.4.2 infrastructure')
  },
)

await t.test('a connection lost in the body is deferred; large content, so the dot was far away', async (t) => {
  await using mx = await scriptedMx({ behaviour: 'dropindata' })
  const connection = await opened(mx.port)
  const sent = await connection.send(message({ content: [Buffer.alloc(78 * 200_000, `${'z'.repeat(76)}\r\n`)] }))
  t.match(said(sent.results[0]), /^deferred body connection-(?:reset|closed|error) 4\.4\.2 infrastructure$/)
})

await t.test('an abort ends whatever is under way: deferred before the dot, uncertain after it', async (t) => {
  const abort = new AbortController()
  await using silent = await scriptedMx({ behaviour: 'nobanner' })
  const dialing = dial(silent.port, { signal: abort.signal })
  setTimeout(() => abort.abort(), 60)
  t.match(await dialing, { ok: false, failure: { reason: 'aborted' } })
  t.match(await dial(silent.port, { signal: abort.signal }), { ok: false, failure: { reason: 'aborted' } })

  await using stall = await scriptedMx({ behaviour: 'stallafterdot' })
  const later = new AbortController()
  const connection = await opened(stall.port, { signal: later.signal })
  setTimeout(() => later.abort(), 100)
  t.equal(said((await connection.send(message())).results[0]), 'uncertain dot aborted')
  t.equal(stall.taken.length, 1)
})

await t.test('a thousand resets at random moments never raise an error outside the result', async (t) => {
  await using mx = await scriptedMx({
    behaviour: {
      connect: (s) => {
        setTimeout(() => s.reset(), Math.random() * 12)
        return '220 hello'
      },
    },
  })
  const kinds = new Map<string, number>()
  const one = async (i: number): Promise<void> => {
    const result = await dial(mx.port, { tls: i % 3 === 0 ? { mode: 'opportunistic' } : { mode: 'off' } })
    let kind = 'no connection'
    if (result.ok) {
      const sent = await result.connection.send(message())
      kind = sent.results[0]!.kind
      await result.connection.quit()
    }
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  for (let round = 0; round < 40; round++) await Promise.all(Array.from({ length: 25 }, (_, i) => one(i)))
  t.equal(
    [...kinds.values()].reduce((sum, n) => sum + n, 0),
    1000,
  )
  t.comment(JSON.stringify(Object.fromEntries(kinds)))
  t.notOk(kinds.has('refused'))
})

await t.test('the deadline of a phase does not run on while the connection is idle', async (t) => {
  await using mx = await scriptedMx()
  const clock = manualClock()
  const connection = await opened(mx.port, { clock })
  t.equal(said((await connection.send(message())).results[0]), 'delivered')
  t.equal(clock.waiting, 0)
  await clock.advance(3_600_000)
  t.ok(connection.usable)
  connection.destroy()
})
