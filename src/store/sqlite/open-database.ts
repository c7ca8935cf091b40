import type { CompiledQuery } from 'kysely'
import { type Fault, type Log, silentLog } from '#base'
import type { Database } from '../database.ts'
import { recordsWorker } from '../records/module.ts'
import type { Migrations } from './module.ts'
import { WorkerLink } from './worker-link.ts'
import type { OpenInfo } from './writer.ts'

/** A room's part of the store: its operations and its tables. */
export type StoreModule = {
  readonly name: string
  readonly url: URL
  readonly migrations: Migrations
  readonly settings?: Readonly<Record<string, unknown>>
  /** Reads that a start needs, which the writer answers too (`WorkerModule.reads`). */
  readonly startReads?: readonly string[]
}

export type OpenOptions = {
  readonly directory: string
  readonly modules: readonly StoreModule[]
  /** Told once when the store cannot be written any more; every later write rejects with `store-failed`. */
  readonly onFailure?: (error: Fault) => void
  /** Takes the database as it stands when the commit counter is gone, damaged or ahead of it: what it lacks is lost. */
  readonly acceptLoss?: boolean
  readonly log?: Log
}

/**
 * Opens the data directory: one writer thread, one reader thread, and nothing of SQLite on this one. The reader starts with
 * the first read after `serve()`: what a start reads is little and comes one after the other, so the writer answers it, and a
 * daemon at rest does not pay for a thread it does not use.
 * @throws Fault second-instance, damaged-store, store-lags, newer-schema, data-dir-not-writable, disk-full, disk-error
 */
export async function openDatabase(options: OpenOptions): Promise<Database> {
  const wanted: readonly StoreModule[] = [recordsWorker, ...options.modules]
  const modules = wanted.map(({ name, url, migrations, settings = {} }) => ({
    name,
    url: url.href,
    migrations,
    settings,
  }))
  const { directory, acceptLoss = false, log = silentLog } = options
  const data = { directory, modules, acceptLoss }
  let failed = false
  const onFailure = (error: Fault): void => {
    if (failed) return
    failed = true
    options.onFailure?.(error)
  }
  const { link: writer, info } = await WorkerLink.start(new URL('./writer.ts', import.meta.url), data, onFailure)
  const { commits, counted } = info as OpenInfo
  if (counted === null || commits < counted) log.warn({ commits, counted }, 'commits that were answered may be missing')
  else if (commits > counted + 1) log.warn({ commits, counted }, 'the commit counter was older than the database')
  const startReads = new Set(wanted.flatMap((module) => module.startReads ?? []))
  let serving = false
  let reader: Promise<WorkerLink> | null = null
  const startReader = (): Promise<WorkerLink> => {
    reader ??= WorkerLink.start(new URL('./reader.ts', import.meta.url), data, onFailure).then(
      ({ link }) => link,
      (error: unknown) => {
        reader = null // out of descriptors, say: the next read tries again
        throw error
      },
    )
    return reader
  }
  const read = async <T>(op: string, args: unknown): Promise<T> => {
    if (reader === null && !serving && startReads.has(op)) return writer.call<T>(op, args)
    return (await startReader()).call<T>(op, args)
  }
  let writes = 0
  return {
    write<T>(op: string, args: unknown): Promise<T> {
      writes += 1
      return writer.call<T>(op, args)
    },
    read,
    writeQueries(queries: readonly CompiledQuery[]) {
      writes += 1
      return writer.call('records.write', queries.map(plain))
    },
    readQuery: <T>(query: CompiledQuery<T>): Promise<T[]> => read<T[]>('records.read', plain(query)),
    stats: () => ({ writes, queued: writer.waiting }),
    async ping(): Promise<void> {
      await Promise.all([writer.call('ping', null), reader?.then((link) => link.call('ping', null))])
    },
    serve(): void {
      serving = true
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await reader?.then(
        (link) => link.close(),
        () => {},
      )
      await writer.close()
    },
  }
}

function plain({ sql, parameters }: CompiledQuery): { readonly sql: string; readonly parameters: readonly unknown[] } {
  return { sql, parameters }
}
