import { Default } from 'typebox/value'
import { type Config, ConfigSchema } from '#config'
import { queueWorker, type RecipientState, SqliteQueueStore } from '#queue'
import { openDatabase, Records } from '#store'
import type { OpenStore, SeenEvent } from './queue-store.ts'

export const queueDefaults = (Default(ConfigSchema, {}) as Config).queue

/** The numbers of the states in the file; a released file keeps them for ever, so they are said here again. */
const NUMBERS: readonly RecipientState[] = [
  'scheduled',
  'ready',
  'leased',
  'deferred',
  'held',
  'sent',
  'bounced',
  'uncertain',
  'suppressed',
  'expired',
  'cancelled',
]

/** The queue on the embedded SQLite file, seen from beside through Records. */
export async function openSqlite(directory: string, settings: Partial<Config['queue']> = {}): Promise<OpenStore> {
  const config = { ...queueDefaults, ...settings }
  const database = await openDatabase({ directory, modules: [queueWorker(config)] })
  const records = new Records(database)
  const { query } = records
  return {
    store: new SqliteQueueStore(database),
    events: () =>
      records.read<SeenEvent>(
        query
          .selectFrom('events')
          .select(['id', 'type', 'message_id', 'recipient_key', 'recipient', 'detail'])
          .orderBy('seq'),
      ),
    suppressions: () =>
      records.read(query.selectFrom('suppressions').select(['address', 'scope', 'reason', 'count']).orderBy('address')),
    counters: () => records.read(query.selectFrom('counters').selectAll().orderBy('name')),
    async countedStates() {
      const rows = await database.read<{ state: number; n: number }[]>('records.read', {
        sql: 'SELECT state, count(*) AS n FROM recipients GROUP BY state',
        parameters: [],
      })
      return Object.fromEntries(rows.map(({ state, n }) => [NUMBERS[state]!, n]))
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}
