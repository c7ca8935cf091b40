import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkStore } from '#store'
import { directory, open } from './store-rig.ts'

const ONE = 'CREATE TABLE added (name TEXT NOT NULL)'
const TWO = "ALTER TABLE added ADD COLUMN note TEXT NOT NULL DEFAULT 'old'"
const module = (migrations: readonly string[], name = 'remembering') => ({
  name,
  url: new URL('./remembering-module.ts', import.meta.url),
  migrations,
})
const versions = (path: string): string => checkStore(path).find(({ check }) => check === 'schema')?.detail ?? ''

void t.test('an upgrade keeps the rows, and takes each step once', async (t) => {
  const path = directory(t)
  {
    await using database = await open(path, { modules: [module([ONE])] })
    await database.write('test.add', { name: 'kept', fail: false })
  }
  t.match(versions(path), /remembering 1/)
  for (let times = 0; times < 2; times++) {
    await using database = await open(path, { modules: [module([ONE, TWO])] })
    t.same(await database.readQuery({ sql: 'SELECT name, note FROM added', parameters: [] } as never), [
      { name: 'kept', note: 'old' },
    ])
  }
  t.match(versions(path), /remembering 2/)
})

void t.test('a step that fails leaves the tables at the step before', async (t) => {
  const path = directory(t)
  const broken = 'CREATE TABLE half (a); INSERT INTO no_such_table VALUES (1)'
  await t.rejects(open(path, { modules: [module([ONE, broken])] }), { message: /no_such_table/ })
  t.match(versions(path), /remembering 1/)
  await using database = await open(path, { modules: [module([ONE])] })
  await t.rejects(database.readQuery({ sql: 'SELECT * FROM half', parameters: [] } as never), { message: /half/ })
})

void t.test('tables of a newer Relevo are refused, and nothing is changed before', async (t) => {
  const path = directory(t)
  {
    await using _database = await open(path, {
      modules: [module([ONE], 'early'), module([TWO, TWO.replace('note', 'more')], 'later')],
    })
  }
  const before = readFileSync(join(path, 'relevo.db'))
  await t.rejects(open(path, { modules: [module([ONE, TWO.replace('note', 'x')], 'early'), module([TWO], 'later')] }), {
    code: 'newer-schema',
    exitCode: 78,
    remedy: /./,
  })
  t.match(versions(path), /early 1, later 2/)
  t.ok(readFileSync(join(path, 'relevo.db')).equals(before), 'not a byte of the file differs')
})
