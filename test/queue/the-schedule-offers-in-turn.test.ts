import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import { PRIORITIES, type Priority } from '#queue'
import { Schedule } from '../../src/queue/schedule.ts'
import { ScheduleModel } from './schedule-model.ts'

const DOMAINS = ['a.example', 'b.example', 'c.example', 'd.example', 'e.example']

type Step =
  | {
      readonly do: 'add'
      readonly domain: string
      readonly priority: Priority
      readonly inMs: number
      readonly same: boolean
    }
  | { readonly do: 'offer'; readonly max: number; readonly take: boolean; readonly block: boolean }
  | { readonly do: 'take'; readonly domain: string; readonly max: number }
  | { readonly do: 'park'; readonly domain: string; readonly forMs: number }
  | { readonly do: 'block' | 'unblock'; readonly domain: string }
  | { readonly do: 'wait'; readonly ms: number }

const domain = fc.constantFrom(...DOMAINS)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('add' as const),
      domain,
      priority: fc.constantFrom(...PRIORITIES),
      inMs: fc.constantFrom(0, 0, 0, 1, 5, 20),
      same: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('offer' as const),
      max: fc.integer({ min: 1, max: 3 }),
      take: fc.boolean(),
      block: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('take' as const), domain, max: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('park' as const), domain, forMs: fc.integer({ min: 1, max: 10 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('block' as const), domain }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unblock' as const), domain }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 10 }) }) },
)

