// Lets one call of the running daemon fail (the n-th write, sync, open, accept, connect …, by strace), or an answer of the DNS,
// under load and one after the other. After a fault of the disk the daemon goes on, is killed, or its disk loses power, so that
// a 250 that was not earned comes out. Nothing acknowledged is lost, nothing bounces because of our own trouble. Needs root.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { DaemonRig } from '../../test/daemon/daemon-rig.ts'
import { CutDisk, moveToOwnMounts } from './crash/cut-disk.ts'
import { type AnswerFault, type CallFault, FAULTS, injected, straceOf, Tracer } from './crash/faults.ts'
import { holds, Ledger, shortened } from './crash/ledger.ts'
import { optionsOf } from './crash/options.ts'
import { submit } from './crash/submitters.ts'

const HAPPENS_WITHIN_MS = 2500
moveToOwnMounts()
const options = optionsOf(
  'fault-injection.ts',
  'one call fails, 500 times; nothing acknowledged is lost, no 250 is wrong',
  {
    points: [500, 'faults that really happened'],
    smtp: [3, 'SMTP submitters'],
    http: [1, 'HTTP submitters, with Idempotency-Key'],
    pause: [20, 'pause of each submitter after each message, ms'],
    minutes: [1000, 'begins no fault after so many minutes'],
  },
)
const say = (text: string): void => {
  if (!options.json) console.log(text)
}
const drawn = <T>(from: readonly T[]): T => from[Math.floor(options.random() * from.length)]!

const directory = mkdtempSync(join(tmpdir(), 'relevo-faults-'))
using _removed = { [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) }
using disk = new CutDisk(directory, 'ext4')
const ledger = new Ledger()
let site = 0
await using rig = await DaemonRig.open({
  good: ledger.host(),
  dataDirectory: join(disk.path, 'data'),
  // Small segments are opened, synced and removed all the time.
  queue: 'segment_bytes = 1048576',
  delivery: 'retry_after = [1, 2]\nconnect_timeout = 5',
  more: '[routing]\nhealth_interval = 5',
})
/** Each fault has a site of its own, so that none rests because of the one before. */
function nextSite(): void {
  site += 1
  rig.dns.set(`mx${site}.test`, { A: ['127.0.0.1'] })
  rig.dns.set(`d${site}.test`, { MX: [[10, `mx${site}.test`]] })
}
nextSite()
const stop = new AbortController()
const submitting = submit(
  rig,
  ledger,
  { smtp: options.smtp, http: options.http, pauseMs: options.pause, domain: () => `d${site}.test` },
  stop.signal,
)

const counts: Record<string, number> = {}
const after: Record<string, number> = {}
const ends: Record<string, number> = {}
const count = (of: Record<string, number>, name: string): void => {
  of[name] = (of[name] ?? 0) + 1
}
const alive = (): boolean => rig.process?.exitCode === null && rig.process.signalCode === null
const taking = async (): Promise<boolean> =>
  alive() && (await rig.api.get<{ ready: boolean }>('/status').catch(() => ({ ready: false }))).ready

async function failAnswer({ fault }: AnswerFault): Promise<number> {
  const asked = rig.dns.queries.length
  rig.dns.fail(fault)
  nextSite()
  await rig.until(() => rig.dns.queries.length > asked, HAPPENS_WITHIN_MS)
  await pause(300)
  rig.dns.fail(null)
  return rig.dns.queries.length - asked
}

async function failRunning(fault: CallFault, args: readonly string[], log: string): Promise<number> {
  await using _tracer = await Tracer.attach(rig.process!.pid!, args)
  nextSite()
  await rig.until(() => injected(log) > 0 || !alive(), HAPPENS_WITHIN_MS)
  await pause(fault.touches === 'disk' ? 100 + options.random() * 300 : 300)
  return injected(log)
}

