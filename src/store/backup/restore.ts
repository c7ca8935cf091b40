import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { EX, Fault, messageOf } from '#base'
import { insertEvents } from '../records/rows.ts'
import { syncDirectory } from '../sqlite/commit-counter.ts'
import type { Migrations } from '../sqlite/module.ts'
import { COUNTER, DATABASE, LOCK, openFile, PID, RESTORING, SEGMENTS, takeLock } from '../sqlite/open-file.ts'
import type { Progress } from './backup.ts'
import { copyFile } from './copy-file.ts'
import type { Keeping } from './keeping.ts'
import { damagedBackup, type Manifest, readManifest } from './manifest.ts'
import { giveToOwner } from './owner.ts'

/** What an empty data directory may hold: the key is put there before the restore. */
const MAY_BE_THERE = new Set(['master.key', LOCK, PID, `${LOCK}-journal`, 'lost+found', RESTORING])

export type RestoreOptions = {
  readonly source: string
  readonly directory: string
  readonly rooms: readonly Keeping[]
  readonly modules: readonly { readonly name: string; readonly migrations: Migrations }[]
  /** Of the master key that the installation will start with. */
  readonly fingerprint: string
  readonly nowMs: number
  onProgress?(progress: Progress): void
}

/**
 * Brings a backup into an empty data directory. Everything is made ready and checked beside, so that a restore that is
 * broken off leaves nothing that a daemon would start with; it can then be run again.
 * @throws Fault not-a-backup, damaged-backup, wrong-master-key, not-empty, second-instance, newer-schema
 */
export async function restoreStore(options: RestoreOptions): Promise<Manifest> {
  const { source, directory } = options
  const manifest = readManifest(source)
  const theirs = manifest.master_key_fingerprint
  if (theirs !== null && theirs !== options.fingerprint)
    throw new Fault(
      `this backup belongs to the master key ${theirs}, and the one given is ${options.fingerprint}: its secrets could not be read`,
      {
        code: 'wrong-master-key',
        field: 'secrets.master_key_file',
        exitCode: EX.CONFIG,
        remedy: 'Give the master key of that time (relevo key recover reads the written form), then restore again',
      },
    )
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const lock = takeLock(directory)
  try {
    const staging = makeRoom(directory)
    await copyAll(options, manifest, staging)
    setAside(options, staging)
    moveIn(staging, directory)
    giveToOwner(directory)
  } finally {
    lock.close()
  }
  return manifest
}

/** Refuses a directory that holds anything but the remains of a restore that was broken off. */
function makeRoom(directory: string): string {
  const staging = join(directory, RESTORING)
  const brokenOff = existsSync(staging) && !existsSync(join(directory, DATABASE))
  if (brokenOff) for (const name of [SEGMENTS, COUNTER]) rmSync(join(directory, name), { recursive: true, force: true })
  const found = readdirSync(directory).find((name) => !MAY_BE_THERE.has(name))
  if (found !== undefined)
    throw new Fault(`${directory} is not empty: it holds ${found}`, {
      code: 'not-empty',
      field: 'data_dir',
      exitCode: EX.CANTCREAT,
      remedy: 'A backup is restored into an empty data_dir only: move the old one aside first, all but master.key',
    })
  rmSync(staging, { recursive: true, force: true })
  mkdirSync(staging, { mode: 0o700 })
  return staging
}

async function copyAll({ source, onProgress }: RestoreOptions, manifest: Manifest, staging: string): Promise<void> {
  const totalBytes = manifest.files.reduce((sum, { bytes }) => sum + bytes, 0)
  let doneBytes = 0
  for (const { name, bytes, sha256 } of manifest.files) {
    const from = join(source, name)
    mkdirSync(join(staging, dirname(name)), { recursive: true, mode: 0o700 })
    let fd: number
    try {
      fd = openSync(from, 'r')
    } catch (error) {
      if ((error as { code?: string }).code === 'ENOENT') throw damagedBackup(from, 'it is missing')
      throw new Fault(`${from} cannot be read: ${messageOf(error)}`, {
        code: 'cannot-read',
        exitCode: EX.NOPERM,
        remedy: 'Run it as a user who may read the backup, or as root',
      })
    }
    try {
      const copied = await copyFile(fd, bytes + 1, join(staging, name), async (piece) => {
        doneBytes += piece
        onProgress?.({ file: name, doneBytes, totalBytes })
      })
      if (copied.bytes !== bytes)
        throw damagedBackup(
          from,
          `it has ${copied.bytes > bytes ? 'more than ' : ''}${Math.min(copied.bytes, bytes)} bytes of ${bytes}`,
        )
      if (copied.sha256 !== sha256) throw damagedBackup(from, 'it does not match its checksum')
    } finally {
      closeSync(fd)
    }
  }
}

/** Nothing of what was waiting goes out again by itself; done before a daemon can see the store. */
function setAside({ rooms, modules, nowMs }: RestoreOptions, staging: string): void {
  const { db, counter, lock } = openFile(staging, modules, false)
  try {
    const statement = (sql: string) => db.prepare(sql)
    const tools = {
      db,
      nowMs,
      insertEvents: (events: Parameters<typeof insertEvents>[1]) => insertEvents({ statement }, events),
    }
    db.transaction(() => {
      for (const room of rooms) room.restored(tools)
    }).immediate()
    db.pragma('wal_checkpoint(TRUNCATE)')
  } finally {
    db.close()
    counter.close()
    lock.close()
  }
  for (const name of readdirSync(staging))
    if (![DATABASE, COUNTER, SEGMENTS].includes(name)) rmSync(join(staging, name))
}

/** The database last: until it is there, a start is refused and the restore can be run again. */
function moveIn(staging: string, directory: string): void {
  for (const name of [SEGMENTS, COUNTER, DATABASE])
    if (existsSync(join(staging, name))) {
      renameSync(join(staging, name), join(directory, name))
      syncDirectory(directory)
    }
  rmdirSync(staging)
  syncDirectory(directory)
}