/** Runs both; throws at the first difference. */
function run(steps: readonly Step[]): void {
  const schedule = new Schedule()
  const model = new ScheduleModel()
  let nowMs = 1_000_000
  let key = 0
  let messageKey = 0
  const equal = (what: string, got: unknown, wanted: unknown): void => {
    if (JSON.stringify(got) !== JSON.stringify(wanted))
      throw new Error(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`)
  }
  const take = (domain: string, max: number): void => {
    equal(
      'taken',
      schedule.take(domain, max).map((row) => row.key),
      model.take(domain, max),
    )
  }
  for (const now of steps) {
    switch (now.do) {
      case 'add': {
        if (!now.same) messageKey += 1
        key += 1
        // No two become due at once, so that their order is told.
        const dueMs = nowMs + now.inMs + (now.inMs > 0 ? key / 1_000_000 : 0)
        const row = { key, messageKey, domain: now.domain, priority: now.priority, dueMs }
        schedule.add(row, nowMs)
        model.add(row, nowMs)
        break
      }
      case 'offer': {
        const answer = schedule.nextDestination(nowMs)
        model.mature(nowMs)
        equal('offer', model.offered(answer), null)
        const next = schedule.nextTimeMs()
        const wanted = model.nextTimeMs()
        if ((next === null) !== (wanted === null)) equal('next time', next, wanted)
        // It may be early (a park was made longer), never late, and never a time that is past: that would be a hot loop.
        if (next !== null && (next > wanted! || next <= nowMs)) equal('next time', next, wanted)
        if (answer !== null && now.block) {
          schedule.block(answer.domain)
          model.block(answer.domain, true)
        }
        if (answer !== null && now.take) take(answer.domain, now.max)
        break
      }
      case 'take':
        take(now.domain, now.max)
        break
      case 'park':
        schedule.park(now.domain, nowMs + now.forMs, 'warmup-cap')
        model.park(now.domain, nowMs + now.forMs)
        break
      case 'block':
      case 'unblock':
        schedule[now.do](now.domain)
        model.block(now.domain, now.do === 'block')
        break
      case 'wait':
        nowMs += now.ms
        break
    }
    equal('size', schedule.size, model.size)
    equal('offered', schedule.offered, model.offeredCount)
    for (const domain of DOMAINS) {
      equal(`due for ${domain}`, schedule.dueFor(domain), model.dueFor(domain))
      equal(`${domain} waits`, schedule.waitsFor(domain) !== null, model.waits(domain))
    }
  }
}

void t.test('whatever happens, the schedule offers what a plain list would', (t) => {
  const script = fc.array(step, { minLength: 1, maxLength: 120, size: 'max' })
  fc.assert(
    fc.property(script, (steps) => run(steps)),
    { seed: 20_261_124, numRuns: Number(process.env.RELEVO_PROPERTY_RUNS ?? 1500) },
  )
  t.end()
})

void t.test('urgent mail goes before a hundred thousand newsletters of the same and of other destinations', (t) => {
  const schedule = new Schedule()
  for (let key = 0; key < 100_000; key++)
    schedule.add({ key, messageKey: key, domain: `d${key % 100}.example`, priority: 'low', dueMs: 0 }, 1)
  schedule.add({ key: 100_000, messageKey: 100_000, domain: 'd7.example', priority: 'urgent', dueMs: 0 }, 1)
  t.same(schedule.nextDestination(1), { domain: 'd7.example', priority: 'urgent' })
  t.match(schedule.take('d7.example'), [{ key: 100_000, priority: 'urgent' }])
  t.end()
})

void t.test('short waits of one destination cost no look at a hundred thousand that wait longer', (t) => {
  const costMs = (parked: number): number => {
    const schedule = new Schedule()
    for (let key = 0; key < parked; key++) {
      schedule.add({ key, messageKey: key, domain: `d${key}.example`, priority: 'normal', dueMs: 0 }, 1)
      schedule.park(`d${key}.example`, 1_000_000_000, 'warmup-cap')
    }
    schedule.add({ key: parked, messageKey: parked, domain: 'busy.example', priority: 'normal', dueMs: 0 }, 1)
    const startedMs = performance.now()
    for (let nowMs = 1; nowMs <= 3000; nowMs++) {
      t.equal(schedule.nextDestination(nowMs)?.domain, 'busy.example')
      schedule.park('busy.example', nowMs + 1, 'mailbox-provider-rate')
    }
    return performance.now() - startedMs
  }
  costMs(10)
  const few = Math.min(costMs(10), costMs(10))
  const many = Math.min(costMs(100_000), costMs(100_000))
  t.ok(many < few * 10 + 50, `${Math.round(many)} ms with 100,000 parked, ${Math.round(few)} ms with 10`)
  t.end()
})

void t.test('what expires while its destination is parked or blocked is found, and nothing else', (t) => {
  const schedule = new Schedule()
  const row = (key: number, domain: string, expiresMs: number, dueMs = 0) =>
    schedule.add({ key, messageKey: key, domain, priority: PRIORITIES[key % 4]!, dueMs, expiresMs }, 1)
  for (let key = 0; key < 40; key++) row(key, 'parked.example', key % 2 === 0 ? 100 : 200)
  for (let key = 40; key < 60; key++) row(key, 'blocked.example', 100)
  for (let key = 60; key < 80; key++) row(key, 'open.example', 100)
  row(80, 'parked.example', 100, 150)
  schedule.park('parked.example', 10_000, 'dns-servfail')
  schedule.block('blocked.example', 'no-provider', 5000)
  t.match(schedule.waitsFor('blocked.example'), { reason: 'no-provider', untilMs: 5000 })
  t.strictSame(schedule.takeExpired(99, 1000), [])
  const first = schedule.takeExpired(100, 25)
  const rest = schedule.takeExpired(100, 1000)
  t.equal(first.length, 25)
  const keys = [...first, ...rest].map((one) => one.key).sort((a, b) => a - b)
  t.strictSame(
    keys,
    Array.from({ length: 60 }, (_, key) => key).filter((key) => key >= 40 || key % 2 === 0),
  )
  schedule.mature(150)
  t.strictSame(
    schedule.takeExpired(150, 10).map((one) => one.key),
    [80],
    'also what became due meanwhile',
  )
  t.equal(schedule.dueFor('parked.example'), 20)
  t.equal(schedule.takeExpired(200, 1000).length, 20)
  t.equal(schedule.size, 20, 'what is offered is claimed like any other')
  t.end()
})

void t.test('stronger mail for a blocked destination is told', (t) => {
  const told: string[] = []
  const schedule = new Schedule((domain, priority) => told.push(`${domain} ${priority}`))
  const add = (key: number, priority: Priority) =>
    schedule.add({ key, messageKey: key, domain: 'a.example', priority, dueMs: 0 }, 1)
  add(1, 'low')
  schedule.block('a.example')
  add(2, 'low')
  add(3, 'normal')
  add(4, 'normal')
  add(5, 'urgent')
  add(6, 'high')
  t.strictSame(told, ['a.example normal', 'a.example urgent'])
  t.end()
})

void t.test('destinations that come and go leave nothing behind', (t) => {
  const schedule = new Schedule()
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heapBytes = (): number => {
    collect()
    return process.memoryUsage().heapUsed
  }
  const visit = (from: number, n: number): void => {
    for (let key = from; key < from + n; key++) {
      const domain = `once-${key}.example`
      schedule.add({ key, messageKey: key, domain, priority: 'normal', dueMs: key % 2 === 0 ? 0 : key }, key)
      schedule.nextDestination(key)
      schedule.block(domain)
      schedule.take(domain)
      schedule.park(domain, key + 10, 'destination-unreachable')
      schedule.unblock(domain)
    }
  }
  visit(1, 20_000)
  const before = heapBytes()
  visit(20_001, 200_000)
  const grown = heapBytes() - before
  t.equal(schedule.size, 0)
  t.equal(schedule.waitsFor('once-5.example'), null)
  t.ok(grown < 8_000_000, `${grown} bytes more after 200,000 destinations`)
  t.end()
})
