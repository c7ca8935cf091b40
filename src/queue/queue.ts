import { statfs } from 'node:fs/promises'
import { type Clock, EX, Fault, type Log, messageOf, sleep } from '#base'
import type { Config } from '#config'
import { ContentCache } from './content-cache.ts'
import {
  type AcceptResult,
  type Claim,
  DamagedContent,
  type MessageView,
  type NewEvent,
  type NewMessage,
  type Page,
  type Priority,
  type QueueCounts,
  type QueueFilter,
  type QueueRow,
  type QueueStore,
  type ScheduleRow,
  type Settlement,
  type SettleResult,
  type Steer,
} from './contract.ts'
import { QueueTime } from './queue-time.ts'
import { Schedule } from './schedule.ts'
import { SentNotes } from './sent-notes.ts'

const CACHE_BYTES = 67_108_864
/** Small, so that taking one in holds nobody up. */
const REBUILD_PAGE = 2000
const RETIRE_STEP = 200
const SPACE_EVERY_MS = 2000
const RECLAIM_EVERY_MS = 30_000
/** Until the next suspect is offered, when the one before has not been tried (its destination waits). */
const SUSPECT_MS = 60_000
/** Longer than any wait that is not chosen by somebody. */
const LONGEST_WAIT_MS = 172_800_000
/** Until a settlement that found no room is tried again. */
const ROOM_RETRY_MS = 1000
/** A timer may fire a little early; what is due within this is due. */
const EARLY_MS = 1
const FULL_CODES = new Set(['ENOSPC', 'EDQUOT', 'SQLITE_FULL'])

export type QueueOptions = {
  readonly store: QueueStore
  readonly config: Config['queue']
  readonly directory: string
  /** Names this process in leases; the same after a restart, so that it takes its own back. */
  readonly owner: string
  readonly clock: Clock
  readonly log: Log
  /** What contents that were accepted a moment ago may hold of the memory. Default: 64 MiB. */
  readonly cacheBytes?: number
  /** Called after the commit with the events in it. */
  readonly onEvents?: (events: readonly NewEvent[]) => void
}

/** Why a recipient waits, and until when (null: not by time). */
export type Why = {
  readonly address: string
  readonly state: string
  readonly reason: string
  readonly untilMs: number | null
}

