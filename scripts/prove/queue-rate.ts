// queue-rate.ts [MESSAGES]: what the queue does in a second, each step durable before it is answered.
// Accepts messages of 4 KiB and of 64 KiB from 50 callers at once, then leases and settles them with 50 lanes, each
// settling what it had and leasing its next in one turn. One line of JSON for each size.
import { Default } from 'typebox/value'
import { newId, silentLog, systemClock } from '#base'
import { type Config, ConfigSchema } from '#config'
import { type Claim, type NewEvent, Queue, queueWorker, type Settlement, SqliteQueueStore } from '#queue'
import { openDatabase } from '#store'
import { tempDir } from '#world'
import { ownHelp } from './own-help.ts'

ownHelp(import.meta.filename, process.argv)

const CALLERS = 50
const DOMAINS = 50
const config = (Default(ConfigSchema, {}) as Config).queue
const clock = systemClock

for (const [bytes, messages] of [
  [4096, Number(process.argv[2] ?? 20_000)],
  [65_536, Math.ceil(Number(process.argv[2] ?? 20_000) / 5)],
] as const)
  await measure(bytes, messages)

async function measure(bytes: number, messages: number): Promise<void> {
  await using directory = await tempDir()
  await using database = await openDatabase({ directory: directory.path, modules: [queueWorker(config)] })
  const store = new SqliteQueueStore(database)
  await using queue = await Queue.open({
    store,
    config,
    directory: directory.path,
    owner: 'prove',
    clock,
    log: silentLog,
  })
  // As intake makes it: one buffer for each message, joined from its parts.
  const head = Buffer.from('Subject: prove\r\n\r\n')
  const filler = Buffer.alloc(bytes - head.length, 'abcdefghijklmnopqrstuvwxyz0123456789\r\n')
  let left = messages
  const accept = async (): Promise<void> => {
    while (left > 0) {
      const domain = `d${left-- % DOMAINS}.example`
      const acceptedMs = clock.now()
      const id = newId(acceptedMs)
      const recipient = `user${left}@${domain}`
      await queue.accept(
        {
          ...{ id, acceptedMs, expiresMs: acceptedMs + 345_600_000, sendingDomain: 'sender.example' },
          ...{ reversePath: 'app@sender.example', headerFrom: 'app@sender.example', messageIdHeader: `<${id}@x>` },
          ...{ content: Buffer.concat([head, filler]), subject: 'prove', priority: 'normal', submitter: 'smtp:app' },
          ...{ sandbox: false, smtpUtf8: false, tags: [], metadata: {}, recipients: [{ address: recipient, domain }] },
        },
        [event(id, recipient, 'queued')],
      )
    }
  }
  const acceptCpu = process.cpuUsage()
  const acceptSeconds = await seconds(() => Promise.all(Array.from({ length: CALLERS }, accept)))
  const { user, system } = process.cpuUsage(acceptCpu)

  let settled = 0
  const lane = async (_: unknown, number: number): Promise<void> => {
    let former: Claim | undefined
    for (;;) {
      const settling = former === undefined ? undefined : queue.settle([sent(former)])
      const [[next]] = await Promise.all([queue.claim(`d${number}.example`), settling])
      if (former !== undefined) settled += 1
      if (next === undefined) return
      former = next
    }
  }
  const settleSeconds = await seconds(() => Promise.all(Array.from({ length: DOMAINS }, lane)))
  const figures = {
    ...{ bytes, messages, acceptPerSec: Math.round(messages / acceptSeconds) },
    acceptCpuSecondsPer1000: Number((((user + system) / 1e6 / messages) * 1000).toFixed(3)),
    claimAndSettlePerSec: Math.round(settled / settleSeconds),
    sent: (await queue.counts()).sent,
    rssMiB: Math.round(process.memoryUsage.rss() / 1_048_576),
  }
  console.log(JSON.stringify(figures))
}

async function seconds(run: () => Promise<unknown>): Promise<number> {
  const startMs = clock.monotonicMs()
  await run()
  return (clock.monotonicMs() - startMs) / 1000
}

function event(messageId: string, recipient: string, type: string): NewEvent {
  const atMs = clock.now()
  const about = { messageId, recipient, recipientKey: null, provider: null, class: null, status: null }
  return { id: newId(atMs), atMs, type, ...about, detail: {} }
}

function sent({ message, recipients }: Claim): Settlement {
  const { key, fence, address } = recipients[0]!
  const atMs = clock.now()
  return {
    ...{ messageId: message.id, key, fence, to: 'sent', atMs, reason: 'ok', countsAsAttempt: false, ambiguous: false },
    attempt: {
      ...{ startedMs: atMs, endedMs: atMs, provider: 'own', source: '192.0.2.1', stage: 'dot', transcript: null },
      ...{ remoteHost: 'mx.example', remoteAddress: '192.0.2.2', tls: '', replyCode: 250, enhanced: '2.0.0' },
      ...{ reply: '250 2.0.0 ok', class: 'ok' },
    },
    ...{ events: [event(message.id, address, 'sent')], suppressions: [], counters: [], spawn: null },
  }
}
