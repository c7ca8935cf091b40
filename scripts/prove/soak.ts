// Steady load with churn for an hour: connections come and go, mail is delivered, deferred, bounced and suppressed, the
// configuration is read again. Memory, descriptors, log, files and rows stay flat: a straight line through the samples may rise by a
// tenth at most. So that the retention (a day at least) has work within the hour, what is settled is made three days older two minutes
// later, in the file, by this command.
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { AS_USUAL, load } from '#world'
import { DaemonRig, DOMAIN } from '../../test/daemon/daemon-rig.ts'
import { Ledger } from './crash/ledger.ts'
import { optionsOf } from './crash/options.ts'
import { loopDelay, type Sample, sample, slopeOf } from './crash/samples.ts'
import { submit } from './crash/submitters.ts'

const MOST_GROWTH = 0.1
/** Below this, growth is noise: MiB for sizes, a handful for descriptors and rows. */
const NOISE: Readonly<Record<string, number>> = {
  rssMiB: 12,
  walMiB: 4,
  fileMiB: 4,
  segmentsMiB: 16,
  descriptors: 8,
  threads: 2,
}
const DAY_MS = 86_400_000

const options = optionsOf('soak.ts', 'steady load with churn; memory, descriptors, log, files and rows stay flat', {
  minutes: [60, 'how long'],
  rate: [50, 'messages a second, about'],
  every: [10, 'seconds between samples'],
  warmup: [6, 'minutes that do not count: caches, heaps and tables fill'],
})
const say = (text: string): void => {
  if (!options.json) console.log(text)
}

const ledger = new Ledger()
await using rig = await DaemonRig.open({
  domains: ['good.test', 'grey.test', 'full.test'],
  good: {
    ...ledger.host(),
    rcpt(session, to) {
      if (to.includes('@full.test')) return '552 5.2.2 mailbox full'
      if (to.includes('gone')) return '550 5.1.1 no such user'
      if (!to.includes('@grey.test') || session.seen.has(to)) return AS_USUAL
      session.seen.add(to)
      return '451 4.7.1 greylisted, come again'
    },
  },
  queue: 'retention_days = 1\ncleanup = "* * * * *"\nsegment_bytes = 4194304',
  delivery: 'retry_after = [5, 10, 20]',
})

const stop = new AbortController()
const submitters = 5
const pauseMs = Math.max(1, (submitters * 1000) / options.rate - 5)
const submitting = submit(
  rig,
  ledger,
  {
    ...{ smtp: 4, http: 1, pauseMs, perConnection: 20 },
    domain: () => {
      const drawn = options.random()
      return drawn < 0.05 ? 'full.test' : drawn < 0.15 ? 'grey.test' : 'good.test'
    },
  },
  stop.signal,
)
// Addresses that bounce and are suppressed; the suppression of some is lifted now and then.
const bouncing = load({
  ...{
    port: rig.ports.trusted,
    sessions: 1,
    signal: stop.signal,
    from: `app@${DOMAIN}`,
    pauseMs: 500,
    perConnection: 10,
  },
  to: (n) => `gone${n % 200}@good.test`,
})

/** Everything older than two minutes becomes three days older, and eight where a week is kept. */
function age(): void {
  using database = {
    of: new Sqlite(join(rig.dataDirectory, 'relevo.db'), { timeout: 10_000 }),
    [Symbol.dispose]() {
      this.of.close()
    },
  }
  const now = Date.now()
  const within = [now - 120_000, now - DAY_MS] as const
  database.of.pragma('synchronous = OFF')
  database.of
    .transaction(() => {
      for (const [table, column, days] of [
        ['messages', 'settled_ms', 3],
        ['events', 'at_ms', 3],
        ['inbound_mail', 'received_ms', 3],
        ['idempotency', 'at_ms', 8],
      ] as const)
        database.of
          .prepare(`UPDATE ${table} SET ${column} = ${column} - ${days * DAY_MS} WHERE ${column} < ? AND ${column} > ?`)
          .run(...within)
    })
    .immediate()
}

const began = performance.now()
const minutes = (): number => (performance.now() - began) / 60_000
const samples: Sample[] = []
const delays: { p999Ms: number; maxMs: number }[] = []
let reloads = 0
for (let tick = 1; minutes() < options.minutes && !options.interrupted(); tick++) {
  await pause(options.every * 1000)
  if (tick % 3 === 0) {
    rig.process?.kill('SIGHUP')
    reloads += 1
    age()
  }
  for (let i = 0; i < 5; i++)
    await rig.api.delete(`/bounces/${encodeURIComponent(`gone${(tick * 5 + i) % 200}@good.test`)}`).catch(() => {})
  const now = sample(rig)
  const delay = await loopDelay(rig)
  if (minutes() >= options.warmup) {
    samples.push(now)
    delays.push(delay)
  }
  rig.output = ''
  if (tick % 6 === 0)
    say(
      `${minutes().toFixed(1)} min, ${ledger.acked.size} acknowledged, ${JSON.stringify(Object.fromEntries(Object.entries(now).map(([name, value]) => [name, Math.round(value * 10) / 10])))}, loop p99.9 ${delay.p999Ms.toFixed(0)} max ${delay.maxMs.toFixed(0)} ms`,
    )
}
stop.abort()
await Promise.all([submitting, bouncing])
const drained = await rig.until(async () => {
  const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
  return ['scheduled', 'ready', 'leased', 'deferred'].every((state) => (queue[state] ?? 0) === 0)
}, 180_000)
const lost = [...ledger.acked].filter((name) => !ledger.taken.has(name) && !name.endsWith('@full.test'))

const series: Record<string, { mean: number; first: number; last: number; growthPercent: number; flat: boolean }> = {}
for (const name of Object.keys(samples[0] ?? {})) {
  const { mean, first, last, growth } = slopeOf(samples.map((one) => one[name]!))
  const rounded = (value: number): number => Math.round(value * 10) / 10
  const flat = growth <= MOST_GROWTH || last - first <= (NOISE[name] ?? 50)
  series[name] = {
    mean: rounded(mean),
    first: rounded(first),
    last: rounded(last),
    growthPercent: rounded(growth * 100),
    flat,
  }
}
const worst = delays.map(({ maxMs }) => maxMs).toSorted((a, b) => b - a)
const result = {
  seed: options.seed,
  minutes: Number(minutes().toFixed(1)),
  samples: samples.length,
  acked: ledger.acked.size,
  taken: ledger.taken.size,
  copies: ledger.copies(),
  lost: lost.length,
  reloads,
  series,
  loopMaxMs: Math.round(worst[0] ?? 0),
  loopMedianOfP999Ms: Math.round(delays.map(({ p999Ms }) => p999Ms).toSorted((a, b) => a - b)[delays.length >> 1] ?? 0),
  drained,
  holds: drained && lost.length === 0 && samples.length > 0 && Object.values(series).every(({ flat }) => flat),
}
console.log(JSON.stringify(result))
process.exitCode = result.holds ? 0 : 1
