// endless-settler.ts DIRECTORY PREFIX: until it is killed it accepts, leases and settles messages in eight lanes, and prints
// `accepted ID` and `settled ID` once each is answered. Each settlement writes all that one can.
import { body, message, queued, settlement, T0 } from '../contract/queue-messages.ts'
import { keysOf, suppression } from '../contract/queue-store.ts'
import { openSqlite } from '../contract/sqlite-driver.ts'

const [directory = '', prefix = ''] = process.argv.slice(2)
const { store } = await openSqlite(directory, { segment_bytes: 1_048_576 })
await store.reclaim('node', T0)

async function lane(number: number): Promise<never> {
  for (let i = 0; ; i++) {
    const id = `${prefix}-${number}-${i}`
    const large = i % 3 === 0
    const mail = message([`${id}@a.example`], { id, content: body(id, large ? 40_000 : 1000) })
    const { due } = await store.accept(mail, queued(mail))
    process.stdout.write(`accepted ${id}\n`)
    const [claim] = await store.lease(keysOf(due), 'node', T0, T0 + 60_000)
    const dsn = message(['app@sender.example'], {
      id: `dsn-${id}`,
      reversePath: '',
      content: body(`dsn-${id}`, large ? 1000 : 40_000),
    })
    const done = settlement(claim!, 'bounced', {
      suppressions: [suppression(`${id}@a.example`)],
      counters: [{ name: 'bounced', period: '', delta: 1 }],
      spawn: dsn,
    })
    const { results } = await store.settle([done])
    process.stdout.write(`${results[0]!.kind} ${id}\n`)
  }
}

await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(lane))
