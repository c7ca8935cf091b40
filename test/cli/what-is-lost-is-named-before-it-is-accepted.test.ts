import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import t from 'tap'
import { silentLog } from '#base'
import { Queue } from '#queue'
import { manualClock, tempDir } from '#world'
import { message, queued, T0 } from '../contract/queue-messages.ts'
import { openSqlite, queueDefaults } from '../contract/sqlite-driver.ts'
import { relevo } from './at-the-command-line.ts'

void t.test('db accept-loss: told first, then the rest goes on and what was altered is held', async (t) => {
  await using directory = await tempDir()
  const data = directory.join('data')
  writeFileSync(directory.join('relevo.toml'), `mode = "sandbox"\ndata_dir = ${JSON.stringify(data)}\n`)
  const run = (...argv: string[]) => relevo(['db', ...argv], { env: { RELEVO_CONFIG: directory.join('relevo.toml') } })
  t.match(await run('accept-loss', '--yes'), { code: 66 }, 'there is no store to take')
  const mails = ['one', 'two', 'three'].map((name) => message([`${name}@a.example`]))
  {
    await using opened = await openSqlite(data)
    for (const mail of mails) await opened.store.accept(mail, queued(mail))
  }
  const database = join(data, 'relevo.db')
  copyFileSync(database, directory.join('older'))
  {
    await using opened = await openSqlite(data)
    for (let i = 0; i < 2; i++) await opened.store.accept(message(), [])
    t.match(await run('accept-loss', '--yes'), { code: 75, stderr: /another Relevo/ }, 'not beside a daemon')
  }
  t.match(await run('accept-loss'), { code: 0, stderr: /nothing is missing/ })
  copyFileSync(directory.join('older'), database)
  const db = new Sqlite(database)
  // As if it had been delivered: no check of SQLite can find that.
  db.exec('UPDATE recipients SET state = 5 WHERE key = 2')
  db.close()
  const start = async () => {
    await using opened = await openSqlite(data)
    const options = { config: queueDefaults, directory: data, owner: 'n', clock: manualClock(T0), log: silentLog }
    await using queue = await Queue.open({ store: opened.store, ...options })
    const claims = []
    for (let next = queue.nextDestination(); next !== null; next = queue.nextDestination())
      claims.push(...(await queue.claim(next.domain)))
    return { claims, view: await queue.message(mails[1]!.id) }
  }
  await t.rejects(start(), { code: 'store-lags' })
  t.match(await run('accept-loss'), { code: 65, stdout: /lacks 2 commits.*altered: two@a.example/s, stderr: /--yes/ })
  await t.rejects(start(), { code: 'store-lags' }, 'nothing was changed by telling')
  const done = await run('accept-loss', '--yes')
  t.match(done, { code: 0, stdout: /^2 of 5 commits that were answered are given up; 1 .*altered are held.*counts/ })
  const { claims, view } = await start()
  t.same(
    claims.map(({ message: { id } }) => id),
    [mails[0]!.id, mails[2]!.id],
  )
  t.match(view?.recipients, [{ state: 'held', reason: 'damaged' }])
  t.match(await run('check'), {
    code: 65,
    stdout: /recipients\tWRONG\t1 recipients whose rows were altered: two@a.example/,
  })
})

void t.test('a row whose state was altered, with counts and index: no start before somebody looked', async (t) => {
  const alterations = [
    'UPDATE recipients SET state = 5 WHERE key = 2',
    'UPDATE queue_counts SET n = n + 1 WHERE state = 1',
    'DELETE FROM recipients WHERE key = 2',
    'PRAGMA foreign_keys = OFF; UPDATE recipients SET state = 4 WHERE key = 2; UPDATE queue_counts SET n = 1 WHERE state IN (1, 4); DELETE FROM messages WHERE key = 2',
    'PRAGMA foreign_keys = OFF; DELETE FROM messages WHERE key = 2',
    "PRAGMA foreign_keys = OFF; UPDATE recipients SET state = 2, lease_owner = 'n' WHERE key = 2; UPDATE queue_counts SET n = 1 WHERE state < 3 AND state > 0; DELETE FROM messages WHERE key = 2; UPDATE queue_counts SET n = 0 WHERE state = 0",
  ]
  for (const alteration of alterations) {
    await using directory = await tempDir()
    {
      await using opened = await openSqlite(directory.path)
      for (let i = 0; i < 2; i++) await opened.store.accept(message(), [])
    }
    const db = new Sqlite(directory.join('relevo.db'))
    db.exec(alteration)
    db.close()
    await using opened = await openSqlite(directory.path)
    const options = { config: queueDefaults, directory: directory.path, owner: 'n', clock: manualClock(T0) }
    await t.rejects(
      Queue.open({ store: opened.store, ...options, log: silentLog }),
      { code: 'damaged-store', exitCode: 65, remedy: /accept-loss/ },
      alteration,
    )
  }
})
