import t from 'tap'
import { queueStoreSuite } from './queue-store.ts'
import { openSqlite } from './sqlite-driver.ts'

await queueStoreSuite(t, { open: openSqlite })
