import type { RecipientState, ScheduleRow, Steer } from '../contract.ts'
import { canMove, stateNumber, stateOf } from '../states.ts'
import type { Ledger } from './ledger.ts'
import { type MessageRow, type RecipientRow, scheduleRowOf } from './rows.ts'

/** What people, and findings, do to mail that waits. */
export class Steering {
  readonly #ledger: Ledger

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  steer(args: { action: Steer; keys: readonly number[]; reason: string; nowMs: number }): {
    count: number
    due: ScheduleRow[]
    gone: number[]
    done: string[]
  } {
    const to = { hold: 'held', release: 'ready', retry: 'ready', cancel: 'cancelled' }[args.action] as RecipientState
    const due: ScheduleRow[] = []
    const gone: number[] = []
    const done: string[] = []
    let count = 0
    for (const key of args.keys) {
      const row = this.#ledger.recipient(key)
      if (row === undefined || !maySteer(args.action, stateOf(row.state))) continue
      const message = this.#ledger.message(row.message)
      count += 1
      // Mail that was scheduled keeps its time while it is held, and goes back to it.
      const keptMs = stateOf(row.state) === 'scheduled' || args.action === 'release' ? row.due_ms : null
      const later = args.action === 'release' && keptMs !== null && keptMs > args.nowMs
      const next: RecipientState = later ? 'scheduled' : to
      const dueMs = later ? keptMs : next === 'ready' ? args.nowMs : next === 'held' ? keptMs : null
      this.#ledger.move(row, next, {
        reason: later ? 'scheduled' : args.reason,
        due_ms: dueMs,
        settled_ms: next === 'cancelled' ? args.nowMs : null,
      })
      const type = { hold: 'held', release: 'released', retry: 'released', cancel: 'cancelled' }[args.action]
      this.#ledger.event(type, row, message, args.nowMs, { reason: args.reason })
      if (dueMs !== null && next !== 'held')
        due.push(scheduleRowOf({ ...row, state: stateNumber(next) }, message, dueMs))
      else gone.push(key)
      if (to === 'cancelled') this.#ledger.oneLessOpen(message, args.nowMs, done)
    }
    return { count, due, gone, done }
  }

  /** A message whose content cannot be believed: nothing of it is sent. */
  holdDamaged({ messageId, nowMs }: { messageId: string; nowMs: number }): number {
    const message = this.#ledger.sql('SELECT * FROM messages WHERE id = ?').get(messageId) as MessageRow | undefined
    if (message === undefined) return 0
    const rows = this.#ledger
      .sql('SELECT * FROM recipients WHERE message = ? AND state < 4')
      .all(message.key) as RecipientRow[]
    for (const row of rows) this.#ledger.hold(row, message, 'damaged', nowMs)
    return rows.length
  }
}

/** Hold and cancel what waits, release what is held, retry what waits for its time. */
function maySteer(action: Steer, state: RecipientState): boolean {
  switch (action) {
    case 'hold':
      return canMove(state, 'held') && state !== 'leased'
    case 'release':
      return state === 'held'
    case 'cancel':
      return canMove(state, 'cancelled')
    case 'retry':
      return state === 'deferred' || state === 'scheduled'
  }
}
