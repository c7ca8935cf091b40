// CWE-400, CWE-833: a log reader that stops reading, or goes away, must stop nothing but the log. CWE-117 (log injection):
// what remote hosts and clients say stays within its line.
import { fork } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { load } from '#world'
import { DaemonRig, DOMAIN } from '../daemon/daemon-rig.ts'

const CHILD = join(import.meta.dirname, 'logging-child.ts')

async function run(reader: 'none' | 'gone') {
  const child = fork(CHILD, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  const told: unknown[] = []
  child.on('message', (message) => told.push(message))
  const message = () => new Promise((resolve) => child.once('message', resolve))
  child.stdout?.pause()
  if (reader === 'gone') child.stdout?.destroy()
  const report = (await message()) as { tookMs: number; grewMiB: number }
  return { child, report, message }
}

await t.test('20 MB of log that nobody reads cost no wait, a bounded memory, and are counted', async (t) => {
  const { child, report, message } = await run('none')
  t.ok(report.tookMs < 20_000, `${report.tookMs.toFixed(0)} ms`)
  t.ok(report.grewMiB < 100, `${report.grewMiB.toFixed(0)} MiB`)
  let text = ''
  child.stdout?.on('data', (data: Buffer) => {
    text += data.toString()
  })
  child.stdout?.resume()
  await new Promise((resolve) => setTimeout(resolve, 500))
  child.send('go on')
  t.equal(await message(), 'ended')
  const lines = text.trimEnd().split('\n')
  const lost = lines
    .map((line) => JSON.parse(line) as { lost?: number })
    .reduce((sum, line) => sum + (line.lost ?? 0), 0)
  t.ok(lost > 0)
  t.equal(lines.filter((line) => line.includes('"msg":"line"')).length + lost, 100_000, 'written or counted as dropped')
  t.match(text, '"msg":"after"')
  child.kill('SIGKILL')
})

await t.test('a reader that went away ends nothing', async (t) => {
  const { child, message } = await run('gone')
  child.send('go on')
  t.equal(await message(), 'ended')
  child.kill('SIGKILL')
})

await t.test('mail goes on while nobody reads the log, and the end is in time', async (t) => {
  await using rig = await DaemonRig.open()
  rig.process?.stdout?.pause()
  const result = await load({
    port: rig.ports.trusted,
    sessions: 10,
    messages: 800,
    from: `app@${DOMAIN}`,
    to: (n) => `u${n}@good.test`,
  })
  t.ok(result.acked.size >= 800)
  t.ok(await rig.until(() => rig.taken().size >= 800, 40_000), `${rig.taken().size} delivered`)
  const began = performance.now()
  t.equal(await rig.end('SIGTERM'), 0)
  t.ok(performance.now() - began < 10_000)
})
