import { spawn } from 'node:child_process'
import { access, copyFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { tempDir } from '#world'

const ROOT = join(import.meta.dirname, '..')
/** What Debian 12 has: it would build from source whatever declares a build, so every script installs without scripts. */
const NPM = 'npm@9.2.0'

t.setTimeout(170_000)

void t.test(`npm ci --ignore-scripts works with ${NPM}`, async (t) => {
  await using room = await tempDir()
  const fetched = await ran(['npm', 'pack', NPM, '--pack-destination', room.path], room.path)
  if (fetched.code !== 0) {
    t.comment(`left out: ${NPM} (remedy: a network that reaches the npm registry)`)
    t.not(process.env.RELEVO_TEST_ALL, '1', `with --all nothing may be left out: ${fetched.output.slice(-500)}`)
    return
  }
  const unpacked = await ran(['tar', '-xzf', room.join('npm-9.2.0.tgz')], room.path)
  t.equal(unpacked.code, 0, unpacked.output)
  await mkdir(room.join('project'))
  for (const name of ['package.json', 'package-lock.json']) await copyFile(join(ROOT, name), room.join('project', name))
  const cli = room.join('package/bin/npm-cli.js')
  const installed = await ran(
    [process.execPath, cli, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'],
    room.join('project'),
  )
  t.equal(installed.code, 0, installed.output.slice(-2000))
  const { dependencies, optionalDependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
    optionalDependencies: Record<string, string>
  }
  for (const name of Object.keys(dependencies))
    await t.resolves(access(room.join('project/node_modules', name, 'package.json')), name)
  const runtime = Object.keys(optionalDependencies).find((name) => name === `node-linux-${process.arch}`)
  t.ok(runtime, 'there is a runtime for this machine')
  const node = room.join('project/node_modules', runtime ?? '', 'bin/node')
  const version = await ran([node, '--version'], room.path)
  t.equal(version.output.trim(), `v${optionalDependencies[runtime ?? '']}`)
  const sqlite = `new (require('better-sqlite3'))(':memory:').prepare('select 1').get()`
  const opened = await ran([node, '-e', sqlite], room.join('project'))
  t.equal(opened.code, 0, `the prebuilt better-sqlite3 loads: ${opened.output}`)
})

/** A command without tap's instruments, which its children would load by NODE_OPTIONS. */
function ran(command: readonly string[], cwd: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('env', ['-u', 'NODE_OPTIONS', ...command], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString()
      })
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, output }))
  })
}
