import { join } from 'node:path'
import t from 'tap'
import { Records } from '#store'
import { directory, hasProgram, names, open, run } from './store-rig.ts'

// A sync that failed says nothing of what is on the disk, and the next one may succeed without it having been written.
for (const [file, when] of [
  ['relevo.db-wal', '12+'],
  ['relevo.commits', '8+'],
  ['relevo.db-wal', '14'],
  ['relevo.commits', '9'],
] as const)
  void t.test(`a sync of ${file} that fails (${when}) is the last, and what was answered is there`, async (t) => {
    if (!hasProgram(t, 'strace', 'strace')) return
    const path = join(directory(t), 'data')
    const script = join(import.meta.dirname, 'numbered-writer.ts')
    const lines = await run('strace', [
      ...['-f', '-o', '/dev/null', '-P', join(path, file)],
      ...['-e', `inject=fsync,fdatasync:error=EIO:when=${when}`],
      ...[process.execPath, script, path, '30'],
    ])
    const acked = lines.filter((line) => line.startsWith('acked ')).map((line) => line.split(' ')[1]!)
    const refused = lines.filter((line) => line.startsWith('refused '))
    t.ok(acked.length > 0 && acked.length < 30, `${acked.length} answered`)
    t.equal(acked.length + refused.length, 30)
    t.equal(lines.filter((line) => line === 'failed store-failed').length, 1, 'it is told once')
    t.ok(
      refused.every((line) => line.endsWith(' store-failed')),
      'every one from the first failure on',
    )
    t.equal(
      lines.findIndex((line) => line.startsWith('refused ')) > lines.findLastIndex((line) => line.startsWith('acked ')),
      true,
    )
    await using database = await open(path)
    const there = await names(new Records(database))
    t.same(there.slice(0, acked.length), acked)
    t.ok(there.length <= acked.length + 1, 'at most the one that was under way came besides')
  })

void t.test('a checkpoint that cannot sync the database file is told, not passed over', async (t) => {
  if (!hasProgram(t, 'strace', 'strace')) return
  const path = join(directory(t), 'data')
  const script = join(import.meta.dirname, 'numbered-writer.ts')
  const lines = await run('strace', [
    ...['-f', '-o', '/dev/null', '-P', join(path, 'relevo.db')],
    ...['-e', 'inject=fsync,fdatasync:error=EIO:when=6+'],
    ...[process.execPath, script, path, '1200'],
  ])
  const acked = lines.filter((line) => line.startsWith('acked ')).map((line) => line.split(' ')[1]!)
  t.ok(lines.includes('failed store-failed'))
  t.ok(acked.length > 200 && acked.length < 1200, `${acked.length} answered`)
  await using database = await open(path)
  t.same((await names(new Records(database))).slice(0, acked.length), acked)
})
