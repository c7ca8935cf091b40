import type { Database as Sqlite, Statement } from 'better-sqlite3'
import type { CounterRow, EventRow, SuppressionRow } from '../records/rows.ts'

/**
 * What a room puts into the store's workers. The worker threads load each module by URL and call its default export
 * (`WorkerModuleFactory`) once. SQLite is synchronous there and never runs on the main thread.
 *
 * Writer: everything that waits is drained into one batch = one SQLite transaction = one `synchronous=FULL` commit
 * (group commit without timer). When an op throws, the batch is rolled back, those before the op run again and commit,
 * its caller gets the error, and those behind it follow: so an op may run twice, with `afterRollback` in between, and
 * must leave nothing outside the database that this does not undo. All callers are answered after the commit (and the
 * commit counter) is on disk. If the commit itself fails (ENOSPC, EIO) every caller of the batch gets the error and nothing is kept.
 */
export type WorkerContext = {
  readonly db: Sqlite
  /** A prepared statement, kept by its text. */
  statement(sql: string): Statement
  /** The data directory. */
  readonly directory: string
  /** Free settings the room gave at open, structured-cloneable. */
  readonly settings: Readonly<Record<string, unknown>>
  readonly role: 'writer' | 'reader'
  /** Into Records, within the op's own transaction. An event whose id is there already is passed over. */
  insertEvents(events: readonly EventRow[]): void
  /** One more of the same address and scope counts up and takes the stronger reason. */
  upsertSuppressions(rows: readonly SuppressionRow[]): void
  moveCounters(moves: readonly CounterRow[]): void
}

// biome-ignore lint/suspicious/noExplicitAny: arguments and results cross a thread; each room types its own side
export type WorkerOp = (args: any) => unknown

export type WorkerModule = {
  /** Operations by name (`queue.accept`); called in the writer inside the batch's transaction, in a reader outside any. */
  readonly ops: Readonly<Record<string, WorkerOp>>
  /** Writer only: reads that a start needs, run outside any transaction (`StoreModule.startReads` names them). */
  readonly reads?: Readonly<Record<string, WorkerOp>>
  /** Writer only: once a batch, after the last op and before COMMIT (fdatasync of segment files). A throw fails the whole batch. */
  beforeCommit?(): void
  /** Writer only: after the batch is durable. */
  afterCommit?(): void
  /** Writer only: the batch was rolled back; whatever the module remembers of it must be forgotten. */
  afterRollback?(): void
  close?(): void
}

export type WorkerModuleFactory = (context: WorkerContext) => WorkerModule

/** SQL to bring a module's tables from version n to n+1, in order; never changed once released. */
export type Migrations = readonly string[]
