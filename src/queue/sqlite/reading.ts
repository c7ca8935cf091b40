import { crc32 } from 'node:zlib'
import type { WorkerContext } from '#store'
import type { MessageView, QueueCounts, QueueFilter, QueueRow, ScheduleRow } from '../contract.ts'
import { STATES, stateNumber } from '../states.ts'
import { disagrees } from './disagrees.ts'
import { Looking } from './looking.ts'
import {
  type AttemptRow,
  attemptOf,
  headOf,
  isSound,
  type MessageRow,
  parsed,
  type RecipientRow,
  scheduleRowOf,
  viewOf,
} from './rows.ts'
import { readRecord } from './segments.ts'

/** States that the schedule is rebuilt from. */
const WAITING = ['scheduled', 'ready', 'deferred'] as const

/** What looks into the queue, in the reader thread. */
export class QueueReading {
  readonly #context: WorkerContext
  readonly #looking: Looking

  constructor(context: WorkerContext) {
    this.#context = context
    this.#looking = new Looking(context)
  }

  /** The content, or why there is none. */
  content({ messageId }: { messageId: string }): { content: Buffer } | { missing: 'unknown' | 'damaged' } {
    let row = this.#messageOf(messageId)
    while (row !== undefined && row.has_content === 1) {
      const content = this.#contentOf(row)
      if (content !== null) return { content }
      // The writer may have moved it and removed the file since the row was read.
      const again = this.#messageOf(messageId)
      if (again?.segment === row.segment && again.segment_offset === row.segment_offset) return { missing: 'damaged' }
      row = again
    }
    return { missing: 'unknown' }
  }

  /**
   * What waits, as the index of states has it, each row looked up and believed only when it says the same.
   * @throws Fault damaged-store when the index and the rows do not agree: mail could be lost without a word
   */
  schedule({ afterKey, limit }: { afterKey: number; limit: number }): ScheduleRow[] {
    const rows = this.#sql(
      `SELECT i.key AS index_key, i.state AS index_state, r.*, m.priority AS priority, m.expires_ms AS expires_ms
       FROM (${WAITING.map(
         (state) =>
           `SELECT key, ${stateNumber(state)} AS state FROM recipients WHERE state = ${stateNumber(state)} AND key > @afterKey`,
       ).join(' UNION ALL ')} ORDER BY key LIMIT @limit) i
       LEFT JOIN recipients r ON r.key = i.key LEFT JOIN messages m ON m.key = r.message`,
    ).all({ afterKey, limit }) as (RecipientRow & {
      index_key: number
      index_state: number
      priority: number | null
      expires_ms: number
    })[]
    return rows.map((row) => {
      if (row.state !== row.index_state || row.priority === null)
        throw disagrees(`recipient ${row.index_key} is not what the index of states says`)
      // What was altered is offered at once: the lease finds it and holds it.
      return scheduleRowOf(
        row,
        { priority: row.priority, expires_ms: row.expires_ms },
        isSound(row) ? (row.due_ms ?? 0) : 0,
      )
    })
  }

  /** @throws Fault damaged-store when the index of states has another number of recipients in a state than was counted */
  verify(): void {
    const counted = this.counts()
    const indexed = this.#sql('SELECT state, count(*) AS n FROM recipients GROUP BY state').all() as {
      state: number
      n: number
    }[]
    const found = new Map(indexed.map(({ state, n }) => [STATES[state], n]))
    for (const state of STATES) {
      const n = found.get(state) ?? 0
      if (n !== counted[state]) throw disagrees(`${n} recipients are ${state}, and ${counted[state]} were counted`)
    }
    const orphans = this.#sql(
      `SELECT count(*) AS n FROM recipients r WHERE r.state = ${stateNumber('held')} AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.key = r.message)`,
    ).get() as { n: number }
    if (orphans.n > 0) throw disagrees(`the messages of ${orphans.n} recipients that are held are gone`)
    if (found.has(undefined)) throw disagrees('recipients are in a state that there is not')
  }

  /** The keys that a filter means, oldest first. */
  keys(args: { filter: QueueFilter; limit: number; states: readonly number[]; afterKey: number }): {
    keys: number[]
    next: number | null
  } {
    return this.#looking.after(args.filter, args.states, args.afterKey, args.limit)
  }

  message({ messageId }: { messageId: string }): MessageView | null {
    const row = this.#messageOf(messageId)
    if (row === undefined) return null
    const recipients = this.#sql('SELECT * FROM recipients WHERE message = ? ORDER BY key').all(
      row.key,
    ) as RecipientRow[]
    return {
      ...headOf(row),
      metadata: parsed<Record<string, string>>(row.metadata, {}),
      contentKept: row.has_content === 1,
      recipients: recipients.map((recipient) => ({
        ...viewOf(recipient),
        tries: (
          this.#sql('SELECT * FROM attempts WHERE recipient = ? ORDER BY n').all(recipient.key) as AttemptRow[]
        ).map(attemptOf),
      })),
    }
  }

  deferralsBy({ key, provider }: { key: number; provider: string }): number {
    const row = this.#sql(
      'SELECT count(*) AS n FROM attempts WHERE recipient = ? AND provider = ? AND reply_code BETWEEN 400 AND 499',
    ).get(key, provider) as { n: number }
    return row.n
  }

  recipient({ key }: { key: number }): QueueRow | null {
    const row = this.#sql('SELECT * FROM recipients WHERE key = ?').get(key) as RecipientRow | undefined
    return row === undefined ? null : this.#row(row)
  }

  /** Newest first. The cursor is the key that the page before reached. */
  list({ filter, cursor, limit }: { filter: QueueFilter; cursor: string | null; limit: number }): {
    rows: QueueRow[]
    next: string | null
  } {
    const before = cursor === null ? Number.MAX_SAFE_INTEGER : Number(cursor)
    const { rows, next } = this.#looking.before(filter, before, limit)
    return { rows: rows.flatMap((row) => this.#row(row) ?? []), next: next === null ? null : String(next) }
  }

  counts(): QueueCounts {
    const rows = this.#sql('SELECT state, n FROM queue_counts').all() as { state: number; n: number }[]
    return Object.fromEntries(rows.map(({ state, n }) => [STATES[state]!, n])) as QueueCounts
  }

  #messageOf(id: string): MessageRow | undefined {
    return this.#sql('SELECT * FROM messages WHERE id = ?').get(id) as MessageRow | undefined
  }

  /** Null: it is not what was accepted. Throws when that cannot be told (no descriptor left, no answer of the disk). */
  #contentOf(row: MessageRow): Buffer | null {
    if (row.segment !== null) {
      const place = { segment: row.segment, offset: row.segment_offset! }
      return readRecord(this.#context.directory, place, row.size, row.checksum)
    }
    const body = this.#sql('SELECT content FROM bodies WHERE message = ?').get(row.key) as
      | { content: Buffer }
      | undefined
    return body?.content.length === row.size && crc32(body.content) === row.checksum ? body.content : null
  }

  /** Null when its message is gone. */
  #row(row: RecipientRow): QueueRow | null {
    const message = this.#sql('SELECT * FROM messages WHERE key = ?').get(row.message) as MessageRow | undefined
    if (message === undefined) return null
    return { ...headOf(message), recipient: viewOf(row) }
  }

  #sql(text: string) {
    return this.#context.statement(text)
  }
}
