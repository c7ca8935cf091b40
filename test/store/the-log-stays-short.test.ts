import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import t from 'tap'
import { Records } from '#store'
import { directory, numbered, open, setting } from './store-rig.ts'

const MIB = 1_048_576

void t.test('the write-ahead log stays bounded while much is written, and waits for nothing when idle', async (t) => {
  const path = directory(t)
  await using database = await open(path)
  const records = new Records(database)
  let longest = 0
  for (let round = 0; round < 30; round++) {
    await Promise.all(numbered(400, round * 400).map((name) => records.write(setting(records, name, 'x'.repeat(8000)))))
    longest = Math.max(longest, statSync(join(path, 'relevo.db-wal')).size)
  }
  const kept = statSync(join(path, 'relevo.db')).size
  t.ok(kept > 60 * MIB, `${kept} bytes are in the database`)
  t.ok(longest < 48 * MIB, `the log was never longer than ${longest} bytes`)
  await records.write(setting(records, 'last'))
  const waiting = (): number => {
    const reader = new Sqlite(join(path, 'relevo.db'), { readonly: true })
    const [state] = reader.pragma('wal_checkpoint(NOOP)') as { log: number; checkpointed: number }[]
    reader.close()
    return state!.log - state!.checkpointed
  }
  t.ok(waiting() > 0, 'the last commit waits')
  for (let tries = 0; waiting() > 0 && tries < 100; tries++) await pause(100)
  t.equal(waiting(), 0, 'nothing waits after a while')
})

void t.test('in good order it ends with everything in one file', async (t) => {
  const path = directory(t)
  {
    await using database = await open(path)
    const records = new Records(database)
    await records.write(setting(records, 'a'))
  }
  t.throws(() => statSync(join(path, 'relevo.db-wal')), { code: 'ENOENT' })
})
