import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { messageOf } from '#base'
import { CommitCounter } from './sqlite/commit-counter.ts'
import { COUNTER, DATABASE } from './sqlite/open-file.ts'

export type Finding = {
  readonly check: string
  readonly ok: boolean
  readonly detail: string
  /** What to do, when it is not ok. */
  readonly remedy?: string
}

/** A room's own look at what it keeps (checksums of bodies), on a read-only connection. */
export type StoreCheck = (context: { readonly db: Sqlite.Database; readonly directory: string }) => Iterable<Finding>

const RESTORE =
  'Stop Relevo and restore the whole data_dir from a backup; keep the damaged one, its other rows may be read.'

/**
 * Looks through the whole store without changing it; may run beside the daemon. Reads every page, so it takes the time
 * of the size.
 * @param also what the rooms look at themselves
 */
export function checkStore(directory: string, also: readonly StoreCheck[] = []): readonly Finding[] {
  const path = join(directory, DATABASE)
  const findings: Finding[] = []
  const say = (check: string, ok: boolean, detail: string, remedy = RESTORE): void => {
    findings.push(ok ? { check, ok, detail } : { check, ok, detail, remedy })
  }
  if (!existsSync(path) || statSync(path).size === 0) {
    say('database', false, `${path} is missing or empty`)
    return findings
  }
  try {
    // Read before the database: a daemon that commits meanwhile then makes the database the newer of the two.
    const counted = readCounter(join(directory, COUNTER), say)
    const db = new Sqlite(path, { readonly: true, fileMustExist: true })
    try {
      const problems = (db.pragma('integrity_check(20)') as { integrity_check: string }[]).map(
        (row) => row.integrity_check,
      )
      say('integrity', problems[0] === 'ok', problems.join('; '))
      const orphans = db.pragma('foreign_key_check') as unknown[]
      say('references', orphans.length === 0, orphans.length === 0 ? 'ok' : `${orphans.length} rows refer to nothing`)
      const { value: commits } = db.prepare("SELECT value FROM store_state WHERE name = 'commits'").get() as {
        value: number
      }
      if (counted !== null) {
        const lacks = counted - commits
        say(
          'commits',
          lacks <= 0,
          lacks <= 0 ? `${commits} commits` : `the database lacks ${lacks} commits that were answered`,
          `Restore ${DATABASE} and ${COUNTER} together from a backup.`,
        )
      }
      const versions = db.prepare('SELECT module, version FROM schema_versions ORDER BY module').all() as {
        module: string
        version: number
      }[]
      say('schema', true, versions.map(({ module, version }) => `${module} ${version}`).join(', '))
      for (const look of also) findings.push(...look({ db, directory }))
    } finally {
      db.close()
    }
  } catch (error) {
    say('database', false, `${path}: ${messageOf(error)}`)
  }
  return findings
}

function readCounter(
  path: string,
  say: (check: string, ok: boolean, detail: string, remedy?: string) => void,
): number | null {
  try {
    const counted = CommitCounter.read(path)
    if (counted === null) say('commits', false, `${path} is damaged, so lost commits could not be noticed`)
    return counted
  } catch (error) {
    say('commits', false, `${path} cannot be read: ${messageOf(error)}`)
    return null
  }
}
