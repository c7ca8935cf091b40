import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import Sqlite from 'better-sqlite3'
import { type Clock, EX, Fault, isoTime, messageOf } from '#base'
import { CommitCounter, syncDirectory } from '../sqlite/commit-counter.ts'
import { COUNTER, DATABASE } from '../sqlite/open-file.ts'
import { FINGERPRINT } from '../vault.ts'
import { type Copied, copyFile, digestOf } from './copy-file.ts'
import type { Keeping } from './keeping.ts'
import { type BackupFile, MANIFEST, type Manifest, manifestText } from './manifest.ts'

/** Pages of the database copied in one step (16 KiB each), and the rest after it: the disk is the daemon's first. */
const STEP_PAGES = 64
const STEPS_A_SYNC = 8
const REST_MS = 2
const SNAPSHOTS = 50

export type Progress = { readonly file: string; readonly doneBytes: number; readonly totalBytes: number }

export type BackupOptions = {
  readonly directory: string
  readonly target: string
  readonly rooms: readonly Keeping[]
  /** Version of Relevo, for the manifest. */
  readonly version: string
  readonly clock: Clock
  onProgress?(progress: Progress): void
}

/**
 * Copies a store as it stands at one commit, beside the daemon that writes to it: rows, bodies, and a manifest with the
 * checksum of each file, written last. The daemon goes on; its log of writes grows until the copy is done.
 * @throws Fault not-empty, not-found, damaged-store, cannot-write
 */
export async function backupStore(options: BackupOptions): Promise<Manifest> {
  const { directory, rooms, clock } = options
  const target = resolve(options.target)
  prepare(resolve(directory), target)
  try {
    const db = new Sqlite(join(directory, DATABASE), { readonly: true, fileMustExist: true })
    const open: { readonly name: string; readonly bytes: number; readonly fd: number }[] = []
    try {
      takeSnapshot(db, directory, rooms, open)
      const size = (db.pragma('page_count', { simple: true }) as number) * 16_384
      const totalBytes = size + open.reduce((sum, { bytes }) => sum + bytes, 0)
      let doneBytes = 0
      const tell = (file: string, bytes: number): void => {
        doneBytes = Math.min(totalBytes, doneBytes + bytes)
        options.onProgress?.({ file, doneBytes, totalBytes })
      }
      const about = describe(db, rooms)
      await copyDatabase(db, join(target, DATABASE), (bytes) => tell(DATABASE, bytes))
      CommitCounter.create(join(target, COUNTER), about.commits)
      const files: BackupFile[] = []
      for (const name of [DATABASE, COUNTER]) files.push({ name, ...(await digestOf(join(target, name), rest)) })
      if (open.length > 0) mkdirSync(join(target, dirname(open[0]!.name)), { mode: 0o700 })
      for (const { name, bytes, fd } of open) {
        const copied: Copied = await copyFile(fd, bytes, join(target, name), async (piece) => {
          tell(name, piece)
          await rest()
        })
        files.push({ name, ...copied })
      }
      for (const folder of new Set(open.map(({ name }) => dirname(name)))) syncDirectory(join(target, folder))
      const manifest: Manifest = {
        format: 1,
        relevo: options.version,
        created_at: isoTime(clock.now()),
        ...about,
        files,
      }
      writeManifest(target, manifest)
      options.onProgress?.({ file: MANIFEST, doneBytes: totalBytes, totalBytes })
      return manifest
    } finally {
      for (const { fd } of open) closeSync(fd)
      db.close()
    }
  } catch (error) {
    for (const name of readdirSync(target)) rmSync(join(target, name), { recursive: true, force: true })
    if (error instanceof Fault) throw error
    throw new Fault(`the backup could not be made: ${messageOf(error)}`, {
      code: 'backup-failed',
      exitCode: EX.IOERR,
      remedy: 'See to that, then run it again; relevo db check tells whether the store is sound',
      cause: error,
    })
  }
}

