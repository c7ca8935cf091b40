import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Records } from '#store'
import { directory, endlessWriter, names, open, setting } from './store-rig.ts'

t.setTimeout(120_000)

void t.test('a first start that was killed at any moment is no damage', async (t) => {
  for (let kill = 0; kill < 6; kill++) {
    const path = directory(t)
    const { child, ended } = endlessWriter(path, 'w', () => {})
    const started = join(path, kill % 2 === 0 ? 'relevo.lock' : 'relevo.commits')
    while (!existsSync(started)) await new Promise((resolve) => setTimeout(resolve, 1))
    await new Promise((resolve) => setTimeout(resolve, kill * 2))
    child.kill('SIGKILL')
    await ended
    await using database = await open(path)
    const records = new Records(database)
    await records.write(setting(records, 'after'))
    t.ok((await names(records)).includes('after'), `killed ${kill * 2} ms after ${started.split('/').pop()}`)
  }
})

void t.test('the files are for their owner only, and laid out as they must be from the beginning', async (t) => {
  const path = join(directory(t), 'data')
  await using database = await open(path)
  t.equal(statSync(path).mode & 0o777, 0o700)
  for (const name of ['relevo.db', 'relevo.db-wal', 'relevo.commits'])
    t.equal(statSync(join(path, name)).mode & 0o777, 0o600, name)
  const pragma = (name: string) => database.readQuery({ sql: `PRAGMA ${name}`, parameters: [] } as never)
  t.same(await pragma('page_size'), [{ page_size: 16_384 }])
  t.same(await pragma('auto_vacuum'), [{ auto_vacuum: 2 }])
  t.same(await pragma('journal_mode'), [{ journal_mode: 'wal' }])
})
