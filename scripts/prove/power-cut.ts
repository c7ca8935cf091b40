// Cuts the power of the disk under the running daemon again and again, under load: its data lies on a file system of its own (ext4,
// then xfs), which is shut down without flushing anything; then it is mounted anew and the daemon started. Whatever was answered
// 250 or 202 is there. What a disk itself keeps in a cache that it claims to have written is not simulated. Needs root.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { DaemonRig } from '../../test/daemon/daemon-rig.ts'
import { CutDisk, moveToOwnMounts } from './crash/cut-disk.ts'
import { holds, Ledger, shortened } from './crash/ledger.ts'
import { optionsOf } from './crash/options.ts'
import { submit } from './crash/submitters.ts'

const ENDS_WITHIN_MS = 3000
moveToOwnMounts()
const options = optionsOf('power-cut.ts', 'the disk loses its power under load; nothing acknowledged is lost', {
  cuts: [100, 'cuts on each file system'],
  smtp: [4, 'SMTP submitters'],
  http: [2, 'HTTP submitters, with Idempotency-Key'],
  pause: [20, 'pause of each submitter after each message, ms'],
  minutes: [1000, 'begins no cut after so many minutes on a file system'],
})
const say = (text: string): void => {
  if (!options.json) console.log(text)
}

async function prove(fileSystem: 'ext4' | 'xfs'): Promise<Record<string, unknown> & { holds: boolean }> {
  const directory = mkdtempSync(join(tmpdir(), `relevo-cut-${fileSystem}-`))
  using _removed = { [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) }
  using disk = new CutDisk(directory, fileSystem)
  const ledger = new Ledger()
  ledger.part = 'cuts'
  await using rig = await DaemonRig.open({ good: ledger.host(), dataDirectory: join(disk.path, 'data') })
  const stop = new AbortController()
  const submitting = submit(
    rig,
    ledger,
    { smtp: options.smtp, http: options.http, pauseMs: options.pause },
    stop.signal,
  )
  const began = performance.now()
  const minutes = (): number => (performance.now() - began) / 60_000
  let cuts = 0
  let endedItself = 0
  while (cuts < options.cuts && minutes() < options.minutes && !options.interrupted()) {
    await pause(200 + options.random() * 1800)
    await disk.cut()
    const { process: daemon } = rig
    if (await rig.until(() => daemon?.exitCode !== null, ENDS_WITHIN_MS)) endedItself += 1
    else await rig.end('SIGKILL')
    await disk.restore()
    cuts += 1
    await rig.start()
    if (cuts % 10 === 0)
      say(
        `${fileSystem}: ${cuts} cuts, ${ledger.acked.size} acknowledged, ${ledger.copies()} copies, ${minutes().toFixed(1)} min`,
      )
  }
  await pause(500)
  stop.abort()
  const { httpAcked, httpRepeated, refused } = await submitting
  const drained = await rig.until(async () => {
    const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
    return ['scheduled', 'ready', 'leased', 'deferred'].every((state) => (queue[state] ?? 0) === 0)
  }, 180_000)
  const verdict = await ledger.judge(rig)
  return {
    fileSystem,
    seed: options.seed,
    cuts,
    endedItself,
    ...shortened(verdict),
    httpAcked,
    httpRepeated,
    refused: Object.fromEntries(refused),
    minutes: Number(minutes().toFixed(1)),
    drained,
    holds: drained && holds(verdict),
  }
}

const results = []
for (const fileSystem of ['ext4', 'xfs'] as const) {
  const result = await prove(fileSystem)
  if (!options.json) console.log(JSON.stringify(result))
  results.push(result)
}
console.log(JSON.stringify({ fileSystems: results, holds: results.every((result) => result.holds) }))
process.exitCode = results.every((result) => result.holds) ? 0 : 1
