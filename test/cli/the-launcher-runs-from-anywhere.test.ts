import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import t from 'tap'
import { tempDir } from '#world'
import { LAUNCHER, spawned } from './at-the-command-line.ts'

void t.test('from another directory, through symlinks, and it stays there', async (t) => {
  await using room = await tempDir()
  await mkdir(room.join('bin'))
  await symlink(LAUNCHER, room.join('bin/relevo-0.1'))
  await symlink('relevo-0.1', room.join('bin/relevo'))
  await writeFile(room.join('own.toml'), 'mode = "sandbox"\n')
  const seen = await spawned(room.join('bin/relevo'), ['config', 'check', '--config', 'own.toml', '--json'], {
    cwd: room.path,
  })
  t.equal(seen.stderr, '')
  t.strictSame(JSON.parse(seen.stdout), { ok: true, mode: 'sandbox', files: [room.join('own.toml')] })
  t.equal(seen.code, 0)
})

void t.test('a checkout without its runtime says so in one line, with the remedy', async (t) => {
  await using room = await tempDir()
  await mkdir(room.join('scripts'))
  await copyFile(LAUNCHER, room.join('scripts/relevo'))
  const seen = await spawned(room.join('scripts/relevo'), ['--help'])
  t.equal(seen.code, 71)
  t.equal(seen.stdout, '')
  t.match(
    seen.stderr,
    new RegExp(`^relevo: the runtime .* is missing; run: cd ${room.path} && npm ci --ignore-scripts\n$`),
  )
})

void t.test(
  'the thread pool has a thread a core and four at least, unless told otherwise, and arguments stay whole',
  async (t) => {
    await using room = await tempDir()
    const arch = process.arch === 'arm64' ? 'arm64' : 'x64'
    const bin = room.join('node_modules', `node-linux-${arch}`, 'bin')
    await mkdir(bin, { recursive: true })
    await mkdir(room.join('scripts'))
    await copyFile(LAUNCHER, room.join('scripts/relevo'))
    await writeFile(`${bin}/node`, '#!/bin/sh\necho "$UV_THREADPOOL_SIZE $#"\n')
    await chmod(`${bin}/node`, 0o755)
    const { UV_THREADPOOL_SIZE: _, ...env } = process.env
    const seen = await spawned(room.join('scripts/relevo'), ['a b', 'c'], { env })
    t.equal(seen.stdout, `${Math.max(4, availableParallelism())} 4\n`)
    const told = await spawned(room.join('scripts/relevo'), [], { env: { ...env, UV_THREADPOOL_SIZE: '2' } })
    t.equal(told.stdout, '2 2\n')
  },
)
