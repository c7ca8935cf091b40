// Kills the whole daemon (kill -9) again and again under load, and accounts for every message: what was answered 250 or 202
// is taken or ends, once, and what is taken twice is flagged. Random kills come 0.2 to 2 s after it takes mail; aimed ones just
// after a mail host said 250, before that can have been recorded.
import { setTimeout as pause } from 'node:timers/promises'
import { DaemonRig } from '../../test/daemon/daemon-rig.ts'
import { holds, Ledger, shortened } from './crash/ledger.ts'
import { optionsOf } from './crash/options.ts'
import { submit } from './crash/submitters.ts'

const AIMED_WITHIN_MS = 4
const DRAIN_MS = 180_000

const options = optionsOf('kill.ts', 'kill -9 under load; nothing acknowledged is lost, copies are few and flagged', {
  kills: [1000, 'kills at random moments'],
  aimed: [50, 'kills just after a mail host said 250'],
  smtp: [4, 'SMTP submitters'],
  http: [2, 'HTTP submitters, with Idempotency-Key'],
  pause: [55, 'pause of each submitter after each message, ms'],
  minutes: [1000, 'begins no kill after so many minutes'],
})
const say = (text: string): void => {
  if (!options.json) console.log(text)
}

const ledger = new Ledger()
let aim: (() => void) | null = null
await using rig = await DaemonRig.open({ good: ledger.host(() => aim?.()) })
const stop = new AbortController()
const submitting = submit(rig, ledger, { smtp: options.smtp, http: options.http, pauseMs: options.pause }, stop.signal)
const began = performance.now()
const minutes = (): number => (performance.now() - began) / 60_000
const starts: number[] = []
const kills = { random: 0, aimed: 0 }

async function restart(): Promise<void> {
  const from = performance.now()
  await rig.start()
  starts.push(performance.now() - from)
}

async function randomKill(): Promise<void> {
  await pause(200 + options.random() * 1800)
  await rig.end('SIGKILL')
  kills.random += 1
  await restart()
}

async function aimedKill(): Promise<void> {
  await pause(100 + options.random() * 200)
  await new Promise<void>((resolve) => {
    aim = () => {
      aim = null
      setTimeout(resolve, options.random() * AIMED_WITHIN_MS)
    }
  })
  await rig.end('SIGKILL')
  kills.aimed += 1
  await restart()
}

for (const [part, wanted, kill] of [
  ['random', options.kills, randomKill],
  ['aimed', options.aimed, aimedKill],
] as const) {
  ledger.part = part
  // Aimed kills are the shorter part: a limit in minutes cuts the random ones so that there is time for both.
  const untilMinutes = part === 'random' ? options.minutes * 0.95 : options.minutes
  while (kills[part] < wanted && minutes() < untilMinutes && !options.interrupted()) {
    await kill()
    if (kills[part] % 20 === 0)
      say(
        `${kills[part]} ${part} kills, ${ledger.acked.size} acknowledged, ${ledger.copies()} copies, ${minutes().toFixed(1)} min`,
      )
  }
}
await pause(500)
stop.abort()
const { httpAcked, httpRepeated, refused } = await submitting
const drained = await rig.until(async () => {
  const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
  return ['scheduled', 'ready', 'leased', 'deferred'].every((state) => (queue[state] ?? 0) === 0)
}, DRAIN_MS)
const verdict = await ledger.judge(rig)
const result = {
  seed: options.seed,
  kills,
  ...shortened(verdict),
  copiesPerRandomKill: Number(((verdict.copiesByPart.random ?? 0) / Math.max(1, kills.random)).toFixed(3)),
  copiesPerAimedKill: Number(((verdict.copiesByPart.aimed ?? 0) / Math.max(1, kills.aimed)).toFixed(3)),
  httpAcked,
  httpRepeated,
  refused: Object.fromEntries(refused),
  medianStartMs: Math.round(starts.toSorted((a, b) => a - b)[Math.floor(starts.length / 2)] ?? 0),
  minutes: Number(minutes().toFixed(1)),
  drained,
  holds: drained && holds(verdict),
}
console.log(JSON.stringify(result))
process.exitCode = result.holds ? 0 : 1
