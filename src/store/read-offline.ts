import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import type { Compilable, Kysely } from 'kysely'
import { EX, Fault, messageOf } from '#base'
import { recordsWorker } from './records/module.ts'
import { recordsQuery } from './records/records.ts'
import type { RecordsTables } from './records/schema.ts'
import { DATABASE } from './sqlite/open-file.ts'

/** The records, read by a command without the daemon. */
export type RecordsReader = Disposable & {
  readonly query: Kysely<RecordsTables>
  read<Row>(query: Compilable<Row>): Row[]
}

/**
 * Opens the records for reading only; may be done while the daemon runs. Nothing is made, changed or brought up.
 * @throws Fault `not-found` when there is no store, `other-schema` when it is of another version
 */
export function readRecords(directory: string): RecordsReader {
  const path = join(directory, DATABASE)
  if (!existsSync(path))
    throw new Fault(`there is no store in ${directory}`, {
      code: 'not-found',
      field: 'data_dir',
      remedy: 'Start the daemon once, or name the configuration of the installation by --config.',
      exitCode: EX.NOINPUT,
    })
  let db: Sqlite.Database | undefined
  try {
    db = new Sqlite(path, { readonly: true, fileMustExist: true })
    const row = db.prepare('SELECT version FROM schema_versions WHERE module = ?').get(recordsWorker.name) as
      | { version: number }
      | undefined
    const known = recordsWorker.migrations.length
    if (row?.version !== known)
      throw new Fault(`the records are of version ${row?.version ?? 0}, this Relevo reads ${known}`, {
        code: 'other-schema',
        field: 'data_dir',
        remedy: 'Start the daemon of this Relevo once: it brings them up.',
        exitCode: EX.CONFIG,
      })
    const open = db
    return {
      query: recordsQuery(),
      read<Row>(query: Compilable<Row>): Row[] {
        const { sql, parameters } = query.compile()
        return open.prepare(sql).all(...parameters) as Row[]
      },
      [Symbol.dispose]: () => void open.close(),
    }
  } catch (error) {
    db?.close()
    if (error instanceof Fault) throw error
    const { code = '' } = error as { code?: string }
    throw new Fault(`${path} cannot be read: ${messageOf(error)}`, {
      code: 'store-not-readable',
      field: 'data_dir',
      remedy:
        code === 'SQLITE_CANTOPEN' || code === 'SQLITE_READONLY'
          ? 'Run it as the user that Relevo runs as, or as root.'
          : 'See what is wrong with: relevo db check',
      exitCode: code === 'SQLITE_CANTOPEN' ? EX.NOPERM : EX.DATAERR,
    })
  }
}
