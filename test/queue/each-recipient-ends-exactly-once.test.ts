import fc from 'fast-check'
import t from 'tap'
import type { Claim, QueueStore, ScheduleRow } from '#queue'
import { tempDir } from '#world'
import { FINAL, message, queued, settlement, T0 } from '../contract/queue-messages.ts'
import { openSqlite } from '../contract/sqlite-driver.ts'

const DOMAINS = ['a.example', 'b.example', 'c.example']
const LEASE_MS = 60_000
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('accept' as const),
      n: fc.integer({ min: 1, max: 4 }),
      laterMs: fc.constantFrom(0, 0, 5000),
      suppressed: fc.boolean(),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('claim' as const), n: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      to: fc.constantFrom('sent' as const, 'bounced' as const, 'deferred' as const, 'uncertain' as const),
      twice: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('steer' as const),
      action: fc.constantFrom('hold' as const, 'release' as const, 'cancel' as const, 'retry' as const),
      domain: fc.constantFrom(...DOMAINS),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1000, 10_000, 90_000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** Plays the script, ends all that is left, and says what came out of each recipient. */
async function play(steps: readonly Step[]): Promise<void> {
  await using directory = await tempDir()
  let opened = await openSqlite(directory.path)
  try {
    let store: QueueStore = opened.store
    let nowMs = T0
    let number = 0
    const acknowledged = new Set<string>()
    /** Claims are kept over crashes: their settlements then come too late. */
    const claims: Claim[] = []
    const waiting = async (): Promise<readonly ScheduleRow[]> => await store.schedule(0, 10_000)
    const claim = async (n: number): Promise<readonly Claim[]> => {
      const keys = (await waiting()).filter(({ dueMs }) => dueMs <= nowMs).map(({ key }) => key)
      return await store.lease(keys.slice(0, n), 'test', nowMs, nowMs + LEASE_MS)
    }
    for (const now of steps) {
      switch (now.do) {
        case 'accept': {
          const addresses = Array.from({ length: now.n }, (_, i) => `u${number++}@${DOMAINS[i % DOMAINS.length]}`)
          const made = message(addresses, {
            acceptedMs: nowMs,
            ...(now.laterMs > 0 ? { notBeforeMs: nowMs + now.laterMs } : {}),
          })
          const recipients = made.recipients.map((recipient, i) =>
            now.suppressed && i === 0 ? { ...recipient, suppressed: { reason: 'manual', detail: '' } } : recipient,
          )
          const whole = { ...made, recipients }
          const { result } = await store.accept(whole, queued(whole))
          if (result.kind === 'accepted') for (const address of addresses) acknowledged.add(address)
          break
        }
        case 'claim':
          claims.push(...(await claim(now.n)))
          break
        case 'settle': {
          const first = claims.shift()
          if (first === undefined) break
          const over = { atMs: nowMs, ...(now.to === 'deferred' ? { dueMs: nowMs + 5000 } : {}) }
          const settlements = first.recipients.map((_, at) => settlement(first, now.to, over, at))
          await store.settle(settlements)
          if (now.twice) claims.push(first)
          break
        }
        case 'steer':
          await store.steer(now.action, { domain: now.domain }, 'test', nowMs, { dryRun: false, limit: 1000 })
          break
        case 'wait':
          nowMs += now.ms
          await store.reclaim(null, nowMs)
          break
        case 'crash':
          await opened[Symbol.asyncDispose]()
          opened = await openSqlite(directory.path)
          store = opened.store
          await store.reclaim('test', nowMs)
          break
      }
    }
    for (let round = 0; round < 10; round++) {
      nowMs += 3_600_000
      await store.reclaim('test', nowMs)
      await store.steer('release', {}, 'test', nowMs, { dryRun: false, limit: 1000 })
      const last = await claim(1000)
      if (last.length === 0 && (await waiting()).length === 0) break
      await store.settle(
        last.flatMap((one) => one.recipients.map((_, at) => settlement(one, 'sent', { atMs: nowMs }, at))),
      )
    }
    const outcomes = new Map<string, number>()
    for (const { type, recipient } of await opened.events())
      if ((FINAL as readonly string[]).includes(type) && recipient !== null)
        outcomes.set(recipient, (outcomes.get(recipient) ?? 0) + 1)
    for (const address of acknowledged)
      if (outcomes.get(address) !== 1) throw new Error(`${address} has ${outcomes.get(address) ?? 0} outcomes`)
    if (outcomes.size !== acknowledged.size) throw new Error('an outcome of a recipient nobody accepted')
    const counted = await opened.countedStates()
    for (const state of Object.keys(counted))
      if (!(FINAL as readonly string[]).includes(state)) throw new Error(`left ${state}`)
  } finally {
    await opened[Symbol.asyncDispose]()
  }
}

t.setTimeout(120_000)

void t.test('whatever happens, each recipient ends exactly once', async () => {
  const runs = Number(process.env.RELEVO_PROPERTY_RUNS ?? 4)
  const script = fc.array(step, { minLength: 5, maxLength: 50, size: 'max' })
  await fc.assert(fc.asyncProperty(script, play), { seed: 20_261_124, numRuns: runs, endOnFailure: true })
})
