import type { Selectable } from 'kysely'
import type { Records, RecordsTables } from '#store'
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

/** Events looked through in one step for a recipient. */
const WINDOW = 20_000

/** Reads what happened, oldest first, a page at a time by sequence number. */
export async function listEvents(records: Records, filter: EventFilter, limit: number): Promise<readonly EventRow[]> {
  const rows =
    filter.recipient === undefined || filter.messageId !== undefined
      ? await page(records, filter, Number.MAX_SAFE_INTEGER, limit)
      : await pageInWindows(records, filter, limit)
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

/** No index knows recipients: they are looked for in steps, so that no other look-up waits for the whole log. */
async function pageInWindows(records: Records, filter: EventFilter, limit: number): Promise<Stored[]> {
  const { query } = records
  const ends = await records.readOne(
    query.selectFrom('events').select(({ fn }) => [fn.min('seq').as('first'), fn.max('seq').as('last')]),
  )
  const rows: Stored[] = []
  let after = Math.max(filter.after ?? 0, Number(ends?.first ?? 1) - 1)
  for (; after < Number(ends?.last ?? 0) && rows.length < limit; after += WINDOW)
    rows.push(...(await page(records, { ...filter, after }, after + WINDOW, limit - rows.length)))
  return rows
}

type Stored = Selectable<RecordsTables['events']>

function page(records: Records, filter: EventFilter, upTo: number, limit: number): Promise<Stored[]> {
  let query = records.query.selectFrom('events').selectAll().orderBy('seq').limit(limit)
  if (filter.after !== undefined) query = query.where('seq', '>', filter.after).where('seq', '<=', upTo)
  if (filter.type !== undefined) query = query.where('type', '=', filter.type)
  if (filter.messageId !== undefined) query = query.where('message_id', '=', filter.messageId)
  if (filter.recipient !== undefined) query = query.where('recipient', '=', filter.recipient)
  return records.read(query)
}
