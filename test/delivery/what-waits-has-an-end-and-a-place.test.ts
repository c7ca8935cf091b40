import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Router } from '#routing'
import { AS_USUAL, BEHAVIOURS, manualClock, type Script } from '#world'
import { hosts, openRig, type Rig, until } from './delivery-rig.ts'

async function why(rig: Rig, id: string, reason: string): Promise<Awaited<ReturnType<Rig['queue']['why']>>> {
  let found = await rig.queue.why(id)
  for (let i = 0; i < 500 && found[0]!.reason !== reason; i++) {
    await pause(10)
    found = await rig.queue.why(id)
  }
  return found
}

void t.test('I-21 sixty silent sites with names of their own leave room for one that answers', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {}, known: {}, mute: BEHAVIOURS.blackhole })
  for (let i = 0; i < 60; i++) {
    zones[`m${i}.test`] = { MX: [[10, `mx.m${i}.test`]] }
    zones[`mx.m${i}.test`] = { A: ['127.0.0.3'] }
  }
  const rig = await openRig(t, { zones, port, delivery: { max_connections: 40 } })
  rig.start()
  await rig.accept('first@known.test')
  t.ok(await rig.ended(1))
  for (let i = 0; i < 60; i++) await rig.accept(`u@m${i}.test`)
  t.ok(await until(() => mx.mute!.open >= 25))
  await pause(300)
  const sentMs = performance.now()
  for (let i = 0; i < 20; i++) await rig.accept(`u${i}@known.test`)
  t.ok(await rig.ended(21, 3000), 'one that answered before is served at once')
  t.comment(`${Math.round(performance.now() - sentMs)} ms for a known site`)
  for (let i = 0; i < 20; i++) await rig.accept(`u${i}@good.test`)
  t.ok(await rig.ended(41, 30_000), 'one that nothing is known of soon')
  t.comment(`${Math.round(performance.now() - sentMs)} ms for a new site`)
  const { leased, ready } = await rig.queue.counts()
  t.equal(leased + ready, 60, 'what was cut off to make room waits, uncounted')
  await rig.stop(1500)
  t.equal((await rig.queue.counts()).ready, 60)
})

void t.test('a relay that carries all needs no look-up: names unknown here, or a DNS that is down', async (t) => {
  const { mx, zones, port } = await hosts(t, { relay: {} })
  zones['broken.test'] = { fault: 'servfail' }
  const rig = await openRig(t, { zones, port })
  await rig.providers.add({ name: 'relay', host: '127.0.0.1', port, tls: 'none', priority: 1 })
  rig.start()
  await rig.accept('u@broken.test')
  await rig.accept('u@inner-view-only.test')
  t.ok(await rig.ended(2))
  t.equal(mx.relay!.taken.length, 2)
  t.equal(rig.dns.queries.length, 0)
  await rig.everyRecipientEndedOnce()
})

void t.test('mail that asks for a relay goes by it although its domain does not exist here', async (t) => {
  const { mx, zones, port } = await hosts(t, { relay: {} })
  const rig = await openRig(t, { zones, port })
  await rig.providers.add({ name: 'relay', host: '127.0.0.1', port, tls: 'none', priority: 90 })
  rig.start()
  await rig.accept('by-relay@nowhere.test', { route: 'relay' })
  await rig.accept('direct@nowhere.test')
  t.ok(await rig.ended(2))
  t.strictSame(
    mx.relay!.taken.map((taken) => taken.recipients),
    [['by-relay@nowhere.test']],
  )
  t.strictSame(
    rig
      .outcomes()
      .map((event) => event.type)
      .sort(),
    ['bounced', 'sent'],
  )
  await rig.everyRecipientEndedOnce()
})

