import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkStore, Records } from '#store'
import { directory, endlessWriter, hasProgram, names, open, run, setting } from './store-rig.ts'

void t.test('writes share commits, and each is there when it is answered', async (t) => {
  const path = directory(t)
  {
    await using database = await open(path)
    const records = new Records(database)
    await Promise.all(
      Array.from({ length: 500 }, async (_, i) => {
        const name = `n${i}`
        await records.write(setting(records, name))
        const row = await records.readOne(records.query.selectFrom('settings').select('name').where('name', '=', name))
        if (row === undefined) t.fail(`${name} was answered and is not there`)
      }),
    )
    t.same(database.stats(), { writes: 500, queued: 0 })
    await database.ping()
  }
  const commits = checkStore(path).find((finding) => finding.check === 'commits')!
  t.ok(commits.ok)
  t.ok(Number.parseInt(commits.detail, 10) < 100, `500 writes in ${commits.detail}`)
})

void t.test('between two answers the log is synced, and then the commit counter', async (t) => {
  if (!hasProgram(t, 'strace', 'strace')) return
  const path = directory(t)
  const trace = join(path, 'trace')
  const script = join(import.meta.dirname, 'numbered-writer.ts')
  const data = join(path, 'data')
  await run('strace', [
    ...['-f', '-y', '-o', trace, '-e', 'trace=write,fsync,fdatasync'],
    ...[process.execPath, script, data, '20'],
  ])
  // What was synced, one letter each, with an `A` for each answer: only what ended well counts.
  let seen = ''
  let opened = false
  for (const line of readFileSync(trace, 'utf8').split('\n')) {
    if (line.includes('"open\\n"')) opened = true
    if (!opened) continue
    if (/(fsync|fdatasync)\(\d+<[^>]*relevo\.db-wal>/.test(line)) seen += 'W'
    else if (/(fsync|fdatasync)\(\d+<[^>]*relevo\.commits>/.test(line)) seen += 'C'
    else if (/"acked /.test(line)) seen += 'A'
  }
  t.match(seen, /^(W+CA){20}/, seen)
})

void t.test('kill -9 while writing: whatever was answered is there, in every one of 4 kills', async (t) => {
  const path = directory(t)
  const acked = new Set<string>()
  for (let kill = 0; kill < 4; kill++) {
    const enough = 200 + kill * 37
    const writer = endlessWriter(path, `k${kill}`, (count, child) => {
      if (count > enough) child.kill('SIGKILL')
    })
    await writer.ended
    for (const name of writer.acked) acked.add(name)
  }
  await using database = await open(path)
  const there = new Set(await names(new Records(database)))
  t.ok(acked.size >= 800, `${acked.size} answered`)
  t.same(
    [...acked].filter((name) => !there.has(name)),
    [],
  )
})

void t.test('what was asked for before the end is answered, and what is asked for after it is refused', async (t) => {
  const path = directory(t)
  const database = await open(path)
  const records = new Records(database)
  const asked = Array.from({ length: 50 }, (_, i) => records.write(setting(records, `n${i}`)))
  await database[Symbol.asyncDispose]()
  await Promise.all(asked)
  await t.rejects(records.write(setting(records, 'late')), { code: 'store-closed' })
  await using again = await open(path)
  t.equal((await names(new Records(again))).length, 50)
})
