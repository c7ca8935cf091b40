import t from 'tap'
import { Records } from '#store'
import { directory, names, open, setting } from './store-rig.ts'

const remembering = {
  name: 'remembering',
  url: new URL('./remembering-module.ts', import.meta.url),
  migrations: ['CREATE TABLE added (name TEXT NOT NULL)'],
}

void t.test('of several queries written together all are kept or none', async (t) => {
  await using database = await open(directory(t))
  const records = new Records(database)
  const results = await Promise.allSettled([
    records.write(setting(records, 'a')),
    records.write(setting(records, 'b'), setting(records, 'b')),
    records.write(setting(records, 'c')),
  ])
  t.same(
    results.map((result) => result.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  t.match(results[1], { reason: { code: 'SQLITE_CONSTRAINT_PRIMARYKEY' } })
  t.same(await names(records), ['a', 'c'], 'of the one that failed nothing is kept')
})

void t.test('what its module remembers is undone too, and the others stand in their order', async (t) => {
  await using database = await open(directory(t), { modules: [remembering] })
  const failing = new Set([0, 3, 4, 19])
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => database.write('test.add', { name: `n${i}`, fail: failing.has(i) })),
  )
  const stand = Array.from({ length: 20 }, (_, i) => `n${i}`).filter((_, i) => !failing.has(i))
  for (const [i, result] of results.entries())
    if (failing.has(i)) t.match(result, { status: 'rejected', reason: { code: 'told-to-fail' } }, `n${i}`)
    else t.match(result, { status: 'fulfilled' }, `n${i}`)
  t.same(
    await database.read<{ name: string }[]>('test.added', null),
    stand.map((name) => ({ name })),
  )
  t.same(await database.write('test.remembered', null), stand)
})

void t.test(
  'an operation nobody brought is refused, and a thousand that fail do not hold up the one behind',
  async (t) => {
    await using database = await open(directory(t), { modules: [remembering] })
    await t.rejects(database.write('test.unknown', null), { code: 'no-such-operation' })
    await t.rejects(database.read('test.unknown', null), { code: 'no-such-operation' })
    const failing = Array.from({ length: 1000 }, (_, i) => database.write('test.add', { name: `n${i}`, fail: true }))
    const last = database.write('test.add', { name: 'last', fail: false })
    t.ok((await Promise.allSettled(failing)).every((result) => result.status === 'rejected'))
    t.equal(await last, 1)
  },
)
