import { join } from 'node:path'
import t from 'tap'
import { type Clock, silentLog } from '#base'
import { ProcessLimiter } from '#limits'
import { loadWarmUpPlan, Reach, Shaping, Standings, WarmUp, type WarmUpPlan } from '#reputation'
import {
  Breakers,
  HealthChecks,
  OwnPath,
  ProviderRouter,
  Providers,
  type RouteDecision,
  type RouteReport,
} from '#routing'
import { openStore } from './store-rig.ts'

const REPUTATION = {
  window: 900,
  min_samples: 20,
  block_share: 0.2,
  deferral_share: 0.5,
  recover_share: 0.05,
  pause: 900,
  probe_share: 0.02,
  probe_samples: 10,
}
const START = Date.UTC(2026, 10, 24, 12)
const config = (name: string) => join(import.meta.dirname, '../../config', name)

async function rig(
  t: { teardown(fn: () => Promise<void>): void },
  options: { plan?: WarmUpPlan; overflow?: 'wait' | 'relay'; sources?: string[] } = {},
) {
  let nowMs = START
  const timers = new Set<{ readonly atMs: number; readonly fire: () => void }>()
  const clock: Clock = {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    after(ms, fire) {
      const timer = { atMs: nowMs + ms, fire }
      timers.add(timer)
      return () => timers.delete(timer)
    },
  }
  const store = await openStore(t)
  const providers = await Providers.open(store.records, store.vault, clock)
  const limiter = new ProcessLimiter(clock)
  const said: string[] = []
  const breakers = new Breakers({ failures: 5, openMs: 300_000 }, limiter, clock, (id, state) =>
    said.push(`${providers.byName(id)?.name} ${state}`),
  )
  const standings = new Standings(REPUTATION, clock, ({ now }) => said.push(`${now.mailboxProvider} ${now.verdict}`))
  const reach = new Reach(clock, (source, reachable) =>
    said.push(`${source} ${reachable ? 'reachable' : 'unreachable'}`),
  )
  const addresses = options.sources ?? ['192.0.2.1']
  const warmUp = options.plan ? await WarmUp.open(store.records, options.plan, clock, addresses) : null
  const sources = addresses.map((address) => ({ address, ehlo: 'mta.example' }))
  const shaping = Shaping.load(config('shaping.toml'))
  const own = new OwnPath({ sources, standings, reach, warmUp, shaping, limiter, clock })
  const router = new ProviderRouter({
    providers,
    own,
    breakers,
    standings,
    reach,
    warmUp,
    overflow: options.overflow ?? 'wait',
    clock,
  })
  const ask = (mailboxProvider = 'other', preferred: string | null = null) =>
    router.choose({ domain: 'x.example', mailboxProvider, priority: 'normal', preferred })
  function told(
    decision: RouteDecision,
    result: RouteReport['result'],
    replyClass = '',
    stage = 'dot',
    site = 'x',
  ): void {
    if (decision.kind !== 'carry') throw new Error(`nothing was carried: ${decision.reason}`)
    router.report({
      providerId: decision.provider.id,
      source: decision.source?.address ?? '',
      mailboxProvider: decision.mailboxProvider,
      site,
      probe: decision.probe,
      result,
      class: replyClass,
      stage,
      durationMs: 1,
    })
  }
  const pass = (ms: number): void => {
    nowMs += ms
    for (const timer of [...timers]) {
      if (timer.atMs > nowMs || !timers.delete(timer)) continue
      timer.fire()
    }
  }
  return { ...store, clock, providers, breakers, standings, router, ask, told, pass, said, warmUp }
}

const carrier = (decision: RouteDecision): string =>
  decision.kind === 'carry' ? decision.provider.name : `waits: ${decision.reason}`

void t.test('direct delivery is there from the first start, and is all there is', async (t) => {
  const { ask, providers } = await rig(t)
  t.same(
    providers.list().map(({ name, kind }) => [name, kind]),
    [['own', 'own']],
  )
  t.match(await ask(), {
    kind: 'carry',
    provider: { name: 'own' },
    source: { address: '192.0.2.1' },
    reason: 'priority',
  })
})

void t.test(
  'a block at google hands google over to the relay, and only google; a growing share comes back',
  async (t) => {
    const { ask, told, pass, providers, said } = await rig(t)
    await providers.add({ name: 'net', host: 'smtp.net.example' })
    for (let i = 0; i < 30; i++) {
      const decision = await ask('google')
      if (decision.kind === 'carry' && decision.provider.name === 'own')
        told(decision, i % 2 ? 'refused' : 'deferred', 'ip-blocked')
    }
    t.match(await ask('google'), { kind: 'carry', provider: { name: 'net' }, reason: 'own-paused' })
    t.equal(carrier(await ask('yahoo')), 'own')
    pass(900_001)
    const shares: number[] = []
    for (let round = 0; round < 12; round++) {
      let own = 0
      for (let i = 0; i < 400; i++) {
        const decision = await ask('google')
        if (carrier(decision) === 'own') own += 1
        told(decision, 'delivered')
      }
      shares.push(own / 400)
      pass(1000)
    }
    t.ok(shares[0]! > 0 && shares[0]! < 0.3, `first ${shares[0]}`)
    t.equal(shares.at(-1), 1)
    t.same(said, ['google paused', 'google healthy'], 'no flapping')
  },
)

