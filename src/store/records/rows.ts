import type { WorkerContext } from '../sqlite/module.ts'

type Statements = Pick<WorkerContext, 'statement'>

// What other rooms' operations write into Records within their own transaction, in the writer thread. The shapes are
// those of the queue's contract, said again because the shelf imports no stage.

export type EventRow = {
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

export type SuppressionRow = {
  readonly address: string
  readonly scope: string
  readonly reason: string
  readonly class: string
  readonly smtpCode: string
  readonly detail: string
  readonly atMs: number
  readonly untilMs: number | null
}

export type CounterRow = { readonly name: string; readonly period: string; readonly delta: number }

/** An event with an id that is there already is passed over: noting twice is noting once. */
export function insertEvents({ statement }: Statements, events: readonly EventRow[]): void {
  if (events.length === 0) return
  const insert = statement(
    'INSERT OR IGNORE INTO events (id, at_ms, type, message_id, recipient_key, recipient, provider, class, status, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  )
  for (const event of events)
    insert.run(
      event.id,
      event.atMs,
      event.type,
      event.messageId,
      event.recipientKey,
      event.recipient,
      event.provider,
      event.class,
      event.status,
      JSON.stringify(event.detail),
    )
}

/** How strong a reason is; the stronger one stands. */
const STRENGTH = `CASE %s WHEN 'complaint' THEN 4 WHEN 'unsubscribe' THEN 3 WHEN 'manual' THEN 3 WHEN 'hard-bounce' THEN 2 ELSE 1 END`
const STRONGER = `${STRENGTH.replace('%s', 'excluded.reason')} >= ${STRENGTH.replace('%s', 'suppressions.reason')}`

/** One more of the same address and scope counts up, takes the stronger reason and the later end (none is the latest). */
export function upsertSuppressions({ statement }: Statements, rows: readonly SuppressionRow[]): void {
  if (rows.length === 0) return
  const upsert = statement(
    `INSERT INTO suppressions (address, scope, reason, class, smtp_code, detail, count, first_ms, last_ms, until_ms)
     VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?)
     ON CONFLICT (address, scope) DO UPDATE SET
       count = count + 1,
       last_ms = excluded.last_ms,
       class = CASE WHEN ${STRONGER} THEN excluded.class ELSE class END,
       smtp_code = CASE WHEN ${STRONGER} THEN excluded.smtp_code ELSE smtp_code END,
       detail = CASE WHEN ${STRONGER} THEN excluded.detail ELSE detail END,
       until_ms = CASE WHEN until_ms IS NULL OR excluded.until_ms IS NULL THEN NULL ELSE max(until_ms, excluded.until_ms) END,
       reason = CASE WHEN ${STRONGER} THEN excluded.reason ELSE reason END`,
  )
  for (const row of rows)
    upsert.run(row.address, row.scope, row.reason, row.class, row.smtpCode, row.detail, row.atMs, row.atMs, row.untilMs)
}

export function moveCounters({ statement }: Statements, moves: readonly CounterRow[]): void {
  if (moves.length === 0) return
  const move = statement(
    'INSERT INTO counters (name, period, value) VALUES (?, ?, ?) ON CONFLICT (name, period) DO UPDATE SET value = value + excluded.value',
  )
  for (const { name, period, delta } of moves) move.run(name, period, delta)
}