void t.test(
  'the lifetime ends what waits for a route that never comes, and for a DNS that never answers',
  async (t) => {
    const clock = manualClock()
    const { zones, port } = await hosts(t, { good: {} })
    zones['broken.test'] = { fault: 'servfail' }
    const router = (real: Router): Router => ({
      ...{ report: () => {}, release: () => {}, wantsMx: (request) => real.wantsMx(request) },
      choose: async () => ({ kind: 'wait', reason: 'no-provider', untilMs: clock.now() + 60_000, detail: '' }),
    })
    const rig = await openRig(t, { zones, port, router, clock, delivery: { lifetime: 3600 } })
    const ids = [await rig.accept('u@good.test'), await rig.accept('v@good.test'), await rig.accept('u@broken.test')]
    rig.start()
    t.match(await why(rig, ids[0]!, 'no-provider'), [{ state: 'ready', reason: 'no-provider', untilMs: Number }])
    t.match(await why(rig, ids[2]!, 'dns-servfail'), [{ state: 'ready', reason: 'dns-servfail', untilMs: Number }])
    for (let i = 0; i < 59; i++) await clock.advance(60_000)
    await pause(50)
    t.equal(rig.outcomes().length, 0, 'not a minute early')
    for (let i = 0; i < 12; i++) {
      await clock.advance(10_000)
      await pause(10)
    }
    t.ok(await rig.ended(3))
    t.ok(rig.outcomes().every((event) => event.type === 'expired' && event.status === '4.4.7'))
    await rig.everyRecipientEndedOnce()
  },
)

void t.test(
  'a stop puts back what it cut off before the dot, uncounted, and the next start sends it at once',
  async (t) => {
    const { mx, zones, port } = await hosts(t, {
      mute: BEHAVIOURS.blackhole,
      slow: {
        rcpt: (s) => {
          s.hold(60_000)
          return AS_USUAL
        },
      },
    })
    const rig = await openRig(t, { zones, port })
    const ids = [await rig.accept('u@mute.test'), await rig.accept('u@slow.test')]
    rig.start()
    t.ok(await until(() => mx.mute!.open === 1 && mx.slow!.commands.some((line) => line.startsWith('RCPT'))))
    await rig.stop(1500)
    for (const id of ids) {
      const [recipient] = (await rig.queue.message(id))!.recipients
      t.match(recipient, { state: 'ready', reason: 'stopped', attempts: 0, uncertain: 0 })
      t.strictSame(rig.types(id), [])
      t.ok(recipient!.dueMs! <= rig.clock.now())
    }
  },
)

void t.test('a domain whose DNS fails waits as a whole: one wait, however many recipients', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  zones['broken.test'] = { fault: 'servfail' }
  const rig = await openRig(t, { zones, port })
  const ids = await Promise.all(Array.from({ length: 1000 }, (_, i) => rig.accept(`u${i}@broken.test`)))
  rig.start()
  t.match(await why(rig, ids[7]!, 'dns-servfail'), [{ state: 'ready', reason: 'dns-servfail', untilMs: Number }])
  t.equal(rig.events.length, 0)
  t.equal((await rig.queue.counts()).ready, 1000)
  rig.dns.set('broken.test', { MX: [[10, 'mx.good.test']] })
  t.ok(await rig.ended(1000), 'and all go when it answers again')
  t.equal(mx.good!.taken.length, 1000)
  await rig.everyRecipientEndedOnce()
})

void t.test('what fails over TLS and goes in clear leaves the reason on the event and in the transcript', async (t) => {
  const { zones, port } = await hosts(t, { broken: BEHAVIOURS.tlsgarbage, good: {} })
  const rig = await openRig(t, { zones, port, delivery: { tls_timeout: 2 } })
  rig.start()
  const id = await rig.accept('u@broken.test')
  const other = await rig.accept('u@good.test')
  t.ok(await rig.ended(2))
  const sent = (of: string) => rig.outcomes().find((event) => event.messageId === of)
  t.match(sent(id), { type: 'sent', detail: { tls: '', tlsFailure: 'tls-failed' } })
  t.notOk('tlsFailure' in sent(other)!.detail)
  const [attempt] = (await rig.queue.message(id))!.recipients[0]!.tries
  t.match(attempt!.transcript, /-> STARTTLS[\s\S]*failed at starttls[\s\S]*over clear text[\s\S]*MAIL FROM/)
  t.equal((await rig.queue.message(other))!.recipients[0]!.tries[0]!.transcript, null)
})

