import type { Records } from '#store'
import type { EventType } from './event.ts'

export type EventRow = {
  readonly seq: number
  readonly id: string
  readonly atMs: number
  readonly type: string
  readonly messageId: string | null
  readonly recipientKey: number | null
  readonly recipient: string | null
  readonly provider: string | null
  readonly class: string | null
  readonly status: string | null
  readonly detail: Readonly<Record<string, unknown>>
}

export type EventFilter = {
  readonly type?: EventType
  readonly messageId?: string
  readonly recipient?: string
  /** Only events after this sequence number. */
  readonly after?: number
}

/** Reads what happened, oldest first, a page at a time by sequence number. */
export async function listEvents(records: Records, filter: EventFilter, limit: number): Promise<readonly EventRow[]> {
  let query = records.query.selectFrom('events').selectAll().orderBy('seq').limit(limit)
  if (filter.after !== undefined) query = query.where('seq', '>', filter.after)
  if (filter.type !== undefined) query = query.where('type', '=', filter.type)
  if (filter.messageId !== undefined) query = query.where('message_id', '=', filter.messageId)
  if (filter.recipient !== undefined) query = query.where('recipient', '=', filter.recipient)
  const rows = await records.read(query)
  return rows.map((row) => ({
    seq: row.seq,
    id: row.id,
    atMs: row.at_ms,
    type: row.type,
    messageId: row.message_id,
    recipientKey: row.recipient_key,
    recipient: row.recipient,
    provider: row.provider,
    class: row.class,
    status: row.status,
    detail: JSON.parse(row.detail) as Record<string, unknown>,
  }))
}
