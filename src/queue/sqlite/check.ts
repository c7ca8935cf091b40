import { crc32 } from 'node:zlib'
import type Sqlite from 'better-sqlite3'
import { messageOf } from '#base'
import type { Finding, StoreCheck } from '#store'
import { STATES } from '../states.ts'
import { isSound, isSoundMessage, type MessageRow, type RecipientRow } from './rows.ts'
import { readRecord } from './segments.ts'

const PAGE = 500
/** Ids told of what is wrong; the number tells the rest. */
const TOLD = 10

/** The queue's part of `relevo db check`: each row and each content against its checksum, and the counts. */
export const checkQueue: StoreCheck = function* ({ db, directory }): Iterable<Finding> {
  const messages = db.prepare('SELECT * FROM messages WHERE key > ? ORDER BY key LIMIT ?')
  const body = db.prepare('SELECT content FROM bodies WHERE message = ?')
  const again = db.prepare('SELECT * FROM messages WHERE key = ?')
  const altered: string[] = []
  const lost: string[] = []
  let rows = 0
  let contents = 0

  const soundContent = (row: MessageRow): boolean => {
    try {
      const content =
        row.segment === null
          ? (body.get(row.key) as { content: Buffer } | undefined)?.content
          : readRecord(directory, { segment: row.segment, offset: row.segment_offset! }, row.size, row.checksum)
      return content != null && content.length === row.size && crc32(content) === row.checksum
    } catch {
      return false
    }
  }
  /** A daemon beside may have moved it, or have needed it no more, since the row was read. */
  const isLost = (row: MessageRow): boolean => {
    const now = again.get(row.key) as MessageRow | undefined
    if (now === undefined || now.has_content === 0) return false
    return now.segment === row.segment && now.segment_offset === row.segment_offset ? true : !soundContent(now)
  }
  for (const row of pages<MessageRow>(messages)) {
    rows += 1
    if (!isSoundMessage(row)) altered.push(row.id)
    if (row.has_content === 0) continue
    contents += 1
    if (!soundContent(row) && isLost(row)) lost.push(row.id)
  }
  yield finding('messages', `${rows} messages`, altered, 'messages whose rows were altered')
  yield finding('contents', `${contents} contents`, lost, 'messages whose content is missing or damaged')

  const wrong: string[] = []
  let recipients = 0
  for (const row of pages<RecipientRow>(db.prepare('SELECT * FROM recipients WHERE key > ? ORDER BY key LIMIT ?'))) {
    recipients += 1
    if (!isSound(row)) wrong.push(row.address)
  }
  yield finding('recipients', `${recipients} recipients`, wrong, 'recipients whose rows were altered')

  yield counts(db)
}

function finding(check: string, sound: string, wrong: readonly string[], what: string): Finding {
  if (wrong.length === 0) return { check, ok: true, detail: sound }
  const more = wrong.length > TOLD ? ` and ${wrong.length - TOLD} more` : ''
  return {
    check,
    ok: false,
    detail: `${wrong.length} ${what}: ${wrong.slice(0, TOLD).join(', ')}${more}`,
    remedy:
      'They are held and not sent. Send them again from their source, or cancel them (relevo queue cancel ID); or restore a backup.',
  }
}

/** In one look at both, because a daemon beside counts on. */
function counts(db: Sqlite.Database): Finding {
  try {
    const rows = db
      .prepare(
        `SELECT c.state AS state, c.n AS counted, (SELECT count(*) FROM recipients r WHERE r.state = c.state) AS found
         FROM queue_counts c ORDER BY c.state`,
      )
      .all() as { state: number; counted: number; found: number }[]
    const odd = rows.filter(({ counted, found }) => counted !== found)
    if (odd.length === 0) return { check: 'counts', ok: true, detail: 'as counted' }
    return {
      check: 'counts',
      ok: false,
      detail: odd.map(({ state, counted, found }) => `${STATES[state]}: ${found}, counted ${counted}`).join('; '),
      remedy: 'Stop Relevo and run relevo db accept-loss: it counts anew and sets aside what cannot be believed.',
    }
  } catch (error) {
    return { check: 'counts', ok: false, detail: messageOf(error), remedy: 'Restore the whole data_dir from a backup.' }
  }
}

function* pages<Row extends { readonly key: number }>(select: Sqlite.Statement) {
  for (let after = 0; ; ) {
    const rows = select.all(after, PAGE) as Row[]
    yield* rows
    if (rows.length < PAGE) return
    after = rows.at(-1)!.key
  }
}
