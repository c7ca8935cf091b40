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
/** Where a backup is made ready; its files move into place at the end. */
export const RESTORING = 'restoring'

const MAGIC = 'SQLite format 3\0'
/** Up to this size the whole file is checked at start; above, `relevo db check` does it. */
const CHECK_UP_TO_BYTES = 33_554_432

export type OpenFile = {
  readonly db: Sqlite.Database
  readonly counter: CommitCounter
  readonly lock: Sqlite.Database
  readonly commits: number
  /** What the counter said before; null when it said nothing that can be believed. */
  readonly counted: number | null
}

/**
 * Opens the file for the one writer, or says why it must not be opened. Nothing is ever started empty over something
 * that is damaged, missing in part, or in use.
 * @param acceptLoss takes the database as it stands when the counter is gone, damaged or ahead of it
 */
export function openFile(
  directory: string,
  modules: readonly { readonly name: string; readonly migrations: Migrations }[],
  acceptLoss: boolean,
): OpenFile {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const lock = takeLock(directory)
  let db: Sqlite.Database | undefined
  try {
    const fresh = isFresh(directory, acceptLoss)
    if (fresh) begin(directory)
    db = new Sqlite(join(directory, DATABASE))
    if (fresh) db.exec('PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL')
    // Checkpoints are the writer's: SQLite's own would run before the answers, and keep silent when they fail.
    db.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 20971520',
    )
    check(directory, db)
    db.exec('CREATE TABLE IF NOT EXISTS store_state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID')
    db.exec("INSERT OR IGNORE INTO store_state VALUES ('commits', 0)")
    if (fresh) syncDirectory(directory)
    const matched = matchCounter(directory, db, acceptLoss)
    migrate(db, modules)
    return { db, lock, ...matched }
  } catch (error) {
    db?.close()
    lock.close()
    throw asFault(directory, error)
  }
}

/** An exclusive lock of the operating system, so that it is gone with the process however that ends. */
export function takeLock(directory: string): Sqlite.Database {
  const path = join(directory, LOCK)
  let lock: Sqlite.Database | undefined
  try {
    lock = new Sqlite(path, { timeout: 0 })
    lock.exec('BEGIN EXCLUSIVE')
    writeFileSync(join(directory, PID), `${ownPid}\n`)
    return lock
  } catch (error) {
    lock?.close()
    const { code = '' } = error as { code?: string }
    if (code === 'SQLITE_NOTADB')
      throw new Fault(`${path} is not a lock file`, {
        code: 'damaged-store',
        field: 'data_dir',
        remedy: 'Nothing is kept in it: remove this one file and start again.',
        exitCode: EX.DATAERR,
      })
    if (!code.startsWith('SQLITE_BUSY')) throw asFault(directory, error)
    const pid = existsSync(join(directory, PID)) ? readFileSync(join(directory, PID), 'utf8').trim() : 'unknown'
    throw new Fault(`another Relevo (process ${pid}) uses ${directory}`, {
      code: 'second-instance',
      field: 'data_dir',
      remedy: 'Stop it, or give this one a data_dir of its own.',
      exitCode: EX.TEMPFAIL,
    })
  }
}

/** The counter first: a database without one is never taken for new, a counter at 0 alone is. */
function begin(directory: string): void {
  if (!existsSync(join(directory, COUNTER))) CommitCounter.create(join(directory, COUNTER), 0)
  // SQLite would let others read it; its other files take over the mode of this one.
  closeSync(openSync(join(directory, DATABASE), 'a', 0o600))
}

function isFresh(directory: string, acceptLoss: boolean): boolean {
  const path = join(directory, DATABASE)
  const counterPath = join(directory, COUNTER)
  const bytes = existsSync(path) ? statSync(path).size : -1
  if (bytes <= 0) {
    if (existsSync(join(directory, RESTORING)))
      throw new Fault(`a restore into ${directory} was broken off`, {
        code: 'damaged-store',
        field: 'data_dir',
        remedy: 'Run relevo db restore again; what it left is replaced.',
        exitCode: EX.DATAERR,
      })
    const answered = existsSync(counterPath) && CommitCounter.read(counterPath) !== 0
    const segments = join(directory, SEGMENTS)
    const bodiesThere = existsSync(segments) && readdirSync(segments).length > 0
    if (!answered && !bodiesThere) return true
    throw damaged(
      `${path} is ${bytes < 0 ? 'missing' : 'empty'}, but ${answered ? COUNTER : SEGMENTS} shows that mail was kept here`,
    )
  }
  const head = Buffer.alloc(MAGIC.length)
  const fd = openSync(path, 'r')
  readSync(fd, head, 0, head.length, 0)
  closeSync(fd)
  if (head.toString('latin1') !== MAGIC) throw damaged(`${path} is not a Relevo database`)
  if (!existsSync(counterPath) && !acceptLoss)
    throw damaged(`${counterPath} is missing, so lost commits could not be noticed`)
  return false
}

