import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { AS_USUAL, BEHAVIOURS, type Behaviour, blackHole } from '#world'
import { hosts, openRig, type Rig, until } from './delivery-rig.ts'

async function putMany(rig: Rig, count: number, address: (i: number) => string, changes = {}): Promise<void> {
  for (let i = 0; i < count; i += 200)
    await Promise.all(Array.from({ length: Math.min(200, count - i) }, (_, j) => rig.accept(address(i + j), changes)))
}

function holding(ms: number): Behaviour {
  return (s) => {
    s.hold(ms)
    return AS_USUAL
  }
}

const to = (rig: Rig, domain: string) =>
  rig.outcomes().filter((event) => event.type === 'sent' && event.recipient!.endsWith(`@${domain}`)).length

void t.test('the second MX takes it when the first refuses, and the first is then spared', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {}, down: 'closed' })
  zones['both.test'] = {
    MX: [
      [10, 'mx.down.test'],
      [20, 'mx.good.test'],
    ],
  }
  const rig = await openRig(t, { zones, port })
  rig.start()
  await putMany(rig, 5, (i) => `u${i}@both.test`)
  t.ok(await rig.ended(5))
  t.equal(mx.good!.taken.length, 5)
  await rig.everyRecipientEndedOnce()
})

void t.test('connections are used again, up to messages_per_connection', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  const delivery = { connections_per_site: 1, messages_per_connection: 10 }
  const rig = await openRig(t, { zones, port, delivery })
  await putMany(rig, 40, (i) => `u${i}@good.test`)
  rig.start()
  t.ok(await rig.ended(40))
  await rig.everyRecipientEndedOnce()
  t.equal(mx.good!.connections, 4)
  t.equal(rig.pool.open, 0, 'no connection is left over or miscounted')
})

void t.test('a waiting connection that the peer gave up is replaced without a deferral', async (t) => {
  const { zones, port } = await hosts(t, {
    good: {
      mail: (s) => {
        if (s.messages === 0) return AS_USUAL
        s.say('421 4.4.2 one is enough')
        s.close()
        return undefined
      },
    },
  })
  const rig = await openRig(t, { zones, port })
  await putMany(rig, 30, (i) => `u${i}@good.test`)
  rig.start()
  t.ok(await rig.ended(30))
  t.equal(rig.events.filter((event) => event.type === 'deferred').length, 0)
  await rig.everyRecipientEndedOnce()
})

void t.test('connections_per_site is never exceeded, over many domains of one site and one relay', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: { mail: holding(2) } })
  for (let i = 0; i < 60; i++) zones[`d${i}.test`] = { MX: [[10, 'mx.good.test']] }
  const rig = await openRig(t, { zones, port, delivery: { connections_per_site: 7 } })
  await putMany(rig, 600, (i) => `u${i}@d${i % 60}.test`)
  rig.start()
  t.ok(await rig.ended(600))
  t.ok(mx.good!.peak <= 7, `${mx.good!.peak} at once`)
  t.ok(mx.good!.peak >= 5, 'and the places are used')
  await rig.everyRecipientEndedOnce()

  const more = await openRig(t, { zones, port, delivery: { connections_per_site: 4 } })
  await more.providers.add({ name: 'relay', host: '127.0.0.1', port, tls: 'none', priority: 1 })
  for (let i = 0; i < 60; i++) more.dns.set(`r${i}.test`, { MX: [[10, `mx.r${i}.test`]] })
  for (let i = 0; i < 60; i++) more.dns.set(`mx.r${i}.test`, { A: ['127.0.0.9'] })
  const { connections } = mx.good!
  await until(() => mx.good!.open === 0)
  await putMany(more, 300, (i) => `u${i}@r${i % 60}.test`)
  let peak = 0
  const timer = setInterval(() => {
    peak = Math.max(peak, mx.good!.open)
  }, 1)
  more.start()
  t.ok(await more.ended(300))
  clearInterval(timer)
  t.ok(peak <= 4, `${peak} at once`)
  t.ok(mx.good!.connections > connections)
  await more.everyRecipientEndedOnce()
})

void t.test('a site that allows two connections gets two, and its mail is through without waiting', async (t) => {
  const { mx, zones, port } = await hosts(t, { two: BEHAVIOURS.maxconn2 })
  const rig = await openRig(t, { zones, port, delivery: { retry_after: [1] } })
  await putMany(rig, 200, (i) => `u${i}@two.test`)
  rig.start()
  t.ok(await rig.ended(200))
  const refused = mx.two!.connections
  t.ok(refused < 40, `${refused} connections for 200 messages`)
  await rig.everyRecipientEndedOnce()
})

