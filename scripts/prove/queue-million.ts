// queue-million.ts [RECIPIENTS] [PER_MESSAGE]: what a queue of a million costs. Fills a store, opens it anew in a process
// of its own, and prints as lines of JSON: how long the schedule takes to be rebuilt and what memory it needs, how long
// look-ups take, and how fast urgent mail passes the rest.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Default } from 'typebox/value'
import { newId, silentLog, systemClock } from '#base'
import { type Config, ConfigSchema } from '#config'
import { type NewMessage, type Priority, Queue, type QueueFilter, queueWorker, SqliteQueueStore } from '#queue'
import { openDatabase } from '#store'
import { tempDir } from '#world'
import { ownHelp } from './own-help.ts'

ownHelp(import.meta.filename, process.argv)

const config = { ...(Default(ConfigSchema, {}) as Config).queue, min_free_bytes: 0 }
const clock = systemClock
const DOMAINS = 5000
const PAGE = 100
const TAKEN = 500

if (process.send) await look(process.argv[2]!)
else await fill(Number(process.argv[2] ?? 1_000_000), Number(process.argv[3] ?? 10))

function message(number: number, recipients: number, priority: Priority): NewMessage {
  const acceptedMs = clock.now()
  const id = newId(acceptedMs)
  const domain = (n: number): string => `d${n % DOMAINS}.example`
  return {
    ...{ id, acceptedMs, expiresMs: acceptedMs + 345_600_000, sendingDomain: `sender${number % 20}.example` },
    ...{ reversePath: 'app@sender.example', headerFrom: 'app@sender.example', messageIdHeader: `<${id}@x>` },
    ...{ content: new Uint8Array(1024).fill(0x61), subject: 'prove', priority, submitter: 'smtp:app' },
    // A third waits for a time.
    ...(number % 3 === 0 ? { notBeforeMs: acceptedMs + 3_600_000 } : {}),
    ...{ sandbox: false, smtpUtf8: false, tags: [], metadata: {}, campaign: `c${number % 100}` },
    recipients: Array.from({ length: recipients }, (_, i) => {
      const n = number * recipients + i
      return { address: `user${n}@${domain(n)}`, domain: domain(n) }
    }),
  }
}

async function fill(recipients: number, perMessage: number): Promise<void> {
  await using directory = await tempDir()
  {
    await using database = await openDatabase({ directory: directory.path, modules: [queueWorker(config)] })
    const store = new SqliteQueueStore(database)
    const messages = Math.ceil(recipients / perMessage)
    const startMs = clock.monotonicMs()
    for (let from = 0; from < messages; from += 1000)
      await Promise.all(
        Array.from({ length: Math.min(1000, messages - from) }, (_, i) =>
          store.accept(message(from + i, perMessage, 'low'), []),
        ),
      )
    const seconds = (clock.monotonicMs() - startMs) / 1000
    print({ recipients, messages, acceptedPerSec: Math.round(recipients / seconds) })
  }
  const child = fork(import.meta.filename, [directory.path])
  const [code] = (await once(child, 'exit')) as [number]
  if (code !== 0) throw new Error(`it ended with ${code}`)
}

async function look(directory: string): Promise<void> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const opening = clock.monotonicMs()
  await using database = await openDatabase({ directory, modules: [queueWorker(config)] })
  await database.ping()
  const openMs = since(opening)
  collect()
  const before = process.memoryUsage()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const rebuilding = clock.monotonicMs()
  const store = new SqliteQueueStore(database)
  await using queue = await Queue.open({ store, config, directory, owner: 'prove', clock, log: silentLog })
  const rebuildMs = since(rebuilding)
  delay.disable()
  collect()
  const after = process.memoryUsage()
  print({
    ...{ openMs, rebuildMs, loopDelayMaxMs: Math.round(delay.max / 1e6) },
    scheduleMiB: mebibytes(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers),
    rssMiB: mebibytes(after.rss),
  })

  const { rows } = await queue.list({}, null, 1)
  const last = rows[0]!
  const middle = String(Math.floor(last.recipient.key / 2))
  const filters: Readonly<Record<string, QueueFilter>> = {
    all: {},
    ready: { states: ['ready'] },
    failed: { states: ['bounced', 'expired'] },
    sent: { states: ['sent'] },
    held: { states: ['held'] },
    recipient: { recipient: last.recipient.address },
    message: { messageId: last.id },
    domain: { domain: last.recipient.domain },
    sendingDomain: { sendingDomain: last.sendingDomain },
    unknownSendingDomain: { sendingDomain: 'unknown.example' },
    campaign: { campaign: last.campaign! },
    unknownCampaign: { campaign: 'unknown' },
    priority: { priority: 'urgent' },
    before: { acceptedBeforeMs: last.acceptedMs - 86_400_000 },
  }
  for (const [list, filter] of Object.entries(filters)) {
    const firstMs = await took(() => queue.list(filter, null, PAGE))
    const middleMs = await took(() => queue.list(filter, middle, PAGE))
    print({ list, firstMs, middleMs })
  }
  print({ countsMs: await took(() => queue.counts()) })
  const options = { dryRun: true, limit: 10_000 }
  print({ steerDryRunMs: await took(() => queue.steer('hold', { domain: last.recipient.domain }, 'prove', options)) })

  const offering = clock.monotonicMs()
  for (let n = 0; n < 100_000; n++) queue.nextDestination()
  print({ offerMicroseconds: Number(((clock.monotonicMs() - offering) / 100).toFixed(2)) })
  const waits: number[] = []
  for (let n = 1; n <= TAKEN; n++) {
    const urgent = { ...message(n * 3 + 1, 1, 'urgent') }
    const startMs = clock.monotonicMs()
    await queue.accept(urgent, [])
    const next = queue.nextDestination()
    const [claim] = await queue.claim(next!.domain)
    if (claim?.message.id !== urgent.id) throw new Error('urgent mail waits behind the rest')
    waits.push(clock.monotonicMs() - startMs)
  }
  waits.sort((a, b) => a - b)
  const at = (share: number): number => Number(waits[Math.floor((TAKEN - 1) * share)]!.toFixed(1))
  print({ urgentAcceptedAndClaimedMs: { p50: at(0.5), p99: at(0.99) } })
}

/** The best of three: what it costs, not what else the machine did. */
async function took(run: () => Promise<unknown>): Promise<number> {
  let best = Number.POSITIVE_INFINITY
  for (let n = 0; n < 3; n++) {
    const startMs = clock.monotonicMs()
    await run()
    best = Math.min(best, clock.monotonicMs() - startMs)
  }
  return Number(best.toFixed(1))
}

function since(startMs: number): number {
  return Math.round(clock.monotonicMs() - startMs)
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1_048_576)
}

function print(figures: unknown): void {
  console.log(JSON.stringify(figures))
}
