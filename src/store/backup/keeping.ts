import type Sqlite from 'better-sqlite3'
import type { EventRow } from '../records/rows.ts'

/** What a room adds to a backup, to its restore and to the repair of a store. All of it runs offline or beside the daemon. */
export type Keeping = {
  /** Files that the rows of this snapshot speak of: name within the data directory, and how much of each is committed. */
  files(db: Sqlite.Database): readonly { readonly name: string; readonly bytes: number }[]
  /** What is kept, for people: said before a restore and after it. */
  counts(db: Sqlite.Database): Readonly<Record<string, number>>
  /** Inside the transaction of a restore: nothing of it may go out again by itself. */
  restored(tools: KeepingTools): void
  /** Inside the transaction of `accept-loss`: what is derived is made anew, what is damaged is set aside. Says what it did. */
  mend(tools: KeepingTools): readonly string[]
}

export type KeepingTools = {
  readonly db: Sqlite.Database
  readonly nowMs: number
  insertEvents(events: readonly EventRow[]): void
}
