import { cpSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { silentLog } from '#base'
import { type Claim, PRIORITIES, type Priority, Queue, type QueueFilter, type Settlement, type Steer } from '#queue'
import { type ManualClock, manualClock, type TempDir, tempDir } from '#world'
import { body, FINAL, message, queued, settlement, T0 } from '../contract/queue-messages.ts'
import { definite, type OpenStore } from '../contract/queue-store.ts'
import { openSqlite, queueDefaults } from '../contract/sqlite-driver.ts'
import { level, line, type ModelRecipient, QueueModel } from './queue-model.ts'

const RUNS = Number(process.env.RELEVO_PROPERTY_RUNS ?? 6)
const DOMAINS = ['a.example', 'b.example']
/** Leases do not end by time here: that has its own test. */
const CONFIG = { ...queueDefaults, min_free_bytes: 0, lease: 10_000_000, segment_bytes: 150_000 }

type Step =
  | {
      readonly do: 'accept'
      readonly to: readonly { readonly domain: string; readonly suppressed: boolean }[]
      readonly priority: Priority
      readonly inMs: number
      readonly large: boolean
      readonly key: string | null
    }
  | { readonly do: 'claim'; readonly domain: string; readonly max: number }
  | { readonly do: 'settle'; readonly which: number; readonly to: Settlement['to']; readonly inMs: number }
  | { readonly do: 'settle-late'; readonly which: number }
  | {
      readonly do: 'steer'
      readonly action: Steer
      readonly by: { readonly domain: string } | { readonly priority: Priority } | { readonly nth: number }
    }
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'crash' }

const domain = fc.constantFrom(...DOMAINS)
const priority = fc.constantFrom(...PRIORITIES)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('accept' as const),
      to: fc.array(fc.record({ domain, suppressed: fc.constantFrom(false, false, false, true) }), {
        minLength: 1,
        maxLength: 3,
      }),
      priority,
      inMs: fc.constantFrom(0, 0, 0, 700_000),
      large: fc.boolean(),
      key: fc.constantFrom(null, null, null, 'k1', 'k2'),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constant('claim' as const), domain, max: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      which: fc.nat(50),
      to: fc.constantFrom(
        ...([
          'sent',
          'bounced',
          'uncertain',
          'suppressed',
          'expired',
          'deferred',
          'deferred',
          'ready',
          'held',
        ] as const),
      ),
      inMs: fc.constantFrom(0, 300_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('settle-late' as const), which: fc.nat(50) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('steer' as const),
      action: fc.constantFrom(...(['hold', 'release', 'cancel', 'retry'] as const)),
      by: fc.oneof(fc.record({ domain }), fc.record({ priority }), fc.record({ nth: fc.nat(50) })),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(1000, 300_000, 900_000) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'crash' as const }) },
)

/** The real queue on a real file beside the model; every step is taken by both and compared. */
class Run implements AsyncDisposable {
  readonly clock: ManualClock = manualClock(T0)
  readonly model = new QueueModel()
  #directory!: TempDir
  #opened!: OpenStore
  #queue!: Queue
  /** Each with one recipient. */
  #claims: Claim[] = []
  readonly #over: Claim[] = []
  readonly #messages: string[] = []

  async open(directory: TempDir): Promise<void> {
    this.#directory = directory
    this.#opened = await openSqlite(directory.path, CONFIG)
    const options = { config: CONFIG, directory: directory.path, owner: 'node', clock: this.clock, log: silentLog }
    this.#queue = await Queue.open({ store: this.#opened.store, ...options })
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'accept':
        await this.#accept(step)
        break
      case 'claim':
        await this.#claim(step.domain, step.max)
        break
      case 'settle': {
        const [claim] = this.#claims.splice(step.which % Math.max(1, this.#claims.length), 1)
        if (claim !== undefined) await this.#settle(claim, step.to, step.inMs)
        break
      }
      case 'settle-late': {
        const claim = this.#over[step.which % Math.max(1, this.#over.length)]
        if (claim !== undefined)
          same('late', await this.#queue.settle([settlement(claim, 'sent')]), [{ kind: 'stale' }])
        break
      }
      case 'steer':
        await this.#steer(step.action, step.by)
        break
      case 'advance':
        if (step.ms <= 10_000) await this.clock.advance(step.ms)
        else this.clock.skip(step.ms)
        break
      case 'crash':
        await this.#crash()
        break
    }
    await this.#compare()
  }