void t.test('without a relay a paused path makes mail wait, with its reason and an end', async (t) => {
  const { ask, told, clock } = await rig(t)
  for (let i = 0; i < 20; i++) told(await ask('google'), 'refused', 'ip-blocked')
  const decision = await ask('google')
  t.match(decision, { kind: 'wait', reason: 'own-paused', detail: /own: 20 of 20 replies block us/ })
  t.ok(decision.kind === 'wait' && decision.untilMs > clock.now())
})

void t.test('five failures in a row open a relay’s breaker; one probe after five minutes decides', async (t) => {
  const { ask, told, pass, providers, said, router } = await rig(t)
  await providers.add({ name: 'net', host: 'smtp.net.example', priority: 1 })
  const fail = async () => told(await ask(), 'infrastructure', '', 'connect')
  for (let i = 0; i < 4; i++) await fail()
  told(await ask(), 'refused', 'user-unknown')
  for (let i = 0; i < 4; i++) await fail()
  t.equal(carrier(await ask()), 'net', 'an answer about a recipient between them starts the count again')
  await fail()
  t.match(await ask(), { provider: { name: 'own' }, reason: 'breaker-open' })
  pass(299_000)
  t.equal(carrier(await ask()), 'own')
  pass(2000)
  const probe = await ask()
  t.match(probe, { provider: { name: 'net' }, probe: true })
  t.equal(carrier(await ask()), 'own', 'one probe at a time')
  router.release(probe)
  const again = await ask()
  t.match(again, { provider: { name: 'net' }, probe: true }, 'a probe that was not used is given back')
  told(again, 'infrastructure', '', 'connect')
  t.equal(carrier(await ask()), 'own', 'open again')
  pass(301_000)
  told(await ask(), 'delivered')
  t.equal(carrier(await ask()), 'net')
  t.same(said, ['net open', 'net closed'])
})

void t.test('the configured fallback comes before the next by priority; a preference before both', async (t) => {
  const { ask, told, providers } = await rig(t)
  await providers.change('own', { priority: 50 })
  await providers.add({ name: 'third', host: 'c.example', priority: 30 })
  await providers.add({ name: 'second', host: 'b.example', priority: 20 })
  await providers.add({ name: 'first', host: 'a.example', priority: 10, fallback: 'third' })
  for (let i = 0; i < 5; i++) told(await ask(), 'infrastructure', '', 'connect')
  t.equal(carrier(await ask()), 'third')
  t.match(await ask('other', 'second'), { provider: { name: 'second' }, reason: 'preferred' })
  t.equal(carrier(await ask('other', 'nobody')), 'third', 'a preference that is not there is no reason to wait')
  await providers.change('third', { active: false })
  t.equal(carrier(await ask()), 'second', 'changes hold at once')
})

void t.test('equal priorities share by weight', async (t) => {
  const { ask, providers } = await rig(t)
  await providers.change('own', { active: false })
  await providers.add({ name: 'heavy', host: 'a.example', priority: 10, weight: 3 })
  await providers.add({ name: 'light', host: 'b.example', priority: 10, weight: 1 })
  let heavy = 0
  for (let i = 0; i < 2000; i++) if (carrier(await ask()) === 'heavy') heavy += 1
  t.ok(heavy > 1350 && heavy < 1650, `${heavy} of 2000 for a weight of 3 to 1`)
})

void t.test(
  'a fallback chain that comes back to its start is refused, and a removed provider leaves no dangling one',
  async (t) => {
    const { providers } = await rig(t)
    await providers.add({ name: 'a', host: 'a.example' })
    await providers.add({ name: 'b', host: 'b.example', fallback: 'a' })
    await t.rejects(providers.change('a', { fallback: 'b' }), { field: 'fallback', message: /leads back/ } as never)
    await t.rejects(providers.change('a', { fallback: 'a' }), { field: 'fallback' } as never)
    await providers.remove('a')
    t.equal(providers.byName('b')?.fallback, null)
    await t.rejects(providers.remove('own'), { field: 'name' } as never)
    for (const [field, wanted] of [
      ['name', { name: 'Not A Name', host: 'a.example' }],
      ['host', { name: 'c', host: 'a b' }],
      ['port', { name: 'c', host: 'a.example', port: 0 }],
      ['username', { name: 'c', host: 'a.example', username: 'x\r\nRCPT' }],
      ['priority', { name: 'c', host: 'a.example', priority: -1 }],
      ['name', { name: 'b', host: 'a.example' }],
    ] as const)
      await t.rejects(providers.add(wanted), { field, remedy: /./ } as never)
  },
)