void t.test('mail that asks for a relay counts among the connections of the relay', async (t) => {
  const { seen, script } = counting(3)
  const { mx, zones, port } = await hosts(t, { relay: script, good: {} })
  const rig = await openRig(t, { zones, port, delivery: { connections_per_site: 4, retry_after: [1] } })
  for (let i = 0; i < 30; i++) rig.dns.set(`d${i}.test`, { MX: [[10, `mx.d${i}.test`]] })
  for (let i = 0; i < 30; i++) rig.dns.set(`mx.d${i}.test`, { A: ['127.0.0.2'] })
  await rig.providers.add({ name: 'relay', host: '127.0.0.1', port, tls: 'none', priority: 90 })
  await Promise.all(Array.from({ length: 300 }, (_, i) => rig.accept(`u${i}@d${i % 30}.test`, { route: 'relay' })))
  await Promise.all(Array.from({ length: 30 }, (_, i) => rig.accept(`own${i}@d${i}.test`)))
  rig.start()
  t.ok(await rig.ended(330))
  t.ok(seen.peak <= 4, `${seen.peak} at once`)
  t.equal(mx.relay!.taken.length, 300)
  t.equal(mx.good!.taken.length, 30)
  await rig.everyRecipientEndedOnce()
})

void t.test('idle connections count among those of the mailbox provider', async (t) => {
  const { seen, script } = counting(3)
  const { zones, port } = await hosts(t, { all: script })
  const limitsOf = () => ({ connections: 5, messagesPerConnection: 3 })
  const rig = await openRig(t, { zones, port, limitsOf })
  for (let i = 0; i < 40; i++) rig.dns.set(`d${i}.test`, { MX: [[10, `mx.d${i}.test`]] })
  for (let i = 0; i < 40; i++) rig.dns.set(`mx.d${i}.test`, { A: ['127.0.0.1'] })
  await Promise.all(Array.from({ length: 200 }, (_, i) => rig.accept(`u${i}@d${i % 40}.test`)))
  rig.start()
  t.ok(await rig.ended(200))
  t.ok(seen.peak <= 5, `${seen.peak} at once`)
  await rig.everyRecipientEndedOnce()
  t.equal(rig.pool.open, 0)
})

void t.test(
  'a host that puts off everything rests, and what it was not asked about waits with that reason',
  async (t) => {
    const { mx, zones, port } = await hosts(t, { later: BEHAVIOURS.mail451, grey: BEHAVIOURS.greylist })
    const rig = await openRig(t, { zones, port })
    const ids = await Promise.all(Array.from({ length: 500 }, (_, i) => rig.accept(`u${i}@later.test`)))
    await Promise.all(Array.from({ length: 60 }, (_, i) => rig.accept(`u${i}@grey.test`)))
    rig.start()
    t.ok(await until(() => rig.events.filter((event) => event.recipient!.endsWith('@grey.test')).length === 60))
    t.match(await why(rig, ids[499]!, 'destination-deferring'), [{ state: 'ready', untilMs: Number }])
    await pause(500)
    const asked = mx.later!.commands.filter((line) => line.startsWith('MAIL')).length
    t.ok(asked >= 10 && asked <= 40, `asked ${asked} times about 500`)
    t.equal(
      mx.grey!.commands.filter((line) => line.startsWith('RCPT')).length,
      60,
      'greylisting is about each recipient',
    )
  },
)

/** A host that answers MAIL late and counts its connections: an end said by QUIT counts when it is said, not when the socket closes. */
function counting(ms: number) {
  const seen = { now: 0, peak: 0 }
  const script: Script = {
    connect: () => {
      seen.now += 1
      seen.peak = Math.max(seen.peak, seen.now)
      return AS_USUAL
    },
    mail: (s) => {
      s.hold(ms)
      return AS_USUAL
    },
    quit: () => {
      seen.now -= 1
      return AS_USUAL
    },
  }
  return { seen, script }
}
