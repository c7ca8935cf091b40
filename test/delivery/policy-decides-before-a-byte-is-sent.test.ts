import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { RouteDecision, Router } from '#routing'
import { BEHAVIOURS } from '#world'
import { hosts, openRig, until } from './delivery-rig.ts'

/** Counts the decisions that are neither reported nor released. */
class Decisions {
  out = 0

  counted(real: Router): Router {
    return {
      wantsMx: (request) => real.wantsMx(request),
      choose: async (request): Promise<RouteDecision> => {
        const decision = await real.choose(request)
        if (decision.kind === 'carry') this.out += decision.recipients
        return decision
      },
      report: (report) => {
        this.out -= 1
        real.report(report)
      },
      release: (decision, recipients) => {
        if (decision.kind === 'carry') this.out -= recipients ?? decision.recipients
        real.release(decision, recipients)
      },
    }
  }
}

void t.test('opportunistic TLS falls back to clear text, require never sends in clear', async (t) => {
  const scripts = { plain: BEHAVIOURS.plain, broken: BEHAVIOURS.tlsgarbage, good: {} }
  const { mx, zones, port } = await hosts(t, scripts)
  const names = Object.keys(scripts)
  const rig = await openRig(t, { zones, port, delivery: { tls_timeout: 2 } })
  rig.start()
  for (const name of names) await rig.accept(`u@${name}.test`)
  t.ok(await rig.ended(3))
  t.equal(mx.plain!.taken[0]?.tls, '')
  t.equal(mx.broken!.taken[0]?.tls, '')
  t.match(mx.good!.taken[0]?.tls, /^TLS/)
  await rig.stop()

  const strict = await openRig(t, { zones, port, delivery: { tls: 'require', tls_timeout: 2 } })
  strict.start()
  const ids: string[] = []
  for (const name of names) ids.push(await strict.accept(`u@${name}.test`))
  t.ok(await until(() => ids.every((id) => strict.types(id).length > 0)))
  t.strictSame(
    ids.map((id) => strict.types(id)),
    [['deferred'], ['deferred'], ['sent']],
  )
  t.match(await strict.queue.why(ids[0]!), [{ reason: 'tls-not-offered' }])
  t.equal(mx.plain!.taken.length, 1, 'nothing more was sent in clear')
  t.equal(mx.broken!.taken.length, 1)
})

void t.test('what the DNS refuses ends without a connection, what it cannot say is asked again', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  zones['null.test'] = { MX: [[0, '.']] }
  zones['inside.test'] = { MX: [[10, 'mx.inside.test']] }
  zones['mx.inside.test'] = { A: ['10.0.0.1'] }
  zones['soon.test'] = { fault: 'servfail' }
  const rig = await openRig(t, { zones, port, delivery: { retry_after: [6] } })
  rig.start()
  const ids = await Promise.all(['u@null.test', 'u@nowhere.test', 'u@inside.test'].map((to) => rig.accept(to)))
  const soon = await rig.accept('u@soon.test')
  t.ok(await rig.ended(3))
  const status = (id: string) => rig.outcomes().find((event) => event.messageId === id)?.status
  t.strictSame(ids.map(status), ['5.1.10', '5.1.2', '5.4.4'])
  let why = await rig.queue.why(soon)
  for (let i = 0; i < 100 && why[0]!.reason !== 'dns-servfail'; i++) {
    await pause(20)
    why = await rig.queue.why(soon)
  }
  t.match(why, [{ state: 'ready', reason: 'dns-servfail' }])
  rig.dns.set('soon.test', { MX: [[10, 'mx.good.test']] })
  t.ok(await rig.ended(4))
  t.equal(mx.good!.taken.length, 1)
  t.equal(mx.good!.connections, 1)
  await rig.everyRecipientEndedOnce()
})

void t.test('a domain without hosts ends thousands of recipients in shared commits', async (t) => {
  const rig = await openRig(t, { zones: {} })
  await Promise.all(Array.from({ length: 1000 }, (_, i) => rig.accept(`u${i}@gone.test`)))
  rig.start()
  t.ok(await rig.ended(1000))
  t.equal(rig.dns.count('gone.test'), 1)
  await rig.everyRecipientEndedOnce()
})