void t.test('urgent mail goes before thousands of low, also to another domain of a busy site', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  for (let i = 0; i < 50; i++) zones[`n${i}.test`] = { MX: [[10, 'mx.good.test']] }
  const rig = await openRig(t, { zones, port, delivery: { connections_per_site: 5 } })
  await putMany(rig, 5000, (i) => `u${i}@good.test`, { priority: 'low' })
  rig.start()
  t.ok(await until(() => rig.outcomes().length > 100))
  const places: number[] = []
  for (const domain of ['good.test', 'n7.test', 'n49.test']) {
    const before = rig.outcomes().length
    const id = await rig.accept(`reset@${domain}`, { priority: 'urgent' })
    t.ok(await until(() => rig.types(id).includes('sent')))
    places.push(rig.outcomes().findIndex((event) => event.messageId === id) - before)
  }
  t.ok(Math.max(...places) < 600, `overtaken by ${places.join(', ')} of 5,000`)
  await rig.stop()
  t.equal((await rig.queue.counts()).leased, 0)
  t.ok(mx.good!.taken.length < 5000, 'there was still something to overtake')
})

void t.test('dead, stalling and always deferring hosts do not slow a good one', async (t) => {
  const run = async (bad: boolean): Promise<number> => {
    const { zones, port } = await hosts(t, {
      good: { mail: holding(5) },
      dead: 'closed',
      mute: BEHAVIOURS.blackhole,
      tarpit: BEHAVIOURS.tarpit,
      later: BEHAVIOURS.mail451,
    })
    const rig = await openRig(t, { zones, port, delivery: { max_connections: 40, connections_per_site: 10 } })
    for (let i = 0; i < 12; i++) rig.dns.set(`mute${i}.test`, { MX: [[10, `mx.mute${i}.test`]] })
    for (let i = 0; i < 12; i++) rig.dns.set(`mx.mute${i}.test`, { A: ['127.0.0.3'] })
    const names = ['dead.test', 'tarpit.test', 'later.test', ...Array.from({ length: 12 }, (_, i) => `mute${i}.test`)]
    if (bad) await putMany(rig, 450, (i) => `u${i}@${names[i % names.length]}`)
    await putMany(rig, 600, (i) => `u${i}@good.test`)
    const startedMs = performance.now()
    rig.start()
    t.ok(await until(() => to(rig, 'good.test') === 600, 30_000))
    const ms = performance.now() - startedMs
    await rig.stop(1000)
    t.equal((await rig.queue.counts()).leased, 0)
    return ms
  }
  const alone = await run(false)
  const together = await run(true)
  t.comment(`alone ${Math.round(alone)} ms, together ${Math.round(together)} ms`)
  t.ok(together < alone * 2 + 300, `${together} against ${alone} ms`)
})

void t.test('an address that drops every packet holds up nobody, and its site rests', async (t) => {
  await using hole = await blackHole()
  const zones = { 'hole.test': { MX: [[10, 'mx.hole.test']] as const }, 'mx.hole.test': { A: ['127.0.0.1'] } }
  const rig = await openRig(t, { zones, port: hole.port, delivery: { connect_timeout: 0.3 } })
  const id = await rig.accept('u@hole.test')
  const other = await rig.accept('v@hole.test')
  rig.start()
  t.ok(await until(() => rig.types(id).includes('deferred') && rig.types(other).includes('deferred')))
  const third = await rig.accept('w@hole.test')
  await pause(100)
  t.match(await rig.queue.why(third), [{ reason: 'destination-unreachable' }])
  t.match(await rig.queue.why(id), [{ state: 'deferred', reason: 'connect-timeout' }])
})

void t.test(
  'urgent mail that asks for a relay without a free place waits for one, and is not tried for ever',
  async (t) => {
    const sites = { d0: {}, d1: {}, d2: {}, d3: {}, d4: {}, d5: {} }
    const { mx, zones, port } = await hosts(t, { relay: BEHAVIOURS.stallafterdot, ...sites })
    const rig = await openRig(t, { zones, port })
    await rig.providers.add({ name: 'relay', host: '127.0.0.1', port, tls: 'none' })
    rig.start()
    const asked = { route: 'relay', priority: 'urgent' as const }
    for (let i = 0; i < 6; i++) await rig.accept(`u${i}@d${i}.test`, asked)
    for (let i = 0; i < 6; i++) zones[`d${i}.test`] = zones['good.test']!
    t.ok(await until(() => mx.relay!.open === 2), 'two connections are tried at first')
    await pause(300)
    const before = rig.database.stats().writes
    await pause(500)
    t.ok(rig.database.stats().writes - before < 50, `${rig.database.stats().writes - before} writes in half a second`)
    t.equal((await rig.queue.counts()).ready, 4)
  },
)