void t.test('a relay’s password is sealed in the store and whole after a restart', async (t) => {
  const { providers, records, vault, clock } = await rig(t)
  await providers.add({ name: 'net', host: 'smtp.net.example', username: 'u', password: 'pä55 word' })
  const rows = await records.read(records.query.selectFrom('providers').select('settings'))
  t.notMatch(JSON.stringify(rows), /pä55/)
  t.equal((await Providers.open(records, vault, clock)).byName('net')?.smarthost?.password, 'pä55 word')
})

void t.test(
  'warm-up: what is over the day’s volume waits for the next day or goes by the relay; the day counts when it was sent',
  async (t) => {
    const plan: WarmUpPlan = { daily: [10, 20, 40], advanceShare: 0.5, providerShare: new Map([['google', 0.4]]) }
    const { ask, told, pass, providers, records, clock } = await rig(t, { plan, overflow: 'relay' })
    await providers.add({ name: 'net', host: 'smtp.net.example' })
    const sendDay = async (n: number, mailboxProvider = 'other') => {
      let own = 0
      for (let i = 0; i < n; i++) {
        const decision = await ask(mailboxProvider)
        if (carrier(decision) === 'own') {
          own += 1
          // What the settle transaction does.
          for (const { name, period } of decision.kind === 'carry' ? decision.counters : [])
            await records.write(
              records.query
                .insertInto('counters')
                .values({ name, period, value: 1 })
                .onConflict((conflict) =>
                  conflict.columns(['name', 'period']).doUpdateSet((eb) => ({ value: eb('counters.value', '+', 1) })),
                ),
            )
        }
        told(decision, 'delivered')
      }
      return own
    }
    t.equal(await sendDay(10, 'google'), 4, 'google’s share of the first day')
    t.match(await ask('google'), { provider: { name: 'net' }, reason: 'warmup-overflow' })
    t.equal(await sendDay(20), 6, 'the rest of the day’s 10')
    pass(86_400_000)
    t.equal(await sendDay(30), 20, 'the second day')
    pass(86_400_000)
    t.equal(await sendDay(5), 5)
    pass(86_400_000)
    t.equal(await sendDay(100), 40, 'a day hardly used does not count: the third again')
    const again = await WarmUp.open(records, plan, clock, ['192.0.2.1'])
    t.same(again.standing(), [{ source: '192.0.2.1', day: 3, volume: 40, sentToday: 40 }], 'a restart forgets nothing')
    pass(86_400_000)
    t.equal(await sendDay(500), 500, 'after the last day it is warm')
  },
)

void t.test('warm-up that waits names the next day, and what was not sent gives its room back', async (t) => {
  const plan: WarmUpPlan = { daily: [3], advanceShare: 0.5, providerShare: new Map() }
  const { ask, told, router, providers } = await rig(t, { plan, overflow: 'wait' })
  await providers.add({ name: 'net', host: 'smtp.net.example' })
  const three = [await ask(), await ask(), await ask()]
  t.match(await ask(), { kind: 'wait', reason: 'warmup-cap', untilMs: Date.UTC(2026, 10, 25) })
  router.release(three[0]!)
  told(three[1]!, 'deferred', 'greylist')
  told(three[2]!, 'delivered')
  t.equal(carrier(await ask()), 'own')
  t.equal(carrier(await ask()), 'own')
  t.equal(carrier(await ask()), 'waits: warmup-cap')
  t.equal(loadWarmUpPlan(config('warmup.toml')).daily.length, 20)
})

void t.test(
  'port 25 closed to everyone is told from one dead host, tried once a minute, and back at the first connect',
  async (t) => {
    const { ask, told, pass, said, providers } = await rig(t)
    await providers.add({ name: 'net', host: 'smtp.net.example' })
    for (let i = 0; i < 30; i++) told(await ask(), 'infrastructure', '', 'connect', 'one dead site')
    t.equal(carrier(await ask()), 'own')
    for (let i = 0; i < 12; i++) {
      const decision = await ask()
      if (carrier(decision) === 'own') told(decision, 'infrastructure', '', 'connect', `site ${i}`)
    }
    t.same(said, ['192.0.2.1 unreachable'])
    pass(61_000)
    t.equal(carrier(await ask()), 'own', 'one try a minute')
    t.match(await ask(), { provider: { name: 'net' }, reason: 'port-25-unreachable' })
    pass(61_000)
    told(await ask(), 'delivered')
    t.equal(carrier(await ask()), 'own')
    t.same(said, ['192.0.2.1 unreachable', '192.0.2.1 reachable'])
  },
)