  /** Lets everything come to its end, and looks at all that is left of it. */
  async end(): Promise<void> {
    await this.#steer('release', { nth: -1 })
    for (const claim of this.#claims.splice(0)) await this.#settle(claim, 'deferred', 1000)
    for (
      let round = 0;
      this.model.recipients.some(({ state }) => !(FINAL as readonly string[]).includes(state));
      round++
    ) {
      if (round > 500) throw new Error(`these never end: ${this.model.lines().join('\n')}`)
      this.clock.skip(1_000_000)
      for (const domain of DOMAINS) await this.#claim(domain, 3)
      for (const claim of this.#claims.splice(0)) await this.#settle(claim, 'sent', 0)
    }
    await this.#compare()
    same('counted', await this.#opened.countedStates(), this.model.counts())
    const outcomes = new Map<string, string[]>()
    for (const event of await this.#opened.events())
      if ((FINAL as readonly string[]).includes(event.type)) {
        const whose = `${event.message_id} ${event.recipient}`
        outcomes.set(whose, [...(outcomes.get(whose) ?? []), event.type])
      }
    same(
      'outcomes',
      [...outcomes].map(([whose, types]) => `${whose} ${types.join()}`).sort(),
      this.model.recipients.map((one) => `${one.messageId} ${one.address} ${one.state}`).sort(),
    )
    for (const id of this.#messages) same(`content of ${id}`, (await this.#queue.message(id))?.contentKept, false)
    this.clock.skip(31 * 86_400_000)
    same('removed', await this.#queue.runRetention(), this.#messages.length)
    same('after the retention', definite(await this.#queue.counts()), {})
  }

  async #accept(step: Step & { do: 'accept' }): Promise<void> {
    const nowMs = this.clock.now()
    const id = `m${this.#messages.length}`
    const to = step.to.map(({ domain, suppressed }, i) => ({ address: `${i}@${domain}`, domain, suppressed }))
    const mail = message([], {
      id,
      acceptedMs: nowMs,
      expiresMs: nowMs + 1e12,
      content: body(id, step.large ? 50_000 : 0),
      priority: step.priority,
      notBeforeMs: nowMs + step.inMs,
      ...(step.key === null ? {} : { idempotency: { scope: 's', key: step.key, fingerprint: 'f' } }),
      recipients: to.map(({ suppressed, ...recipient }) => ({
        ...recipient,
        ...(suppressed ? { suppressed: { reason: 'manual', detail: '' } } : {}),
      })),
    })
    const result = await this.#queue.accept(mail, queued(mail))
    const earlier = step.key === null ? undefined : this.model.keys.get(step.key)
    if (earlier !== undefined) return same('repeated', result, { kind: 'repeated', id: earlier, same: true })
    same('accepted', result, { kind: 'accepted', id })
    if (step.key !== null) this.model.keys.set(step.key, id)
    this.#messages.push(id)
    this.model.accept(id, to, step.priority, nowMs, nowMs + step.inMs)
  }

  async #claim(domain: string, max: number): Promise<void> {
    this.#queue.nextDestination()
    const due = this.model.due(domain, this.clock.now())
    const claims = await this.#queue.claim(domain, max)
    if (claims.length === 0) return same(`due for ${domain}`, due.length, 0)
    same('claims', claims.length, 1)
    const { message, recipients } = claims[0]!
    const strongest = Math.min(...due.map((one) => level(one.priority)))
    same('priority', level(message.priority), strongest)
    if (recipients.length > max) throw new Error(`${recipients.length} recipients instead of ${max}`)
    for (const recipient of recipients) {
      const one = this.model.find(message.id, recipient.address)
      if (!due.includes(one)) throw new Error(`${one.address} of ${one.messageId} was not due: ${one.state}`)
      this.model.claim(one)
      const { fence, maybeDuplicate, attempts, uncertain } = one
      same('claimed', recipient, { ...recipient, fence, maybeDuplicate, attempts, uncertain, domain })
      this.#claims.push({ message, recipients: [recipient] })
    }
    // Most contents come from memory; from the file they must be the same.
    const large = (await this.#opened.store.content(message.id)).length > 50_000 - 1
    same('content', (await this.#queue.content(message.id)).equals(body(message.id, large ? 50_000 : 0)), true)
  }

  async #settle(claim: Claim, to: Settlement['to'], inMs: number): Promise<void> {
    const one = this.model.find(claim.message.id, claim.recipients[0]!.address)
    const atMs = this.clock.now()
    const ambiguous = to === 'deferred' && inMs === 0
    const due = to === 'deferred' || to === 'ready' ? { dueMs: atMs + inMs } : {}
    const settled = settlement(claim, to, { atMs, ambiguous, ...due })
    same('settled', await this.#queue.settle([settled]), [{ kind: 'settled' }])
    this.model.settle(one, settled)
    this.#over.push(claim)
  }

  async #steer(action: Steer, by: (Step & { do: 'steer' })['by']): Promise<void> {
    const [filter, means] = this.#filter(by)
    const options = { dryRun: true, limit: 10_000 }
    const dry = await this.#queue.steer(action, filter, 'by hand', options)
    const done = await this.#queue.steer(action, filter, 'by hand', { ...options, dryRun: false })
    same('dry run', dry, done)
    same(`${action} ${JSON.stringify(filter)}`, done.count, this.model.steer(action, means, this.clock.now()))
  }

  #filter(by: (Step & { do: 'steer' })['by']): [QueueFilter, (one: ModelRecipient) => boolean] {
    if ('domain' in by) return [by, (one) => one.domain === by.domain]
    if ('priority' in by) return [by, (one) => one.priority === by.priority]
    if (by.nth < 0) return [{}, () => true]
    const messageId = this.#messages[by.nth % Math.max(1, this.#messages.length)] ?? 'none'
    return [{ messageId }, (one) => one.messageId === messageId]
  }

  /** The process is gone, and the files stay as they are at this moment. */
  async #crash(): Promise<void> {
    const copy = await tempDir()
    // What the timers began is over behind this one.
    await this.#queue.note([], [])
    cpSync(this.#directory.path, copy.path, { recursive: true })
    await this[Symbol.asyncDispose]()
    this.model.crash(this.clock.now())
    this.#over.push(...this.#claims.splice(0))
    await this.open(copy)
    same('counted', await this.#opened.countedStates(), this.model.counts())
  }

  async #compare(): Promise<void> {
    const { rows } = await this.#queue.list({}, null, 10_000)
    same('recipients', rows.map((row) => line(row.id, row.recipient)).sort(), this.model.lines())
    same('counts', definite(await this.#queue.counts()), this.model.counts())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue[Symbol.asyncDispose]()
    await this.#opened[Symbol.asyncDispose]()
    await this.#directory[Symbol.asyncDispose]()
  }
}

function same(what: string, got: unknown, wanted: unknown): void {
  const [a, b] = [canonical(got), canonical(wanted)]
  if (a !== b) throw new Error(`${what}: ${a}\ninstead of ${b}`)
}

function canonical(value: unknown): string {
  const sorted = (_: string, inner: unknown): unknown =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner
  return JSON.stringify(value, sorted, 1)
}

void t.test(
  `${RUNS} random lives of a queue: every recipient ends once, nothing is lost, the strongest goes first`,
  async (t) => {
    let steps = 0
    const script = fc.array(step, { minLength: 80, maxLength: 160, size: 'max' })
    await fc.assert(
      fc.asyncProperty(script, async (script) => {
        await using run = new Run()
        await run.open(await tempDir())
        for (const one of script) await run.take(one)
        await run.end()
        steps += script.length
      }),
      {
        seed: Number(process.env.RELEVO_SEED ?? 20_261_124),
        numRuns: RUNS,
        endOnFailure: process.env.RELEVO_SHRINK === undefined,
      },
    )
    t.pass(`${steps} steps`)
  },
)
