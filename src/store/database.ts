import type { CompiledQuery } from 'kysely'

/** One SQLite file with its writer worker and its reader worker, as the rooms use it. */
export interface Database extends AsyncDisposable {
  /** Runs a write op of a loaded module; resolves after the commit is on disk, rejects with the op's or the commit's error. */
  write<T>(op: string, args: unknown): Promise<T>
  /** Runs a read op in the reader worker (read-only connection, sees every commit already answered). */
  read<T>(op: string, args: unknown): Promise<T>
  /** All kysely queries as one atomic write; resolves after the commit with the affected rows and the rows returned of each. */
  writeQueries(queries: readonly CompiledQuery[]): Promise<readonly { changes: number; rows: readonly unknown[] }[]>
  readQuery<T>(query: CompiledQuery<T>): Promise<T[]>
  /** Writes asked for since the start, and those not answered yet. */
  stats(): { readonly writes: number; readonly queued: number }
  /** The start is over: from now on reads have a thread of their own, which the first of them starts. */
  serve(): void
  /** Answers when the workers that run have answered; for readiness and the watchdog. */
  ping(): Promise<void>
}