/** A daemon that starts with a fault either starts all the same or refuses; both harm nothing. */
async function failStarting(args: readonly string[], log: string): Promise<number> {
  await rig.end(drawn(['SIGKILL', 'SIGTERM']))
  // With -D it is strace that becomes the child: signals reach the daemon.
  rig.launch(['strace', '-D', ...args])
  await rig.until(async () => !alive() || (await taking()), 20_000)
  const happened = injected(log)
  count(ends, alive() ? 'started all the same' : 'refused to start')
  await rig.end('SIGKILL')
  return happened
}

let crashes = 0
async function afterwards(fault: CallFault | AnswerFault): Promise<void> {
  if (!alive()) count(ends, `ended with ${rig.process?.exitCode ?? rig.process?.signalCode}`)
  if (rig.output.includes('triggerUncaughtException') || /^ +at .*\n\nNode\.js v/m.test(rig.output)) {
    crashes += 1
    console.error(`crashed: ${rig.output.slice(-3000)}`)
  }
  rig.output = ''
  const touchesDisk = fault.kind === 'call' && fault.touches === 'disk'
  const next = touchesDisk ? drawn(['goes on', 'killed', 'power cut'] as const) : 'goes on'
  count(after, next)
  if (next === 'power cut') {
    await disk.cut()
    await rig.end('SIGKILL')
    await disk.restore()
  } else if (next === 'killed') await rig.end('SIGKILL')
  else if (alive() && !(await taking())) {
    count(ends, 'lives and takes no mail')
    await rig.end('SIGKILL')
  }
  if (!alive()) await rig.start()
}

const began = performance.now()
const minutes = (): number => (performance.now() - began) / 60_000
let points = 0
let tried = 0
while (points < options.points && minutes() < options.minutes && !options.interrupted()) {
  const fault = FAULTS[tried++ % FAULTS.length]!
  let happened: number
  let name: string
  if (fault.kind === 'dns') {
    name = `dns ${fault.fault}`
    happened = await failAnswer(fault)
  } else {
    const error = drawn(fault.errors)
    const log = join(directory, `strace-${tried}`)
    const n = 1 + Math.floor(options.random() * fault.upTo)
    const args = straceOf(fault, error, n, options.random() < 0.5, log, disk.path)
    name = `${fault.call} ${error}${fault.atStart ? ' at start' : ''}`
    happened = fault.atStart ? await failStarting(args, log) : await failRunning(fault, args, log)
    rmSync(log, { force: true })
  }
  if (happened > 0) {
    points += 1
    count(counts, name)
  }
  await afterwards(fault)
  if (tried % 20 === 0)
    say(
      `${points} faults of ${tried} tried, ${ledger.acked.size} acknowledged, ${ledger.copies()} copies, ${minutes().toFixed(1)} min`,
    )
}
await pause(500)
stop.abort()
// A message that was under way in five crashes in a row is held for a person to look at: here it is let go.
const held = (await rig.api.get<{ queue: Record<string, number> }>('/status')).queue.held ?? 0
await rig.api.post('/queue/steer', { action: 'release', filter: {}, reason: 'looked at', limit: 100_000 })
const { httpAcked, httpRepeated, refused } = await submitting
const drained = await rig.until(async () => {
  const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
  return ['scheduled', 'ready', 'leased', 'deferred'].every((state) => (queue[state] ?? 0) === 0)
}, 300_000)
const verdict = await ledger.judge(rig)
const { sent = 0, ...others } = verdict.outcomes
const result = {
  seed: options.seed,
  points,
  tried,
  ...shortened(verdict),
  counts,
  after,
  ends,
  held,
  crashes,
  httpAcked,
  httpRepeated,
  refused: Object.fromEntries(refused),
  minutes: Number(minutes().toFixed(1)),
  drained,
  holds: drained && holds(verdict) && sent > 0 && Object.keys(others).length === 0 && crashes === 0,
}
console.log(JSON.stringify(result))
process.exitCode = result.holds ? 0 : 1