function prepare(directory: string, target: string): void {
  if (!existsSync(join(directory, DATABASE)))
    throw new Fault(`there is no store in ${directory}`, {
      code: 'not-found',
      field: 'data_dir',
      exitCode: EX.NOINPUT,
      remedy: 'Name the configuration of the installation by --config',
    })
  if (target === directory || target.startsWith(`${directory}/`))
    throw new Fault(`${target} lies in the data directory itself`, {
      code: 'usage',
      exitCode: EX.USAGE,
      remedy: 'Name a directory elsewhere, best on another disk',
    })
  try {
    mkdirSync(target, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new Fault(`${target} cannot be made: ${messageOf(error)}`, {
      code: 'cannot-write',
      exitCode: EX.CANTCREAT,
      remedy: 'Name a directory that you may write to',
    })
  }
  if (readdirSync(target).length > 0)
    throw new Fault(`${target} is not empty`, {
      code: 'not-empty',
      exitCode: EX.CANTCREAT,
      remedy: 'Name a directory that does not exist yet: each backup has its own',
    })
}

/**
 * Begins to read at one commit, and opens every file that its rows speak of: what is open can still be read when the
 * daemon removes it. A file that went between the two belongs to an older snapshot, so a newer one is taken.
 */
function takeSnapshot(
  db: Sqlite.Database,
  directory: string,
  rooms: readonly Keeping[],
  open: { readonly name: string; readonly bytes: number; readonly fd: number }[],
): void {
  for (let tries = 1; ; tries++) {
    db.exec('BEGIN')
    try {
      for (const { name, bytes } of rooms.flatMap((room) => room.files(db)))
        open.push({ name, bytes, fd: openSync(join(directory, name), 'r') })
      return
    } catch (error) {
      for (const { fd } of open.splice(0)) closeSync(fd)
      db.exec('ROLLBACK')
      if ((error as { code?: string }).code !== 'ENOENT') throw error
      if (tries === SNAPSHOTS)
        throw new Fault(`a file of the store is missing: ${messageOf(error)}`, {
          code: 'damaged-store',
          exitCode: EX.DATAERR,
          remedy: 'relevo db check tells which mail is concerned; cancel that mail, then make the backup',
        })
    }
  }
}

function describe(
  db: Sqlite.Database,
  rooms: readonly Keeping[],
): Pick<Manifest, 'master_key_fingerprint' | 'schema' | 'commits' | 'counts'> {
  const versions = db.prepare('SELECT module, version FROM schema_versions ORDER BY module').all() as {
    module: string
    version: number
  }[]
  const { value: commits } = db.prepare("SELECT value FROM store_state WHERE name = 'commits'").get() as {
    value: number
  }
  const key = db.prepare('SELECT value FROM settings WHERE name = ?').get(FINGERPRINT) as { value: string } | undefined
  return {
    master_key_fingerprint: key?.value ?? null,
    schema: Object.fromEntries(versions.map(({ module, version }) => [module, version])),
    commits,
    counts: Object.assign({}, ...rooms.map((room) => room.counts(db))) as Record<string, number>,
  }
}

/** Page by page from the snapshot, which later commits do not move. The copy needs no log beside it. */
async function copyDatabase(db: Sqlite.Database, to: string, tell: (bytes: number) => void): Promise<void> {
  const fd = openSync(to, 'wx', 0o600)
  try {
    let steps = 0
    let before = 0
    await db.backup(to, {
      progress({ totalPages, remainingPages }) {
        const copied = totalPages - remainingPages
        tell((copied - before) * 16_384)
        before = copied
        if (++steps % STEPS_A_SYNC === 0) fdatasyncSync(fd)
        stand(REST_MS)
        return STEP_PAGES
      },
    })
    const copy = new Sqlite(to, { fileMustExist: true })
    copy.pragma('journal_mode = DELETE')
    copy.close()
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4))

/** The process that makes a backup does nothing else, so it may stand still while the daemon has the disk. */
function stand(ms: number): void {
  Atomics.wait(pause, 0, 0, ms)
}

async function rest(): Promise<void> {
  stand(REST_MS)
  await new Promise(setImmediate)
}

/** Last, whole or not at all: a backup without a manifest is none. */
function writeManifest(target: string, manifest: Manifest): void {
  const path = join(target, MANIFEST)
  const fd = openSync(`${path}.new`, 'wx', 0o600)
  try {
    writeSync(fd, manifestText(manifest))
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(`${path}.new`, path)
  syncDirectory(target)
}
