import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { tempDir } from '#world'
import { spawned } from '../cli/at-the-command-line.ts'

const SCRIPTS = join(import.meta.dirname, '../../scripts')

/** What a script asks npm for in a checkout that has these programs installed, its lock older or newer than that. */
async function askedOfNpm(script: string, installed: readonly string[], lockIsNewer: boolean): Promise<string> {
  await using room = await tempDir()
  const bin = room.join('node_modules/.bin')
  mkdirSync(bin, { recursive: true })
  mkdirSync(room.join('scripts'))
  mkdirSync(room.join('path'))
  copyFileSync(join(SCRIPTS, script), room.join('scripts', script))
  const runtime = room.join(`node_modules/node-linux-${process.arch === 'arm64' ? 'arm64' : 'x64'}/bin`)
  mkdirSync(runtime, { recursive: true })
  for (const [path, text] of [
    [join(runtime, 'node'), 'exit 3'],
    [room.join('path/npm'), `[ "$1" = --version ] && echo 10.0.0 && exit; echo "$*" >>"${room.path}/asked"; exit 1`],
    ...installed.map((name) => [join(bin, name), 'exit 3'] as const),
  ] as const) {
    writeFileSync(path, `#!/bin/sh\n${text}\n`)
    chmodSync(path, 0o755)
  }
  writeFileSync(room.join('asked'), '')
  const files = [room.join('node_modules/.package-lock.json'), room.join('package-lock.json')]
  for (const file of lockIsNewer ? files : files.reverse()) {
    writeFileSync(file, '')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const seen = await spawned(room.join('scripts', script), [], { env: { PATH: `${room.path}/path:/usr/bin:/bin` } })
  if (seen.code === 0) throw new Error('it went on without npm')
  return readFileSync(room.join('asked'), 'utf8')
}

void t.test('after the quick start the tests install what only they need', async (t) => {
  t.match(await askedOfNpm('test.sh', [], false), /^ci --ignore-scripts /)
  t.equal(await askedOfNpm('test.sh', ['tap'], false), '')
})

void t.test('the quick start leaves out what only tests need, and takes none of it away', async (t) => {
  t.match(await askedOfNpm('quickstart.sh', [], true), /^ci --omit=dev /)
  t.match(await askedOfNpm('quickstart.sh', ['tap'], true), /^ci --ignore-scripts /)
})