function check(directory: string, db: Sqlite.Database): void {
  if (statSync(join(directory, DATABASE)).size > CHECK_UP_TO_BYTES) return
  const [first] = db.pragma('quick_check(1)') as { quick_check: string }[]
  if (first?.quick_check !== 'ok')
    throw damaged(`${join(directory, DATABASE)}: ${first?.quick_check ?? 'it cannot be checked'}`)
}

/** Leaves the counter at the number of the database, or refuses. */
function matchCounter(
  directory: string,
  db: Sqlite.Database,
  acceptLoss: boolean,
): Pick<OpenFile, 'counter' | 'commits' | 'counted'> {
  const path = join(directory, COUNTER)
  const { value: commits } = db.prepare("SELECT value FROM store_state WHERE name = 'commits'").get() as {
    value: number
  }
  const counted = existsSync(path) ? CommitCounter.read(path) : null
  if (counted === null && !acceptLoss) throw damaged(`${path} is damaged, so lost commits could not be noticed`)
  if (counted !== null && commits < counted && !acceptLoss)
    throw new Fault(
      `${join(directory, DATABASE)} lacks ${counted - commits} commits that were answered (it has ${commits}, ${COUNTER} says ${counted})`,
      {
        code: 'store-lags',
        field: 'data_dir',
        remedy:
          'Mail that was answered 250 is missing here. Restore relevo.db and relevo.commits together from a backup; relevo db check tells more.',
        exitCode: EX.DATAERR,
      },
    )
  if (commits !== counted) {
    // A commit that a kill left unanswered may stand in the log without having been synced; it is, before it counts.
    db.pragma('wal_checkpoint(PASSIVE)')
    CommitCounter.create(path, commits)
  }
  return { counter: CommitCounter.open(path), commits, counted }
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
  const found = modules.map((module) => ({
    ...module,
    version: (read.get(module.name) as { version: number } | undefined)?.version ?? 0,
  }))
  // All are looked at before one is changed: a refusal leaves the store as the newer Relevo wrote it.
  for (const { name, migrations, version } of found)
    if (version > migrations.length)
      throw new Fault(`the ${name} tables are of version ${version}, this Relevo knows ${migrations.length}`, {
        code: 'newer-schema',
        field: 'data_dir',
        remedy: 'Start the newer Relevo that wrote them, or restore the backup made before the upgrade.',
        exitCode: EX.CONFIG,
      })
  for (const { name, migrations, version } of found)
    for (let next = version; next < migrations.length; next++)
      db.transaction(() => {
        db.exec(migrations[next]!)
        write.run(name, next + 1)
      }).immediate()
}

/** The disk, or this user's share of it, has no room. What could not be written may be tried again later. */
export function isFull(error: unknown): boolean {
  const { code } = error as { code?: string }
  return code === 'SQLITE_FULL' || code === 'ENOSPC' || code === 'EDQUOT'
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

/** What an error of opening means to a person, where that is known. */
export function asFault(directory: string, error: unknown): unknown {
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
  if (isFull(error))
    return new Fault(`${directory} cannot be opened: the disk is full`, {
      code: 'disk-full',
      field: 'data_dir',
      remedy: 'Make room on its file system, then start again.',
      exitCode: EX.TEMPFAIL,
    })
  if (code === 'EIO' || code.startsWith('SQLITE_IOERR'))
    return new Fault(`${directory} cannot be read or written: ${message} (${code})`, {
      code: 'disk-error',
      field: 'data_dir',
      remedy: 'Check the disk and the system log, then start again.',
      exitCode: EX.IOERR,
    })
  return error
}
