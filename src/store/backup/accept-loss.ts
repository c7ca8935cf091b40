import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { EX, Fault } from '#base'
import { insertEvents } from '../records/rows.ts'
import type { Migrations } from '../sqlite/module.ts'
import { DATABASE, openFile } from '../sqlite/open-file.ts'
import type { Keeping } from './keeping.ts'
import { giveToOwner } from './owner.ts'

export type Loss = {
  /** Commits in the database, and those that were answered; null: the counter cannot be believed. */
  readonly commits: number
  readonly counted: number | null
  /** What the rooms did to make the rest usable. */
  readonly mended: readonly string[]
}

/**
 * Takes the store as it stands: what it lacks is lost. Indexes and counts are made anew from the rows, and what is damaged
 * is set aside, so that a daemon can start with the rest.
 * @throws Fault second-instance, damaged-store when the database itself cannot be read, newer-schema
 */
export function acceptLoss(options: {
  readonly directory: string
  readonly rooms: readonly Keeping[]
  readonly modules: readonly { readonly name: string; readonly migrations: Migrations }[]
  readonly nowMs: number
}): Loss {
  const { directory, rooms, modules, nowMs } = options
  const path = join(directory, DATABASE)
  if (!existsSync(path) || statSync(path).size === 0)
    throw new Fault(`there is no database in ${directory} to go on with`, {
      code: 'damaged-store',
      field: 'data_dir',
      exitCode: EX.DATAERR,
      remedy: 'Restore a backup, or set the directory aside and start with an empty one',
    })
  const { db, counter, lock, commits, counted } = openFile(directory, modules, true)
  try {
    db.exec('REINDEX')
    const statement = (sql: string) => db.prepare(sql)
    const mended: string[] = []
    db.transaction(() => {
      for (const room of rooms)
        mended.push(...room.mend({ db, nowMs, insertEvents: (events) => insertEvents({ statement }, events) }))
      const after = JSON.stringify({ commits, counted, mended })
      db.prepare(
        "INSERT INTO audit (at_ms, actor, client_address, action, target, after) VALUES (?, 'offline', '', 'db.accept-loss', ?, ?)",
      ).run(nowMs, directory, after)
    }).immediate()
    db.pragma('wal_checkpoint(TRUNCATE)')
    return { commits, counted, mended }
  } finally {
    db.close()
    counter.close()
    lock.close()
    giveToOwner(directory)
  }
}
