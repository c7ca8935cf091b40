import type Sqlite from 'better-sqlite3'
import { isoTime, newId } from '#base'
import type { Keeping, KeepingTools } from '#store'
import { STATES, stateNumber, stateOf } from '../states.ts'
import { isSound, isSoundMessage, type MessageRow, type RecipientRow, recipientChecksum } from './rows.ts'
import { segmentName } from './segments.ts'

const HELD = stateNumber('held')
const PAGE = 1000

/** The queue's part of a backup, of its restore, and of taking a damaged store as it is. */
export const queueKeeping: Keeping = {
  files(db) {
    const rows = db.prepare('SELECT id, bytes FROM segments WHERE live_count > 0 ORDER BY id').all() as {
      id: number
      bytes: number
    }[]
    return rows.map(({ id, bytes }) => ({ name: segmentName(id), bytes }))
  },

  counts(db) {
    const count = (sql: string): number => (db.prepare(sql).get() as { n: number }).n
    return {
      messages: count('SELECT count(*) AS n FROM messages'),
      unsettled_recipients: count(`SELECT count(*) AS n FROM recipients WHERE state <= ${HELD}`),
    }
  },

  /** Whatever had not ended may have ended after the backup was made: all of it waits for a person. */
  restored(tools) {
    const reason = `restored ${isoTime(tools.nowMs)}`
    for (const row of unsettled(tools)) {
      const before = stateOf(row.state)
      setAside(tools, row, before === 'held' ? `${reason}, held before: ${row.reason}` : reason)
    }
    recount(tools)
    // The daemon of the backup never closed its last file: what follows goes into a new one.
    tools.db.exec('UPDATE segments SET closed = 1 WHERE closed = 0')
    tools.db.exec('DELETE FROM segments WHERE live_count = 0')
  },

  mend(tools) {
    const said: string[] = []
    let damaged = 0
    for (const row of unsettled(tools)) {
      const message = tools.db.prepare('SELECT * FROM messages WHERE key = ?').get(row.message) as
        | MessageRow
        | undefined
      if (message !== undefined && isSound(row) && isSoundMessage(message)) continue
      damaged += 1
      setAside(tools, row, 'damaged')
    }
    if (damaged > 0) said.push(`${damaged} recipients whose rows were altered are held: damaged`)
    // A row whose state was altered beyond those that wait: it does not match its checksum either.
    const settled = tools.db.prepare('SELECT * FROM recipients WHERE state > ? AND key > ? ORDER BY key LIMIT ?')
    let revived = 0
    for (const row of pages(settled, [HELD])) {
      if (isSound(row)) continue
      revived += 1
      setAside(tools, row, 'damaged')
    }
    if (revived > 0) said.push(`${revived} settled recipients whose rows were altered are held: damaged`)
    if (recount(tools)) said.push('the counts of recipients were made anew')
    tools.db.exec(
      `UPDATE messages SET open_recipients = (SELECT count(*) FROM recipients r WHERE r.message = messages.key AND r.state <= ${HELD})
       WHERE settled_ms IS NULL OR key IN (SELECT message FROM recipients WHERE state = ${HELD})`,
    )
    tools.db.exec('UPDATE messages SET settled_ms = NULL WHERE open_recipients > 0 AND settled_ms IS NOT NULL')
    return said
  },
}

function unsettled({ db }: KeepingTools): Iterable<RecipientRow> {
  return pages(db.prepare('SELECT * FROM recipients WHERE state <= ? AND key > ? ORDER BY key LIMIT ?'), [HELD])
}

/** In pages, because what is gone through is changed meanwhile. */
function* pages(select: Sqlite.Statement, values: readonly number[]): Iterable<RecipientRow> {
  for (let after = 0; ; ) {
    const rows = select.all(...values, after, PAGE) as RecipientRow[]
    yield* rows
    if (rows.length < PAGE) return
    after = rows.at(-1)!.key
  }
}

/** Held; mail that was scheduled keeps its time. A row that does not match its checksum does not come to match it. */
function setAside({ db, nowMs, insertEvents }: KeepingTools, row: RecipientRow, reason: string): void {
  const keepsTime = stateOf(row.state) === 'scheduled' || stateOf(row.state) === 'held'
  const next = { ...row, state: HELD, due_ms: keepsTime ? row.due_ms : null, maybe_duplicate: 1, checksum_form: 1 }
  const sound = isSound(row)
  db.prepare(
    `UPDATE recipients SET state = ?, reason = ?, due_ms = ?, maybe_duplicate = 1, fence = fence + 1, lease_owner = NULL,
       lease_until_ms = NULL, crashes = 0, lone_crashes = 0, settled_ms = NULL, row_checksum = ?, checksum_form = ? WHERE key = ?`,
  ).run(
    HELD,
    reason,
    next.due_ms,
    sound ? recipientChecksum(next) : row.row_checksum,
    sound ? 1 : row.checksum_form,
    row.key,
  )
  const { id } = (db.prepare('SELECT id FROM messages WHERE key = ?').get(row.message) as
    | { id: string }
    | undefined) ?? {
    id: null,
  }
  insertEvents([
    {
      id: newId(nowMs),
      atMs: nowMs,
      type: 'held',
      messageId: id,
      recipientKey: row.key,
      recipient: row.address,
      provider: null,
      class: null,
      status: null,
      detail: { reason },
    },
  ])
}

/** True when a count was wrong. */
function recount({ db }: KeepingTools): boolean {
  const read = db.prepare('SELECT state, n FROM queue_counts ORDER BY state')
  const before = JSON.stringify(read.all())
  const write = db.prepare(
    'INSERT OR REPLACE INTO queue_counts VALUES (?, (SELECT count(*) FROM recipients WHERE state = ?))',
  )
  for (let state = 0; state < STATES.length; state++) write.run(state, state)
  return JSON.stringify(read.all()) !== before
}
