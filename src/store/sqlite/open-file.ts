import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pid as ownPid } from 'node:process'
import Sqlite from 'better-sqlite3'
import { EX, Fault } from '#base'
import { CommitCounter, syncDirectory } from './commit-counter.ts'
import type { Migrations } from './module.ts'

export const DATABASE = 'relevo.db'
export const COUNTER = 'relevo.commits'
export const LOCK = 'relevo.lock'
export const PID = 'relevo.pid'
export const SEGMENTS = 'segments'

const MAGIC = 'SQLite format 3\0'
/** Up to this size the whole file is checked at start; above, `relevo db check` does it. */
const CHECK_UP_TO_BYTES = 33_554_432

export type OpenFile = {
  readonly db: Sqlite.Database
  readonly counter: CommitCounter
  readonly lock: Sqlite.Database
  readonly commits: number
}

/**
 * Opens the file for the one writer, or says why it must not be opened. Nothing is ever started empty over something
 * that is damaged, missing in part, or in use.
 */
export function openFile(
  directory: string,
  modules: readonly { readonly name: string; readonly migrations: Migrations }[],
): OpenFile {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const lock = takeLock(directory)
  try {
    const fresh = isFresh(directory)
    const db = new Sqlite(join(directory, DATABASE))
    try {
      if (fresh) db.exec('PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL')
      db.exec(
        'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 67108864',
      )
      check(directory, db)
      db.exec('CREATE TABLE IF NOT EXISTS store_state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID')
      db.exec("INSERT OR IGNORE INTO store_state VALUES ('commits', 0)")
      if (fresh) syncDirectory(directory)
      const { counter, commits } = matchCounter(directory, db, fresh)
      migrate(db, modules)
      return { db, counter, lock, commits }
    } catch (error) {
      db.close()
      throw error
    }
  } catch (error) {
    lock.close()
    throw asFault(directory, error)
  }
}

/** An exclusive lock of the operating system, so that it is gone with the process however that ends. */
function takeLock(directory: string): Sqlite.Database {
  let lock: Sqlite.Database
  try {
    lock = new Sqlite(join(directory, LOCK), { timeout: 0 })
  } catch (error) {
    throw asFault(directory, error)
  }
  try {
    lock.exec('BEGIN EXCLUSIVE')
  } catch {
    lock.close()
    const pid = existsSync(join(directory, PID)) ? readFileSync(join(directory, PID), 'utf8').trim() : 'unknown'
    throw new Fault(`another Relevo (process ${pid}) uses ${directory}`, {
      code: 'second-instance',
      field: 'data_dir',
      remedy: 'Stop it, or give this one a data_dir of its own.',
      exitCode: EX.TEMPFAIL,
    })
  }
  writeFileSync(join(directory, PID), `${ownPid}\n`)
  return lock
}

function isFresh(directory: string): boolean {
  const path = join(directory, DATABASE)
  const bytes = existsSync(path) ? statSync(path).size : -1
  const counterThere = existsSync(join(directory, COUNTER))
  const segments = join(directory, SEGMENTS)
  const bodiesThere = existsSync(segments) && readdirSync(segments).length > 0
  if (bytes <= 0) {
    if (!counterThere && !bodiesThere) return true
    throw damaged(
      `${path} is ${bytes < 0 ? 'missing' : 'empty'}, but ${counterThere ? COUNTER : SEGMENTS} shows that mail was kept here`,
    )
  }
  const head = Buffer.alloc(MAGIC.length)
  const fd = openSync(path, 'r')
  readSync(fd, head, 0, head.length, 0)
  closeSync(fd)
  if (head.toString('latin1') !== MAGIC) throw damaged(`${path} is not a Relevo database`)
  if (!counterThere) throw damaged(`${join(directory, COUNTER)} is missing, so lost commits could not be noticed`)
  return false
}

function check(directory: string, db: Sqlite.Database): void {
  if (statSync(join(directory, DATABASE)).size > CHECK_UP_TO_BYTES) return
  const [first] = db.pragma('quick_check(1)') as { quick_check: string }[]
  if (first?.quick_check !== 'ok')
    throw damaged(`${join(directory, DATABASE)}: ${first?.quick_check ?? 'it cannot be checked'}`)
}

function matchCounter(
  directory: string,
  db: Sqlite.Database,
  fresh: boolean,
): { counter: CommitCounter; commits: number } {
  const path = join(directory, COUNTER)
  const { value: commits } = db.prepare("SELECT value FROM store_state WHERE name = 'commits'").get() as {
    value: number
  }
  if (fresh) return { counter: CommitCounter.create(path, commits), commits }
  const opened = CommitCounter.open(path)
  if (opened === null) throw damaged(`${path} is damaged, so lost commits could not be noticed`)
  if (commits < opened.value) {
    opened.counter.close()
    throw new Fault(
      `${join(directory, DATABASE)} lacks ${opened.value - commits} commits that were answered (it has ${commits}, ${COUNTER} says ${opened.value})`,
      {
        code: 'store-lags',
        field: 'data_dir',
        remedy:
          'Mail that was answered 250 is missing here. Restore relevo.db and relevo.commits together from a backup; relevo db check tells more.',
        exitCode: EX.DATAERR,
      },
    )
  }
  return { counter: opened.counter, commits }
}

function migrate(
  db: Sqlite.Database,
  modules: readonly { readonly name: string; readonly migrations: Migrations }[],
): void {
  db.exec(
    'CREATE TABLE IF NOT EXISTS schema_versions (module TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID',
  )
  const read = db.prepare('SELECT version FROM schema_versions WHERE module = ?')
  const write = db.prepare('INSERT OR REPLACE INTO schema_versions VALUES (?, ?)')
  for (const { name, migrations } of modules) {
    const version = (read.get(name) as { version: number } | undefined)?.version ?? 0
    if (version > migrations.length)
      throw new Fault(`the ${name} tables are of version ${version}, this Relevo knows ${migrations.length}`, {
        code: 'newer-schema',
        field: 'data_dir',
        remedy: 'Start the newer Relevo that wrote them, or restore the backup made before the upgrade.',
        exitCode: EX.CONFIG,
      })
    for (let next = version; next < migrations.length; next++)
      db.transaction(() => {
        db.exec(migrations[next]!)
        write.run(name, next + 1)
      }).immediate()
  }
}

function damaged(what: string): Fault {
  return new Fault(what, {
    code: 'damaged-store',
    field: 'data_dir',
    remedy:
      'Restore the whole data_dir from a backup, or set the damaged one aside and start with an empty data_dir; relevo db check tells more.',
    exitCode: EX.DATAERR,
  })
}

function asFault(directory: string, error: unknown): unknown {
  if (error instanceof Fault) return error
  const { code = '', message } = error as { code?: string; message: string }
  if (code === 'SQLITE_NOTADB' || code.startsWith('SQLITE_CORRUPT'))
    return damaged(`${join(directory, DATABASE)} is damaged: ${message}`)
  if (code === 'SQLITE_CANTOPEN' || code === 'EACCES' || code === 'EPERM' || code.startsWith('SQLITE_READONLY'))
    return new Fault(`${directory} cannot be written: ${message}`, {
      code: 'data-dir-not-writable',
      field: 'data_dir',
      remedy: 'It must exist or be creatable, and belong to the user that Relevo runs as.',
      exitCode: EX.NOPERM,
    })
  return error
}
