import { newId } from '#base'
import type { WorkerContext } from '#store'
import type { RecipientState } from '../contract.ts'
import { move, STATES, stateNumber, stateOf } from '../states.ts'
import { disagrees } from './disagrees.ts'
import { isSound, type MessageRow, type RecipientRow, recipientChecksum } from './rows.ts'
import { SegmentWriter } from './segments.ts'

export type QueueSettings = {
  readonly inlineMaxBytes: number
  readonly segmentBytes: number
  readonly keepBodies: boolean
}

/** What a move may change of a recipient beside its state. */
export type Change = Partial<
  Pick<
    RecipientRow,
    | 'reason'
    | 'due_ms'
    | 'attempts'
    | 'uncertain'
    | 'crashes'
    | 'lone_crashes'
    | 'maybe_duplicate'
    | 'fence'
    | 'lease_owner'
    | 'lease_until_ms'
    | 'settled_ms'
  >
>

/** What everything that changes the queue shares, in the writer thread: rows, the one way from state to state, counts, contents. */
export class Ledger {
  readonly context: WorkerContext
  readonly settings: QueueSettings
  readonly segments: SegmentWriter
  /** Moves between states of this batch, added to the counts once. */
  readonly #deltas = STATES.map(() => 0)

  constructor(context: WorkerContext) {
    this.context = context
    this.settings = context.settings as unknown as QueueSettings
    this.segments = new SegmentWriter(context, this.settings.segmentBytes)
  }

  sql(text: string) {
    return this.context.statement(text)
  }

  /** @throws Fault damaged-store when there is none though a recipient names it */
  message(key: number): MessageRow {
    const row = this.sql('SELECT * FROM messages WHERE key = ?').get(key) as MessageRow | undefined
    if (row === undefined) throw disagrees(`message ${key} is gone, and recipients of it are there`)
    return row
  }

  recipient(key: number): RecipientRow | undefined {
    return this.sql('SELECT * FROM recipients WHERE key = ?').get(key) as RecipientRow | undefined
  }

  /** A recipient that begins, or (-1) is removed. */
  count(state: number, n = 1): void {
    this.#deltas[state]! += n
  }

  /**
   * The one way from state to state. A row that does not match its checksum never comes to match it by being moved.
   * @param sound whether it does, where that was looked at just before
   */
  move(row: RecipientRow, to: RecipientState, change: Change, sound = isSound(row)): void {
    move(stateOf(row.state), to)
    this.count(row.state, -1)
    const next: RecipientRow = { ...row, ...change, state: stateNumber(to), checksum_form: 1 }
    this.count(next.state)
    this.sql(
      `UPDATE recipients SET state = ?, reason = ?, due_ms = ?, attempts = ?, uncertain = ?, crashes = ?, lone_crashes = ?,
         maybe_duplicate = ?, fence = ?, lease_owner = ?, lease_until_ms = ?, settled_ms = ?, row_checksum = ?, checksum_form = ?
       WHERE key = ?`,
    ).run(
      next.state,
      next.reason,
      next.due_ms,
      next.attempts,
      next.uncertain,
      next.crashes,
      next.lone_crashes,
      next.maybe_duplicate,
      next.fence,
      next.lease_owner,
      next.lease_until_ms,
      next.settled_ms,
      sound ? recipientChecksum(next) : row.row_checksum,
      sound ? 1 : row.checksum_form,
      row.key,
    )
  }

  /** Nothing of it is sent before a person, or the remedy of the reason, lets it go on. */
  hold(row: RecipientRow, message: MessageRow, reason: string, nowMs: number, change: Change = {}): void {
    this.move(row, 'held', {
      ...change,
      reason,
      due_ms: null,
      fence: row.fence + 1,
      lease_owner: null,
      lease_until_ms: null,
      crashes: 0,
      lone_crashes: 0,
    })
    this.event('held', row, message, nowMs, { reason })
  }

  event(type: string, row: RecipientRow, message: MessageRow, atMs: number, detail: Record<string, unknown>): void {
    this.context.insertEvents([
      {
        id: newId(atMs),
        atMs,
        type,
        messageId: message.id,
        recipientKey: row.key,
        recipient: row.address,
        provider: null,
        class: null,
        status: null,
        detail,
      },
    ])
  }

  /** With the last recipient settled the content is needed no more, unless contents are kept. */
  oneLessOpen(message: MessageRow, nowMs: number, done: string[]): void {
    this.sql('UPDATE messages SET open_recipients = open_recipients - 1 WHERE key = ?').run(message.key)
    const { open } = this.sql('SELECT open_recipients AS open FROM messages WHERE key = ?').get(message.key) as {
      open: number
    }
    if (open > 0) return
    this.sql('UPDATE messages SET settled_ms = ? WHERE key = ?').run(nowMs, message.key)
    done.push(message.id)
    if (!this.settings.keepBodies) this.dropContent(message)
  }

  dropContent(message: MessageRow): void {
    if (message.has_content === 0) return
    this.sql('UPDATE messages SET has_content = 0 WHERE key = ?').run(message.key)
    if (message.segment === null) this.sql('DELETE FROM bodies WHERE message = ?').run(message.key)
    else this.segments.drop({ segment: message.segment, offset: message.segment_offset! }, message.size)
  }

  beforeCommit(): void {
    for (const [state, delta] of this.#deltas.entries())
      if (delta !== 0) this.sql('UPDATE queue_counts SET n = n + ? WHERE state = ?').run(delta, state)
    this.#deltas.fill(0)
    this.segments.beforeCommit()
  }

  afterCommit(): void {
    this.segments.afterCommit()
  }

  afterRollback(): void {
    this.#deltas.fill(0)
    this.segments.afterRollback()
  }

  close(): void {
    this.segments.close()
  }
}
