import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { messageOf } from '#base'
import { CommitCounter } from './sqlite/commit-counter.ts'
import { COUNTER, DATABASE } from './sqlite/open-file.ts'

export type Finding = { readonly check: string; readonly ok: boolean; readonly detail: string }

/** Looks through the whole store without changing it; may run beside the daemon. */
export function checkStore(directory: string): readonly Finding[] {
  const path = join(directory, DATABASE)
  const findings: Finding[] = []
  const say = (check: string, ok: boolean, detail: string): void => {
    findings.push({ check, ok, detail })
  }
  if (!existsSync(path) || statSync(path).size === 0) {
    say('database', false, `${path} is missing or empty`)
    return findings
  }
  try {
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
      sayCounter(directory, commits, say)
      const versions = db.prepare('SELECT module, version FROM schema_versions ORDER BY module').all() as {
        module: string
        version: number
      }[]
      say('schema', true, versions.map(({ module, version }) => `${module} ${version}`).join(', '))
    } finally {
      db.close()
    }
  } catch (error) {
    say('database', false, `${path}: ${messageOf(error)}`)
  }
  return findings
}

function sayCounter(
  directory: string,
  commits: number,
  say: (check: string, ok: boolean, detail: string) => void,
): void {
  const path = join(directory, COUNTER)
  try {
    const opened = CommitCounter.open(path)
    if (opened === null) {
      say('commits', false, `${path} is damaged`)
      return
    }
    opened.counter.close()
    const lacks = opened.value - commits
    say(
      'commits',
      lacks <= 0,
      lacks <= 0 ? `${commits} commits` : `the database lacks ${lacks} commits that were answered`,
    )
  } catch (error) {
    say('commits', false, `${path}: ${messageOf(error)}`)
  }
}
