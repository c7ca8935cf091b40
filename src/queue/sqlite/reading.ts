import { crc32 } from 'node:zlib'
import type { WorkerContext } from '#store'
import {
  type MessageView,
  PRIORITIES,
  type QueueCounts,
  type QueueFilter,
  type QueueRow,
  type ScheduleRow,
} from '../contract.ts'
import { STATES, stateNumber } from '../states.ts'
import { type AttemptRow, attemptOf, headOf, type MessageRow, type RecipientRow, viewOf } from './rows.ts'
import { readRecord } from './segments.ts'

type Joined = RecipientRow & { m: string }

/** States that the schedule is rebuilt from. */
const WAITING = ['scheduled', 'ready', 'deferred'] as const

/** What looks into the queue, in the reader thread. */
export class QueueReading {
  readonly #context: WorkerContext

  constructor(context: WorkerContext) {
    this.#context = context
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

  schedule({ afterKey, limit }: { afterKey: number; limit: number }): ScheduleRow[] {
    // Merged by SQLite as the index gives them: nothing is read but what is answered, however much is settled.
    const rows = this.#sql(
      `${WAITING.map(
        (state) =>
          `SELECT r.key AS key, r.message, r.domain, r.due_ms, m.priority, m.expires_ms FROM recipients r JOIN messages m ON m.key = r.message
           WHERE r.state = ${stateNumber(state)} AND r.key > @afterKey`,
      ).join(' UNION ALL ')} ORDER BY key LIMIT @limit`,
    ).all({ afterKey, limit }) as {
      key: number
      message: number
      domain: string
      due_ms: number
      priority: number
      expires_ms: number
    }[]
    return rows.map((row) => ({
      key: row.key,
      messageKey: row.message,
      domain: row.domain,
      priority: PRIORITIES[row.priority]!,
      dueMs: row.due_ms,
      expiresMs: row.expires_ms,
    }))
  }

  /** The keys that a filter means, oldest first. */
  keys({ filter, limit, states }: { filter: QueueFilter; limit: number; states: readonly number[] }): number[] {
    const { where, values, state: column } = conditions(filter)
    const wanted =
      filter.states === undefined ? states : states.filter((state) => filter.states!.includes(STATES[state]!))
    if (wanted.length === 0) return []
    const found = wanted.flatMap((state) =>
      (
        this.#sql(
          `SELECT r.key FROM recipients r JOIN messages m ON m.key = r.message WHERE ${column} = ${state} ${where} ORDER BY r.key LIMIT ?`,
        ).all(...values, limit) as { key: number }[]
      ).map((row) => row.key),
    )
    return found.sort((a, b) => a - b).slice(0, limit)
  }

  message({ messageId }: { messageId: string }): MessageView | null {
    const row = this.#messageOf(messageId)
    if (row === undefined) return null
    const recipients = this.#sql('SELECT * FROM recipients WHERE message = ? ORDER BY key').all(
      row.key,
    ) as RecipientRow[]
    return {
      ...headOf(row),
      metadata: JSON.parse(row.metadata) as Record<string, string>,
      contentKept: row.has_content === 1,
      recipients: recipients.map((recipient) => ({
        ...viewOf(recipient),
        tries: (
          this.#sql('SELECT * FROM attempts WHERE recipient = ? ORDER BY n').all(recipient.key) as AttemptRow[]
        ).map(attemptOf),
      })),
    }
  }

  recipient({ key }: { key: number }): QueueRow | null {
    const row = this.#sql('SELECT * FROM recipients WHERE key = ?').get(key) as RecipientRow | undefined
    return row === undefined ? null : this.#row(row)
  }

  /** Newest first. The cursor is the key of the last row of the page before. */
  list({ filter, cursor, limit }: { filter: QueueFilter; cursor: string | null; limit: number }): {
    rows: QueueRow[]
    next: string | null
  } {
    const { where, values, state: column } = conditions(filter)
    const before = cursor === null ? Number.MAX_SAFE_INTEGER : Number(cursor)
    const states = filter.states?.map(stateNumber)
    // One look-up a state uses the index of that state; merged by key afterwards.
    const selections = states === undefined ? [''] : states.map((state) => `AND ${column} = ${state}`)
    const found = selections
      .flatMap(
        (state) =>
          this.#sql(
            `SELECT r.* FROM recipients r JOIN messages m ON m.key = r.message WHERE r.key < ? ${state} ${where} ORDER BY r.key DESC LIMIT ?`,
          ).all(before, ...values, limit + 1) as Joined[],
      )
      .sort((a, b) => b.key - a.key)
    const rows = found.slice(0, limit)
    return {
      rows: rows.map((row) => this.#row(row)),
      next: found.length > limit ? String(rows.at(-1)!.key) : null,
    }
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

  #row(row: RecipientRow): QueueRow {
    const message = this.#sql('SELECT * FROM messages WHERE key = ?').get(row.message) as MessageRow
    return { ...headOf(message), recipient: viewOf(row) }
  }

  #sql(text: string) {
    return this.#context.statement(text)
  }
}

/** `state`: how to say the state, so that what names fewer recipients is looked up first. */
function conditions(filter: QueueFilter): { where: string; values: (string | number)[]; state: string } {
  const parts: string[] = []
  const values: (string | number)[] = []
  const add = (sql: string, value: string | number | undefined): void => {
    if (value === undefined) return
    parts.push(sql)
    values.push(value)
  }
  add('AND m.id = ?', filter.messageId)
  add('AND r.address = ?', filter.recipient)
  add('AND r.domain = ?', filter.domain)
  add('AND m.sending_domain = ?', filter.sendingDomain)
  add('AND m.priority = ?', filter.priority === undefined ? undefined : PRIORITIES.indexOf(filter.priority))
  add('AND EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?)', filter.tag)
  add('AND m.campaign = ?', filter.campaign)
  add('AND m.accepted_ms < ?', filter.acceptedBeforeMs)
  add('AND m.accepted_ms > ?', filter.acceptedAfterMs)
  const { messageId, recipient, domain } = filter
  const state = (messageId ?? recipient ?? domain) === undefined ? 'r.state' : '+r.state'
  return { where: parts.join(' '), values, state }
}
