import type Sqlite from 'better-sqlite3'
import { insertEvents, moveCounters, upsertSuppressions } from '../records/rows.ts'
import type { WorkerContext, WorkerModule, WorkerModuleFactory } from './module.ts'

export type ModuleSource = { readonly url: string; readonly settings: Readonly<Record<string, unknown>> }

/** Loads the rooms' modules into a worker and puts their operations into one table. */
export async function loadModules(
  sources: readonly ModuleSource[],
  db: Sqlite.Database,
  directory: string,
  role: 'writer' | 'reader',
): Promise<{
  readonly modules: readonly WorkerModule[]
  readonly ops: ReadonlyMap<string, (args: unknown) => unknown>
  readonly reads: ReadonlyMap<string, (args: unknown) => unknown>
}> {
  const statements = new Map<string, Sqlite.Statement>()
  function statement(sql: string): Sqlite.Statement {
    let prepared = statements.get(sql)
    if (prepared === undefined) {
      prepared = db.prepare(sql)
      statements.set(sql, prepared)
    }
    return prepared
  }
  const modules: WorkerModule[] = []
  const ops = new Map<string, (args: unknown) => unknown>()
  const reads = new Map<string, (args: unknown) => unknown>()
  for (const { url, settings } of sources) {
    const { default: open } = (await import(url)) as { default: WorkerModuleFactory }
    const context: WorkerContext = {
      db,
      statement,
      directory,
      settings,
      role,
      insertEvents: (events) => insertEvents({ statement }, events),
      upsertSuppressions: (rows) => upsertSuppressions({ statement }, rows),
      moveCounters: (moves) => moveCounters({ statement }, moves),
    }
    const module = open(context)
    modules.push(module)
    for (const [name, op] of Object.entries(module.ops)) ops.set(name, op)
    for (const [name, op] of Object.entries(module.reads ?? {})) reads.set(name, op)
  }
  return { modules, ops, reads }
}