void t.test('mail that nobody may carry now is parked, and the reason is told', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  let waits = true
  const decisions = new Decisions()
  const router = (real: Router): Router => ({
    ...decisions.counted(real),
    choose: async (request) =>
      waits
        ? { kind: 'wait', reason: 'warmup-cap', untilMs: Date.now() + 700, detail: 'day 1' }
        : decisions.counted(real).choose(request),
  })
  const rig = await openRig(t, { zones, port, router })
  rig.start()
  const id = await rig.accept('u@good.test')
  let why = await rig.queue.why(id)
  for (let i = 0; i < 50 && why[0]!.reason !== 'warmup-cap'; i++) why = await rig.queue.why(id)
  t.match(why, [{ state: 'ready', reason: 'warmup-cap', untilMs: Number }])
  t.equal(mx.good!.connections, 0)
  waits = false
  t.ok(await rig.ended(1))
  await rig.everyRecipientEndedOnce()
  t.equal(decisions.out, 0, 'every decision was reported or released')
})

void t.test('each way an attempt can end uses up its decision', async (t) => {
  const { zones, port } = await hosts(t, {
    good: {},
    closed: 'closed',
    no: BEHAVIOURS.rcpt550,
    later: BEHAVIOURS.mail451,
    drop: BEHAVIOURS.dropafterdot,
  })
  const decisions = new Decisions()
  const keysFor = async (domain: string) => {
    if (domain === 'poison.test') throw new Error('a bug')
    return []
  }
  const rig = await openRig(t, { zones, port, keysFor, router: (real) => decisions.counted(real) })
  await rig.providers.add({ name: 'dead', host: '127.0.0.1', port: 1, tls: 'none', priority: 90 })
  await rig.suppressions.add([{ address: 'not@good.test' }])
  const ids: string[] = []
  for (let i = 0; i < 10; i++) {
    for (const name of ['good', 'closed', 'no', 'later', 'drop']) ids.push(await rig.accept(`u${i}@${name}.test`))
    ids.push(await rig.accept('not@good.test'))
    ids.push(await rig.accept(`e${i}@good.test`, { expiresMs: rig.clock.now() - 1 }))
    ids.push(await rig.accept(`s${i}@good.test`, { sandbox: true }))
    ids.push(await rig.accept(`p${i}@good.test`, { sendingDomain: 'poison.test' }))
    ids.push(await rig.accept(`r${i}@good.test`, { route: 'dead' }))
  }
  rig.start()
  t.ok(await until(() => rig.outcomes().length >= 50))
  await rig.stop()
  t.equal(decisions.out, 0)
  const { leased } = await rig.queue.counts()
  t.equal(leased, 0)
  t.equal(rig.pool.open, 0)
})

void t.test('a preferred route is taken, and others go as they would', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {}, relay: {} })
  const rig = await openRig(t, { zones, port })
  await rig.providers.add({ name: 'other-way', host: '127.0.0.2', port, tls: 'none', priority: 90 })
  rig.start()
  await rig.accept('a@good.test', { route: 'other-way' })
  await rig.accept('b@good.test')
  await rig.accept('c@good.test', { route: 'no-such-way' })
  t.ok(await rig.ended(3))
  t.strictSame(
    mx.relay!.taken.map((taken) => taken.recipients),
    [['a@good.test']],
  )
  t.equal(mx.good!.taken.length, 2)
  t.equal(rig.outcomes().find((event) => event.recipient === 'a@good.test')!.provider, 'other-way')
  await rig.everyRecipientEndedOnce()
})

void t.test('sandbox mail goes to the sink though the mode is live and its domain does not exist', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  const rig = await openRig(t, { zones, port })
  rig.start()
  await rig.accept('a@good.test', { sandbox: true })
  await rig.accept('b@nowhere.test', { sandbox: true })
  await rig.accept('c@good.test')
  t.ok(await rig.ended(3))
  t.equal(rig.sink.taken, 2)
  t.strictSame(
    mx.good!.taken.flatMap((taken) => taken.recipients),
    ['c@good.test'],
  )
  await rig.everyRecipientEndedOnce()
})

void t.test('in sandbox mode nothing leaves: other mail is held', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  const rig = await openRig(t, { zones, port, mode: 'sandbox' })
  rig.start()
  const id = await rig.accept('live@good.test', { sandbox: false })
  await rig.accept('sandboxed@good.test')
  t.ok(await rig.ended(1))
  t.match(await rig.queue.why(id), [{ state: 'held', reason: 'sandbox-mode' }])
  t.equal(mx.good!.connections, 0)
  t.equal(rig.dns.queries.length, 0)
  t.equal(rig.sink.taken, 1)
})

