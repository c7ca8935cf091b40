import { spawn } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '..')
const BIN = join(ROOT, 'node_modules/.bin')

// Each tool by itself, so that a failure names the tool and shows its words.
for (const [what, program, args] of [
  ['the types hold (tsc)', 'tsc', ['--noEmit']],
  ['form and lint hold (biome)', 'biome', ['check', '--error-on-warnings', '--max-diagnostics=50', '.']],
  [
    'no promise is left floating (oxlint)',
    'oxlint',
    ['--type-aware', '--deny-warnings', '--format=unix', 'src', 'test', 'scripts'],
  ],
] as const)
  void t.test(what, async (t) => {
    const { code, output } = await check(program, args)
    if (code !== 0) t.comment(output.slice(-20_000))
    t.equal(code, 0, `${program} ${args.join(' ')}`)
  })

t.setTimeout(170_000)

function check(program: string, args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    // tap has every child load its instruments by NODE_OPTIONS, which these tools do not survive.
    const child = spawn('env', ['-u', 'NODE_OPTIONS', join(BIN, program), ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString()
      })
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, output }))
  })
}