void t.test('a claim of many recipients reserves for each, and what is not used is given back', async (t) => {
  const plan: WarmUpPlan = { daily: [10], advanceShare: 0.5, providerShare: new Map() }
  const { router, told, warmUp } = await rig(t, { plan, overflow: 'wait' })
  const want = (recipients: number) =>
    router.choose({ domain: 'x.example', mailboxProvider: 'other', priority: 'normal', preferred: null, recipients })
  const first = await want(7)
  t.match(first, { kind: 'carry', recipients: 7 })
  t.match(await want(100), { kind: 'carry', recipients: 3 }, 'what is left of the day')
  t.match(await want(1), { kind: 'wait', reason: 'warmup-cap' })
  router.release(first, 2)
  for (let i = 0; i < 5; i++) told(first, 'delivered')
  t.match(await want(100), { kind: 'carry', recipients: 2 })
  t.match(warmUp!.standing(), [{ sentToday: 5 }])
})

void t.test('a source address carries to hosts of its own family only', async (t) => {
  const { router } = await rig(t, { sources: ['192.0.2.1', '2001:db8::1'] })
  const to = (families: readonly (4 | 6)[]) =>
    router.choose({
      ...{ domain: 'x.example', mailboxProvider: 'other', priority: 'normal', preferred: null },
      families: new Set(families),
    })
  for (let i = 0; i < 6; i++) {
    t.match(await to([4]), { kind: 'carry', source: { address: '192.0.2.1' } })
    t.match(await to([6]), { kind: 'carry', source: { address: '2001:db8::1' } })
  }
  const four = await rig(t, { sources: ['192.0.2.1'] })
  const answer = await four.router.choose({
    ...{ domain: 'x.example', mailboxProvider: 'other', priority: 'normal', preferred: null },
    families: new Set([6] as const),
  })
  t.match(answer, { kind: 'wait', reason: 'no-source-address', detail: /only IPv6/ })
})

void t.test('a relay that would be asked first needs no MX, unless it is open', async (t) => {
  const { router, breakers, providers } = await rig(t)
  const first = (preferred: string | null = null) => router.wantsMx({ priority: 'normal', preferred })
  t.equal(first(), true)
  await providers.add({ name: 'net', host: 'smtp.net.example', priority: 90 })
  t.equal(first(), true)
  t.equal(first('net'), false, 'asked for')
  await providers.add({ name: 'all', host: 'smtp.all.example', priority: 1 })
  t.equal(first(), false)
  for (const one of ['all', 'net']) for (let i = 0; i < 5; i++) breakers.failed(providers.byName(one)!.id, 'down')
  t.equal(first(), true, 'none of them can carry now')
})

void t.test('several source addresses take turns, and a block of one leaves the other', async (t) => {
  const { ask, told } = await rig(t, { sources: ['192.0.2.1', '192.0.2.2'] })
  const used = new Set<string>()
  for (let i = 0; i < 60; i++) {
    const decision = await ask('google')
    if (decision.kind !== 'carry') continue
    used.add(decision.source!.address)
    told(
      decision,
      decision.source!.address === '192.0.2.1' ? 'refused' : 'delivered',
      decision.source!.address === '192.0.2.1' ? 'ip-blocked' : '',
    )
  }
  t.equal(used.size, 2)
  for (let i = 0; i < 5; i++) t.match(await ask('google'), { source: { address: '192.0.2.2' } })
})

void t.test('health checks move the breaker, within their time limit', async (t) => {
  const { clock, providers, breakers, pass } = await rig(t)
  await providers.add({ name: 'net', host: 'smtp.net.example' })
  let answer: 'ok' | 'no' | 'hang' = 'no'
  const health = new HealthChecks({
    providers,
    breakers,
    check: async () => (answer === 'hang' ? new Promise(() => {}) : { ok: answer === 'ok', detail: answer }),
    intervalMs: 300_000,
    timeoutMs: 10_000,
    clock,
    log: silentLog,
  })
  t.teardown(() => health.stop())
  const net = providers.byName('net')!
  for (let i = 0; i < 5; i++) await health.run(net)
  t.equal(breakers.state(net.id), 'open')
  answer = 'hang'
  const hung = health.run(net)
  await new Promise((resolve) => setImmediate(resolve))
  pass(10_000)
  t.match(await hung, { ok: false, detail: 'no answer within 10000 ms', tookMs: 10_000 })
  answer = 'ok'
  pass(300_000)
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  t.match(
    health.list().find((one) => one.provider === 'net'),
    { ok: true, breaker: 'closed' },
  )
})
