import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Records } from '#store'
import { directory, endlessWriter, names, open } from './store-rig.ts'

void t.test('in the same process and from another one, at once, with the process named', async (t) => {
  const path = directory(t)
  {
    await using _database = await open(path)
    await t.rejects(open(path), {
      code: 'second-instance',
      exitCode: 75,
      message: new RegExp(`process ${process.pid}\\)`),
    })
    await t.rejects(open(path), { code: 'second-instance' }, 'refusing one does not give the lock away')
  }
  let killed = false
  const { child, acked, ended } = endlessWriter(path, 'w', (count, child) => {
    if (count < 20 || killed) return
    killed = true
    void t
      .rejects(open(path), { code: 'second-instance', message: new RegExp(`process ${child.pid}\\)`) })
      .finally(() => child.kill('SIGKILL'))
  })
  await ended
  t.ok(killed, `process ${child.pid} wrote`)
  await using database = await open(path)
  const there = new Set(await names(new Records(database)))
  t.same(
    [...acked].filter((name) => !there.has(name)),
    [],
    'after kill -9 the lock is free and nothing is lost',
  )
})

void t.test('a refusal is told once: it is not also reported as a failed store', async (t) => {
  const path = directory(t)
  await using _database = await open(path)
  const told: unknown[] = []
  await t.rejects(open(path, { onFailure: (error) => told.push(error) }), { code: 'second-instance' })
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.same(told, [])
})

void t.test('a lock file that is something else is not taken for another instance', async (t) => {
  const path = directory(t)
  writeFileSync(join(path, 'relevo.lock'), 'not a lock file '.repeat(100))
  await t.rejects(open(path), { code: 'damaged-store', message: /relevo\.lock/, remedy: /remove/ })
})
