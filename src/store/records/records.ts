import { type Compilable, DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely'
import type { Database } from '../database.ts'
import type { RecordsTables } from './schema.ts'

export type Written = { readonly changes: number; readonly rows: readonly unknown[] }

/** The records of an installation. kysely builds and types the queries; the store's threads run them. */
export class Records {
  /** Builder only: hand what it builds to `read` or `write`. */
  readonly query: Kysely<RecordsTables>
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
    this.query = recordsQuery()
  }

  read<Row>(query: Compilable<Row>): Promise<Row[]> {
    return this.#database.readQuery(query.compile())
  }

  async readOne<Row>(query: Compilable<Row>): Promise<Row | undefined> {
    const [row] = await this.read(query)
    return row
  }

  /** All of them or none; resolves after the commit is on disk. */
  write(...queries: readonly Compilable[]): Promise<readonly Written[]> {
    return this.#database.writeQueries(queries.map((query) => query.compile()))
  }
}

/** Builds and types queries, runs none. */
export function recordsQuery(): Kysely<RecordsTables> {
  return new Kysely<RecordsTables>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  })
}
