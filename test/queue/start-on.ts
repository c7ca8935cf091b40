// start-on.ts DIRECTORY: opens the store and says `started`, or what was refused and the remedy.
import { Fault } from '#base'
import { openSqlite } from '../contract/sqlite-driver.ts'

try {
  await (await openSqlite(process.argv[2]!))[Symbol.asyncDispose]()
  console.log('started')
} catch (error) {
  console.log(`refused: ${error instanceof Error ? error.message : String(error)}`)
  console.log(`remedy: ${error instanceof Fault ? (error.remedy ?? 'none') : 'none'}`)
}