/** The queue as the stages use it: the store, and in memory the schedule and the contents under way. */
export class Queue implements AsyncDisposable {
  readonly #store: QueueStore
  readonly #config: Config['queue']
  readonly #directory: string
  readonly #owner: string
  readonly #clock: Clock
  readonly #log: Log
  readonly #onEvents: (events: readonly NewEvent[]) => void
  readonly #notes: SentNotes
  readonly #schedule = new Schedule((domain, priority) => {
    for (const listener of this.#strongerListeners) listener(domain, priority)
  })
  readonly #contents: ContentCache
  readonly #listeners = new Set<() => void>()
  readonly #strongerListeners = new Set<(domain: string, priority: Priority) => void>()
  readonly #time: QueueTime
  /** Those that may be the cause of crashes: offered one at a time, never two at once. */
  readonly #suspects: ScheduleRow[] = []
  #suspect: number | null = null
  #cancelSuspect: (() => void) | null = null
  #cancelTimer: (() => void) | null = null
  #timerMs = Number.POSITIVE_INFINITY
  #cancelReclaim: (() => void) | null = null
  #freeBytes = Number.POSITIVE_INFINITY
  #spaceLookedMs = Number.NEGATIVE_INFINITY
  #accepting = 0
  /** Settlements that are not on disk: on their way, or failed. */
  #unsettled = 0
  #stopping = false
  #closed = false

  private constructor(options: QueueOptions) {
    this.#store = options.store
    this.#config = options.config
    this.#directory = options.directory
    this.#owner = options.owner
    this.#clock = options.clock
    this.#log = options.log
    this.#onEvents = options.onEvents ?? (() => {})
    this.#contents = new ContentCache(options.cacheBytes ?? CACHE_BYTES)
    this.#notes = new SentNotes(options.directory, options.log)
    this.#time = new QueueTime(options.clock, (byMs) => {
      options.log.warn({ by_ms: Math.round(byMs) }, 'the clock was set: waits and lifetimes go on as they were')
      void this.#followClock()
    })
  }

  /** Settles what a crash left noted as sent, takes back what else it left leased, and rebuilds the schedule. */
  static async open(options: QueueOptions): Promise<Queue> {
    const queue = new Queue(options)
    await options.store.verify()
    await queue.#settleNoted()
    const reclaimed = await options.store.reclaim(options.owner, options.clock.now())
    if (reclaimed.length > 0)
      options.log.warn({ recipients: reclaimed.length }, 'attempts cut off by the last stop are tried again')
    await queue.#readSchedule((row) => queue.#add(queue.#within(row)))
    queue.#offerSuspect()
    await queue.#lookAtSpace()
    queue.#planReclaim()
    return queue
  }

  /**
   * Keeps a message. Resolves after the commit is on disk; the content is shared with the cache, so it must not be
   * changed afterwards.
   * @throws Fault insufficient-storage, store-failed
   */
  async accept(message: NewMessage, events: readonly NewEvent[]): Promise<AcceptResult> {
    if (this.spaceIsLow()) throw noSpace(this.#directory)
    this.#accepting += 1
    try {
      const { result, due } = await this.#store.accept(message, events)
      if (result.kind === 'accepted') {
        if (due.length > 0) this.#contents.put(message.id, message.content)
        this.#plan(due)
        this.#onEvents(events)
      }
      return result
    } catch (error) {
      throw FULL_CODES.has((error as { code?: string }).code ?? '') ? noSpace(this.#directory) : error
    } finally {
      this.#accepting -= 1
    }
  }

  /** Whether new mail would be refused for want of space; looked at every two seconds while somebody asks. */
  spaceIsLow(): boolean {
    if (this.#clock.monotonicMs() - this.#spaceLookedMs > SPACE_EVERY_MS) void this.#lookAtSpace()
    return this.#freeBytes < this.#config.min_free_bytes
  }

  /** Messages being accepted, and due recipients that wait only for our own speed. */
  backlog(): number {
    return this.#schedule.offered + this.#accepting
  }

  /** Called when something became due, or may be offered again. The returned function ends it. */
  onDue(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Called when a blocked destination gets due mail of a stronger priority than it had. The returned function ends it. */
  onStronger(listener: (domain: string, priority: Priority) => void): () => void {
    this.#strongerListeners.add(listener)
    return () => this.#strongerListeners.delete(listener)
  }

  /** The next destination domain to serve; null when there is nothing to do now. */
  nextDestination(): { readonly domain: string; readonly priority: Priority } | null {
    const next = this.#schedule.nextDestination(this.#time.now() + EARLY_MS)
    if (next === null) this.#setTimer()
    return next
  }

  /** Due recipients of a destination that are not claimed. */
  dueFor(domain: string): number {
    return this.#schedule.dueFor(domain)
  }

  /**
   * Leases the strongest due recipient of a destination (and up to `max` recipients of its message), durable before it
   * resolves. Empty when nothing is due any more. To share a commit with a settlement, start both in the same turn.
   * When it rejects, the recipients are due as before.
   */
  async claim(domain: string, max = 1): Promise<readonly Claim[]> {
    for (;;) {
      const rows = this.#schedule.take(domain, max)
      if (rows.length === 0) return []
      const claims = await this.#lease(rows)
      if (claims.length > 0) return claims
    }
  }

  /** Leases due recipients whose lifetime is over while their destination is parked or blocked, at most `max`. */
  async claimExpired(max: number): Promise<readonly Claim[]> {
    const rows = this.#schedule.takeExpired(this.#time.now(), max)
    return rows.length === 0 ? [] : this.#lease(rows)
  }

  park(domain: string, untilMs: number, reason: string): void {
    this.#schedule.park(domain, this.#time.fromWall(untilMs), reason)
    this.#setTimer()
  }

  /** @param reason what its mail waits for, `destination-concurrency` when nothing is said; `untilMs` when that is known */
  block(domain: string, reason?: string, untilMs?: number): void {
    this.#schedule.block(domain, reason, untilMs === undefined ? untilMs : this.#time.fromWall(untilMs))
  }

  unblock(domain: string): void {
    this.#schedule.unblock(domain)
    this.#wake()
  }

  /**
   * Records outcomes. On a full disk it waits for room as long as the leases last, because what a peer has taken must not
   * be forgotten.
   */
  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    this.#notes.write(settlements)
    this.#unsettled += 1
    const { results, due, done } = await this.#whenThereIsRoom(() => this.#store.settle(settlements))
    this.#unsettled -= 1
    if (this.#unsettled === 0) this.#notes.rewind()
    for (const id of done) this.#contents.drop(id)
    this.#plan(due)
    if (this.#suspect !== null && settlements.some(({ key }) => key === this.#suspect)) this.#suspectEnded()
    const events = settlements.flatMap((settlement, i) => (results[i]?.kind === 'settled' ? settlement.events : []))
    if (events.length > 0) this.#onEvents(events)
    return results
  }

  /** The process is to end: what finds no room on the disk is left to the notes beside it, not waited for. */
  waitNoLonger(): void {
    this.#stopping = true
  }

  /** The content as it was accepted. @throws DamagedContent: the message is then held, with an event. */
  async content(messageId: string): Promise<Buffer> {
    const cached = this.#contents.get(messageId)
    if (cached !== undefined) return cached
    try {
      const content = await this.#store.content(messageId)
      this.#contents.put(messageId, content)
      return content
    } catch (error) {
      if (error instanceof DamagedContent) {
        this.#log.error({ message_id: messageId }, 'the kept content is damaged: the message is held and not sent')
        await this.#store.holdDamaged(messageId, this.#clock.now())
      }
      throw error
    }
  }

  async steer(
    action: Steer,
    filter: QueueFilter,
    reason: string,
    options: { readonly dryRun: boolean; readonly limit: number },
  ): Promise<{ readonly count: number; readonly more: boolean }> {
    const { count, due, done, more } = await this.#store.steer(action, filter, reason, this.#clock.now(), options)
    for (const id of done) this.#contents.drop(id)
    this.#plan(due)
    return { count, more }
  }

  async note(
    events: readonly NewEvent[],
    suppressions: Settlement['suppressions'],
    counters: Settlement['counters'] = [],
  ): Promise<void> {
    await this.#store.note(events, suppressions, counters)
    this.#onEvents(events)
  }

  message(messageId: string): Promise<MessageView | null> {
    return this.#store.message(messageId)
  }

  /** How often this provider has deferred this recipient. */
  deferralsBy(recipientKey: number, provider: string): Promise<number> {
    return this.#store.deferralsBy(recipientKey, provider)
  }

  recipient(key: number): Promise<QueueRow | null> {
    return this.#store.recipient(key)
  }

  list(filter: QueueFilter, cursor: string | null, limit: number): Promise<Page<QueueRow>> {
    return this.#store.list(filter, cursor, limit)
  }

  counts(): Promise<QueueCounts> {
    return this.#store.counts()
  }

  /** For each recipient that is not settled: what it waits for and until when. */
  async why(messageId: string): Promise<readonly Why[]> {
    const message = await this.#store.message(messageId)
    return (message?.recipients ?? []).map(({ address, domain, state, reason, dueMs }) => {
      const due = state === 'ready' || (dueMs !== null && dueMs <= this.#clock.now())
      const waits = due && state !== 'leased' ? this.#schedule.waitsFor(domain) : null
      if (waits !== null) {
        const untilMs = waits.untilMs === null ? null : this.#time.toWall(waits.untilMs)
        return { address, state, reason: waits.reason, untilMs }
      }
      return { address, state, reason, untilMs: state === 'deferred' || state === 'scheduled' ? dueMs : null }
    })
  }

  /** Removes what was settled or happened longer ago than the retention, in small steps, and gives the space back. */
  async runRetention(): Promise<number> {
    const nowMs = this.#clock.now()
    const beforeMs = nowMs - this.#config.retention_days * 86_400_000
    let removed = 0
    for (let more = true; more && !this.#closed; ) {
      const step = await this.#store.retire(beforeMs, RETIRE_STEP)
      removed += step.removed
      more = step.more
    }
    while (!this.#closed && (await this.#store.forgetKeys(nowMs, RETIRE_STEP)) === RETIRE_STEP);
    while (!this.#closed && (await this.#store.forgetEvents(beforeMs, RETIRE_STEP)) === RETIRE_STEP);
    await this.reclaimSpace()
    return removed
  }

  async reclaimSpace(): Promise<void> {
    while (!this.#closed && (await this.#store.reclaimSpace(this.#clock.now())));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#cancelTimer?.()
    this.#cancelReclaim?.()
    this.#cancelSuspect?.()
    this.#listeners.clear()
    this.#strongerListeners.clear()
    await this.#store[Symbol.asyncDispose]()
    // What could not be recorded (a full disk) is, at the next start.
    if (this.#unsettled === 0) this.#notes.clear()
    this.#notes[Symbol.dispose]()
  }

  async #settleNoted(): Promise<void> {
    const { found } = this.#notes
    if (found.length > 0) {
      const { results } = await this.#store.settle(found)
      const settled = found.filter((_, i) => results[i]?.kind === 'settled')
      if (settled.length > 0) {
        this.#log.warn({ recipients: settled.length }, 'sent just before the last stop, and recorded now')
        this.#onEvents(settled.flatMap(({ events }) => events))
      }
    }
    this.#notes.clear()
  }

  async #lease(rows: readonly ScheduleRow[]): Promise<readonly Claim[]> {
    const wallMs = this.#clock.now() + EARLY_MS
    const keys = rows.map(({ key }) => key)
    // Once the clock was set, when a wait ends is known here alone.
    const waitedMs = this.#time.wasSet ? Number.MAX_SAFE_INTEGER : wallMs
    let claims: readonly Claim[]
    try {
      const untilMs = Math.floor(this.#time.now()) + this.#config.lease * 1000
      claims = await this.#store.lease(keys, this.#owner, { wallMs, waitedMs }, untilMs)
    } catch (error) {
      for (const row of rows) this.#schedule.add({ ...row, dueMs: 0 }, 0)
      throw error
    }
    if (!this.#time.wasSet) return claims
    return claims.map(({ message, recipients }) => {
      const expiresMs = this.#time.expiry(message.expiresMs, recipients[0]!.key)
      return { message: { ...message, expiresMs }, recipients }
    })
  }

  async #whenThereIsRoom<T>(write: () => Promise<T>): Promise<T> {
    const endMs = this.#clock.monotonicMs() + this.#config.lease * 1000
    for (let tries = 0; ; tries++) {
      try {
        return await write()
      } catch (error) {
        const full = FULL_CODES.has((error as { code?: string }).code ?? '')
        if (!full || this.#stopping || this.#closed || this.#clock.monotonicMs() >= endMs) throw error
        if (tries === 0) this.#log.error({ error: messageOf(error) }, 'outcomes wait to be recorded: the disk is full')
        await sleep(this.#clock, ROOM_RETRY_MS)
      }
    }
  }

  #plan(due: readonly ScheduleRow[]): void {
    if (due.length === 0) return
    let wake = false
    for (const row of due) wake = this.#add(row) || wake
    if (this.#suspects.length > 0) this.#offerSuspect()
    if (wake) this.#wake()
    else this.#setTimer()
  }

  /** A wait as long as none is was written by a clock that was ahead: it does not hold the mail until then. */
  #within(row: ScheduleRow): ScheduleRow {
    const latestMs = this.#clock.now() + LONGEST_WAIT_MS
    if (row.appointed === true || row.dueMs <= latestMs) return row
    this.#time.distrust()
    return { ...row, dueMs: latestMs }
  }

  /** True when it is due now. */
  #add(row: ScheduleRow): boolean {
    if (row.suspect === true) {
      this.#suspects.push(row)
      return false
    }
    const nowMs = this.#time.now()
    this.#time.accepted(row.key)
    if (!this.#time.wasSet) {
      this.#schedule.add(row, nowMs)
      return row.dueMs <= nowMs
    }
    const { offsetMs } = this.#time
    const { expiresMs = Number.POSITIVE_INFINITY } = row
    const dueMs = row.dueMs - offsetMs
    this.#schedule.add({ ...row, dueMs, expiresMs: this.#time.expiry(expiresMs, row.key) - offsetMs }, nowMs)
    return dueMs <= nowMs
  }

  /** The next of those that may be the cause of crashes, when none is under way; each has a minute before the next goes. */
  #offerSuspect(): void {
    if (this.#suspect !== null || this.#closed) return
    const row = this.#suspects.shift()
    if (row === undefined) return
    this.#suspect = row.key
    const { suspect: _suspect, ...plain } = row
    this.#cancelSuspect = this.#clock.after(SUSPECT_MS, () => this.#suspectEnded())
    if (this.#add(plain)) this.#wake()
    else this.#setTimer()
  }

  #suspectEnded(): void {
    this.#cancelSuspect?.()
    this.#cancelSuspect = null
    this.#suspect = null
    this.#offerSuspect()
  }

  async #readSchedule(take: (row: ScheduleRow) => void): Promise<void> {
    let next = this.#store.schedule(0, REBUILD_PAGE)
    for (;;) {
      const rows = await next
      const last = rows.length < REBUILD_PAGE
      if (!last) next = this.#store.schedule(rows.at(-1)!.key, REBUILD_PAGE)
      for (const row of rows) take(row)
      if (last) return
    }
  }

  /** Times that somebody chose are by the wall clock: they are planned anew when it was set. An entry too many finds nothing. */
  async #followClock(): Promise<void> {
    try {
      await this.#readSchedule((row) => {
        if (row.appointed === true) this.#add(row)
      })
      this.#wake()
      this.#setTimer()
    } catch (error) {
      if (!this.#closed) this.#log.error({ error: messageOf(error) }, 'scheduled mail could not be planned anew')
    }
  }

  #wake(): void {
    for (const listener of this.#listeners) listener()
  }

  #setTimer(): void {
    const nextMs = this.#schedule.nextTimeMs()
    if (nextMs === null || this.#closed || nextMs >= this.#timerMs) return
    this.#cancelTimer?.()
    this.#timerMs = nextMs
    this.#cancelTimer = this.#clock.after(nextMs - this.#time.now(), () => {
      this.#timerMs = Number.POSITIVE_INFINITY
      this.#cancelTimer = null
      // Woken early (a far time): nothing is due yet and the timer is set again. What is due is moved here, not when
      // somebody has time for it, or the timer would fire again at once until then.
      this.#schedule.mature(this.#time.now() + EARLY_MS)
      this.#wake()
      this.#setTimer()
    })
  }

  #planReclaim(): void {
    this.#cancelReclaim = this.#clock.after(RECLAIM_EVERY_MS, () => {
      this.#store
        .reclaim(null, Math.floor(this.#time.now()))
        .then((rows) => this.#plan(rows))
        .catch((error: unknown) =>
          this.#log.error({ error: messageOf(error) }, 'overdue leases could not be taken back'),
        )
        .finally(() => {
          if (!this.#closed) this.#planReclaim()
        })
    })
  }

  async #lookAtSpace(): Promise<void> {
    this.#spaceLookedMs = this.#clock.monotonicMs()
    try {
      const { bavail, bsize } = await statfs(this.#directory)
      this.#freeBytes = bavail * bsize
    } catch (error) {
      this.#log.warn({ error: messageOf(error) }, 'the free space of data_dir cannot be read')
    }
  }
}

function noSpace(directory: string): Fault {
  return new Fault(`there is not enough free space in ${directory}`, {
    code: 'insufficient-storage',
    field: 'queue.min_free_bytes',
    remedy: 'Free some space; mail is taken again by itself as soon as there is.',
    exitCode: EX.IOERR,
  })
}
