import { copyFileSync, existsSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Fields, silentLog } from '#base'
import { checkStore, Records } from '#store'
import { copyOf, directory, fill, names, numbered, open } from './store-rig.ts'

void t.test('what is damaged or incomplete is refused with what to do, and never started empty over', async (t) => {
  const good = directory(t)
  await fill(good, numbered(50), 'x'.repeat(2000))
  const cases: readonly [string, (path: string) => void][] = [
    ['a zero-length database', (path) => truncateSync(join(path, 'relevo.db'), 0)],
    ['a missing database', (path) => rmSync(join(path, 'relevo.db'))],
    ['a database cut short', (path) => truncateSync(join(path, 'relevo.db'), 50_000)],
    ['something else', (path) => writeFileSync(join(path, 'relevo.db'), 'x'.repeat(40_000))],
    ['a missing counter', (path) => rmSync(join(path, 'relevo.commits'))],
    ['an empty counter', (path) => truncateSync(join(path, 'relevo.commits'), 0)],
    ['a zeroed counter', (path) => writeFileSync(join(path, 'relevo.commits'), Buffer.alloc(8192))],
  ]
  for (const [name, damage] of cases) {
    const path = copyOf(t, good)
    damage(path)
    const database = join(path, 'relevo.db')
    const before = existsSync(database) ? readFileSync(database) : null
    await t.rejects(open(path), { code: 'damaged-store', remedy: /./, field: 'data_dir', exitCode: 65 }, name)
    t.same(existsSync(database) ? readFileSync(database) : null, before, `${name}: it is left as it was`)
    t.ok(
      checkStore(path).some(({ ok, remedy }) => !ok && remedy !== undefined),
      `${name}: the check tells`,
    )
  }
})

void t.test('an older database under a newer counter lags: refused, with the gap named', async (t) => {
  const path = directory(t)
  const older = join(directory(t), 'older')
  await fill(path, numbered(5))
  copyFileSync(join(path, 'relevo.db'), older)
  await fill(path, numbered(7, 5))
  copyFileSync(older, join(path, 'relevo.db'))
  await t.rejects(open(path), { code: 'store-lags', exitCode: 65, message: /lacks 7 commits/, remedy: /backup/ })
  t.match(checkStore(path), [{ check: 'integrity' }, { check: 'references' }, { check: 'commits', ok: false }])
  const warned: Fields[] = []
  const log = { ...silentLog, warn: (fields: Fields) => warned.push(fields) }
  {
    await using database = await open(path, { acceptLoss: true, log })
    t.same(await names(new Records(database)), numbered(5), 'told to, it takes what there is')
  }
  t.match(warned, [{ commits: 5, counted: 12 }], 'and says what is missing')
  await using database = await open(path)
  t.same(await names(new Records(database)), numbered(5), 'once is enough')
})

void t.test('a counter older than the database, by the one commit of a kill or by more, is brought up', async (t) => {
  const path = directory(t)
  const older = join(directory(t), 'older')
  await fill(path, numbered(5))
  copyFileSync(join(path, 'relevo.commits'), older)
  await fill(path, numbered(7, 5))
  const newest = join(directory(t), 'newest')
  copyFileSync(join(path, 'relevo.db'), newest)
  copyFileSync(older, join(path, 'relevo.commits'))
  const warned: Fields[] = []
  const log = { ...silentLog, warn: (fields: Fields) => warned.push(fields) }
  await (await open(path, { log }))[Symbol.asyncDispose]()
  t.match(warned, [{ commits: 12, counted: 5 }])
  await fill(path, numbered(1, 12))
  copyFileSync(newest, join(path, 'relevo.db'))
  await t.rejects(open(path), { code: 'store-lags', message: /lacks 1 commits/ }, 'and guards from there on')
})

void t.test('a torn slot of the counter leaves the other one', async (t) => {
  const path = directory(t)
  await fill(path, numbered(6))
  const file = join(path, 'relevo.commits')
  t.equal(statSync(file).size, 8192)
  const bytes = readFileSync(file)
  // 6 stands in the first slot, 5 in the second.
  bytes.fill(0xff, 4, 12)
  writeFileSync(file, bytes)
  await using database = await open(path)
  t.same(await names(new Records(database)), numbered(6))
})