void t.test('a message whose attempt throws is set aside after two tries, and others go on', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  let tries = 0
  const rig = await openRig(t, {
    ...{ zones, port },
    keysFor: async (domain) => {
      if (domain !== 'poison.test') return []
      tries += 1
      throw new Error('a bug')
    },
  })
  const poison = await rig.accept('p@good.test', { sendingDomain: 'poison.test' })
  const others = await Promise.all(Array.from({ length: 50 }, (_, i) => rig.accept(`u${i}@good.test`)))
  rig.start()
  t.ok(await rig.ended(50))
  const stands = async (state: string) => {
    let why = await rig.queue.why(poison)
    for (let i = 0; i < 1000 && why[0]!.state !== state; i++) {
      await pause(10)
      why = await rig.queue.why(poison)
    }
    return why
  }
  t.match(await stands('deferred'), [{ state: 'deferred', reason: 'internal-error' }])
  await rig.queue.steer('retry', { messageId: poison }, '', { dryRun: false, limit: 10 })
  t.match(await stands('held'), [{ state: 'held', reason: 'internal-error' }])
  t.equal(tries, 2)
  t.equal(mx.good!.taken.length, others.length)
  await rig.stop()
  t.equal(rig.pool.open, 0)
})

void t.test('suppressed while a thousand are queued: none is taken afterwards', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  const rig = await openRig(t, { zones, port })
  await Promise.all(Array.from({ length: 1000 }, () => rig.accept('same@good.test')))
  rig.start()
  t.ok(await until(() => mx.good!.taken.length > 50))
  await rig.suppressions.add([{ address: 'same@good.test', reason: 'manual' }])
  const then = mx.good!.taken.length
  t.ok(await rig.ended(1000))
  t.ok(mx.good!.taken.length <= then + 20, 'only what was under way')
  t.ok(rig.outcomes().filter((event) => event.type === 'suppressed').length > 0)
  await rig.everyRecipientEndedOnce()
})

void t.test('stop with fifty connections that stall ends in time and loses nothing', async (t) => {
  const { mx, zones, port } = await hosts(t, { stall: BEHAVIOURS.stallafterdot, tarpit: BEHAVIOURS.tarpit })
  for (let i = 0; i < 25; i++)
    zones[`s${i}.test`] = {
      MX: [
        [10, 'mx.stall.test'],
        [20, `x${i}.test`],
      ],
    }
  for (let i = 0; i < 25; i++)
    zones[`t${i}.test`] = {
      MX: [
        [10, 'mx.tarpit.test'],
        [20, `y${i}.test`],
      ],
    }
  zones['silent.test'] = { fault: 'silence' }
  const rig = await openRig(t, { zones, port })
  const ids = await Promise.all(
    Array.from({ length: 50 }, (_, i) => rig.accept(`u@${i % 2 === 0 ? 's' : 't'}${i >> 1}.test`)),
  )
  ids.push(await rig.accept('u@silent.test'))
  rig.start()
  t.ok(await until(() => mx.stall!.taken.length === 25 && mx.tarpit!.open === 25))
  const startedMs = performance.now()
  await rig.stop(2000)
  const tookMs = performance.now() - startedMs
  t.ok(tookMs < 2200, `${Math.round(tookMs)} ms`)
  const { leased, ready, deferred } = await rig.queue.counts()
  t.strictSame({ leased, waiting: ready + deferred }, { leased: 0, waiting: 51 })
  const views = await Promise.all(ids.map((id) => rig.queue.message(id)))
  const uncertain = views.filter((view) => view!.recipients[0]!.uncertain === 1)
  t.equal(uncertain.length, 25, 'what may have been taken is known')
  t.equal(rig.outcomes().length, 0)
  t.equal(rig.pool.open, 0)
})

void t.test('an attempt that fails because the machine does is tried again, however often', async (t) => {
  const { zones, port } = await hosts(t, { good: {} })
  let tries = 0
  const rig = await openRig(t, {
    ...{ zones, port },
    keysFor: async () => {
      tries += 1
      throw Object.assign(new Error('too many open files'), { code: 'EMFILE' })
    },
  })
  const id = await rig.accept('u@good.test')
  rig.start()
  for (let round = 1; round <= 4; round++) {
    for (let i = 0; i < 1000 && (tries < round || (await rig.queue.why(id))[0]!.state !== 'deferred'); i++)
      await pause(10)
    t.match(await rig.queue.why(id), [{ state: 'deferred', reason: 'machine-error' }])
    await rig.queue.steer('retry', { messageId: id }, '', { dryRun: false, limit: 10 })
  }
  t.match(await rig.queue.message(id), { recipients: [{ attempts: 0 }] })
})
