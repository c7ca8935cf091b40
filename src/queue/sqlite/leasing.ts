import type { Claim, ScheduleRow } from '../contract.ts'
import { canMove, stateNumber, stateOf } from '../states.ts'
import type { Ledger } from './ledger.ts'
import {
  claimedOf,
  headOf,
  isSound,
  isSoundMessage,
  type MessageRow,
  type RecipientRow,
  SUSPECT_CRASHES,
  scheduleRowOf,
} from './rows.ts'

/** Ends of the process with a recipient leased alone, or as the only suspect, before it is taken for their cause and held. */
const POISON_CRASHES = 2

/** Recipients are lent for an attempt, and taken back when it was cut off. */
export class Leasing {
  readonly #ledger: Ledger

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  lease(args: { keys: readonly number[]; owner: string; nowMs: number; waitedMs: number; untilMs: number }): Claim[] {
    const claims: { message: MessageRow; recipients: Claim['recipients'][number][] }[] = []
    for (const key of args.keys) {
      const row = this.#ledger.recipient(key)
      if (row === undefined || !canMove(stateOf(row.state), 'leased')) continue
      const sound = isSound(row)
      const isOverMs = stateOf(row.state) === 'scheduled' ? args.nowMs : args.waitedMs
      if (sound && (row.due_ms ?? 0) > isOverMs) continue
      let claim = claims.find((one) => one.message.key === row.message)
      const message = claim?.message ?? this.#ledger.message(row.message)
      if (!sound || !isSoundMessage(message)) {
        this.#ledger.hold(row, message, 'damaged', args.nowMs)
        continue
      }
      const fence = row.fence + 1
      this.#ledger.move(row, 'leased', { fence, lease_owner: args.owner, lease_until_ms: args.untilMs }, true)
      if (claim === undefined) {
        claim = { message, recipients: [] }
        claims.push(claim)
      }
      claim.recipients.push(claimedOf(row, fence))
    }
    return claims.map(({ message, recipients }) => ({ message: headOf(message), recipients }))
  }

  /**
   * After a crash each of those leased may be its cause. When one alone was leased, or one alone of those that were leased in
   * two crashes before, it is the likely one, and is held when that happens twice. All others go on.
   */
  reclaim({ owner, nowMs }: { owner: string | null; nowMs: number }): ScheduleRow[] {
    const rows = (
      owner === null
        ? this.#ledger.sql('SELECT * FROM recipients WHERE state = 2 AND lease_until_ms < ?').all(nowMs)
        : this.#ledger.sql('SELECT * FROM recipients WHERE state = 2 AND lease_owner = ?').all(owner)
    ) as RecipientRow[]
    // A lease that ended by time is no crash.
    const crashed = owner !== null
    const suspects = rows.filter((row) => row.crashes >= SUSPECT_CRASHES)
    const lone = rows.length === 1 ? rows[0] : suspects.length === 1 ? suspects[0] : undefined
    const due: ScheduleRow[] = []
    for (const row of rows) {
      const message = this.#ledger.message(row.message)
      const crashes = row.crashes + (crashed ? 1 : 0)
      const loneCrashes = row.lone_crashes + (crashed && row === lone ? 1 : 0)
      if (loneCrashes >= POISON_CRASHES) {
        this.#ledger.hold(row, message, 'poison', nowMs, { maybe_duplicate: 1 })
        continue
      }
      this.#ledger.move(row, 'ready', {
        reason: 'crash-recovery',
        due_ms: nowMs,
        maybe_duplicate: 1,
        crashes,
        lone_crashes: loneCrashes,
        lease_owner: null,
        lease_until_ms: null,
      })
      due.push(scheduleRowOf({ ...row, crashes, state: stateNumber('ready') }, message, nowMs))
    }
    return due
  }
}
