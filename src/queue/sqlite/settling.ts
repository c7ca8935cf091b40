import type { AttemptRecord, NewEvent, ScheduleRow, Settlement, SettleResult } from '../contract.ts'
import { isFinal, stateNumber, stateOf } from '../states.ts'
import type { Accepting } from './accepting.ts'
import type { Ledger } from './ledger.ts'
import { type RecipientRow, scheduleRowOf } from './rows.ts'

/** What an attempt made of a recipient, written down whole. */
export class Settling {
  readonly #ledger: Ledger
  readonly #accepting: Accepting

  constructor(ledger: Ledger, accepting: Accepting) {
    this.#ledger = ledger
    this.#accepting = accepting
  }

  settle(settlements: readonly Settlement[]): { results: SettleResult[]; due: ScheduleRow[]; done: string[] } {
    const due: ScheduleRow[] = []
    const done: string[] = []
    const results = settlements.map((settlement): SettleResult => {
      const row = this.#ledger.recipient(settlement.key)
      if (row === undefined || stateOf(row.state) !== 'leased' || row.fence !== settlement.fence)
        return { kind: 'stale' }
      this.#settleOne(row, settlement, due, done)
      return { kind: 'settled' }
    })
    return { results, due, done }
  }

  note(args: {
    events: readonly NewEvent[]
    suppressions: Settlement['suppressions']
    counters: Settlement['counters']
  }): void {
    this.#ledger.context.insertEvents(args.events)
    this.#ledger.context.upsertSuppressions(args.suppressions)
    this.#ledger.context.moveCounters(args.counters)
  }

  #settleOne(row: RecipientRow, settlement: Settlement, due: ScheduleRow[], done: string[]): void {
    const { to, atMs, dueMs, reason, ambiguous } = settlement
    const message = this.#ledger.message(row.message)
    const waits = to === 'deferred' || to === 'ready'
    const nextMs = waits ? (dueMs ?? atMs) : null
    this.#ledger.move(row, to, {
      reason,
      due_ms: nextMs,
      attempts: row.attempts + (settlement.countsAsAttempt ? 1 : 0),
      uncertain: row.uncertain + (ambiguous ? 1 : 0),
      maybe_duplicate: ambiguous ? 1 : row.maybe_duplicate,
      crashes: 0,
      lone_crashes: 0,
      lease_owner: null,
      lease_until_ms: null,
      settled_ms: isFinal(to) ? atMs : null,
    })
    if (settlement.attempt !== null) this.#insertAttempt(row.key, settlement.attempt)
    this.note(settlement)
    if (nextMs !== null) due.push(scheduleRowOf({ ...row, crashes: 0, state: stateNumber(to) }, message, nextMs))
    if (settlement.spawn !== null) due.push(...this.#accepting.spawn(settlement.spawn))
    if (isFinal(to)) this.#ledger.oneLessOpen(message, atMs, done)
  }

  #insertAttempt(recipient: number, attempt: AttemptRecord): void {
    this.#ledger
      .sql(
        `INSERT INTO attempts VALUES (?, (SELECT coalesce(max(n), 0) + 1 FROM attempts WHERE recipient = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        recipient,
        recipient,
        attempt.startedMs,
        attempt.endedMs,
        attempt.provider,
        attempt.source,
        attempt.remoteHost,
        attempt.remoteAddress,
        attempt.tls,
        attempt.stage,
        attempt.replyCode,
        attempt.enhanced,
        attempt.reply,
        attempt.class,
        attempt.transcript,
      )
  }
}
