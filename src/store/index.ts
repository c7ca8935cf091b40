// store: where things are kept. SQLite in a writer and a reader thread with shared commits, the records of the
// installation by kysely, and the vault for secrets. It knows no stage: rooms bring their own operations and tables.
export { checkStore, type Finding, type StoreCheck } from './check.ts'
export type { Database } from './database.ts'
export { type RecordsReader, readRecords } from './read-offline.ts'
export { Records } from './records/records.ts'
export type { RecordsTables } from './records/schema.ts'
export type { Migrations, WorkerContext, WorkerModule, WorkerModuleFactory } from './sqlite/module.ts'
export { type OpenOptions, openDatabase, type StoreModule } from './sqlite/open-database.ts'
export { loadMasterKey, Vault } from './vault.ts'
