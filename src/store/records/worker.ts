import type { WorkerModuleFactory } from '../sqlite/module.ts'

type Query = { readonly sql: string; readonly parameters: readonly unknown[] }

/** Statements that differ only in their values are prepared once; a few with long lists must not fill the memory. */
const MAX_SQL_KEPT = 4000

// Queries that the rooms built with kysely, as text and values.
const open: WorkerModuleFactory = ({ db, statement, role }) => {
  const prepare = (sql: string) => (sql.length > MAX_SQL_KEPT ? db.prepare(sql) : statement(sql))
  const read = ({ sql, parameters }: Query): unknown[] => prepare(sql).all(...parameters)
  if (role === 'reader') return { ops: { 'records.read': read } }
  return {
    ops: {
      'records.write': (queries: readonly Query[]) =>
        queries.map(({ sql, parameters }) => {
          const prepared = prepare(sql)
          if (!prepared.reader) return { changes: prepared.run(...parameters).changes, rows: [] }
          const rows = prepared.all(...parameters)
          return { changes: rows.length, rows }
        }),
    },
    reads: { 'records.read': read },
  }
}

export default open
