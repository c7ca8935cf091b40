import { connect } from 'node:net'
import { parseArgs } from 'node:util'
import { Default } from 'typebox/value'
import { newId, systemClock } from '#base'
import { type Config, ConfigSchema } from '#config'
import { type NewMessage, queueWorker, SqliteQueueStore } from '#queue'
import { openDatabase } from '#store'
import { suppressionWorker } from '#suppression'
import { ControlGroup } from './cgroup.ts'
import { type Case, SENDER } from './contract.ts'
import { Ground } from './ground.ts'
import { RelevoSubject } from './relevo.ts'

const HELP = `usage: scripts/bench queue [--queued N] [--messages N] [--json]

What a long queue costs: the rate with an empty queue, then N recipients are queued (half for tomorrow, half for hosts that never
answer), Relevo is started on them, and the same load runs again while urgent messages are sent and timed. The last line is
{"queued","startSeconds","peakMiB","emptyPerSec","perSec","share","urgentP99Ms"}.

  --queued N     recipients in the queue (default 1000000)
  --messages N   messages of the load (default 6000)
`
const { values } = parseArgs({
  options: {
    queued: { type: 'string', default: '1000000' },
    messages: { type: 'string', default: '6000' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}
const queued = Number(values.queued)
const DAY_MS = 86_400_000
const PER_MESSAGE = 10
const say = (text: string): void => {
  if (!values.json) process.stdout.write(`${text}\n`)
}

await using ground = await Ground.open()
const subject = new RelevoSubject(ground.directory)
const group = new ControlGroup('queue')
const at = { host: '127.0.0.1', port: subject.plainPort }
const load: Case = {
  name: 'queue',
  messages: Number(values.messages),
  bytes: 4096,
  domains: 200,
  sessions: 50,
  onePerConnection: false,
}
try {
  await subject.start(group.path)
  await ground.measure({ ...load, messages: 500 }, at)
  const empty = await ground.measure(load, at)
  const emptyPerSec = Math.round((load.messages / empty.ms) * 1000)
  say(`${emptyPerSec} messages a second with an empty queue`)
  await subject.stop()
  await fill(subject.directory)

  group.watchMemory()
  const began = performance.now()
  await subject.startAgain(group.path)
  const startSeconds = Number(((performance.now() - began) / 1000).toFixed(1))
  say(`started on ${queued} queued recipients in ${startSeconds} s`)
  await ground.measure({ ...load, messages: 500 }, at)
  const urgent = sendUrgent()
  const full = await ground.measure(load, at)
  const urgentP99Ms = await urgent.stop()
  const perSec = Math.round((load.messages / full.ms) * 1000)
  const peakMiB = Math.round(group.peakMemory())
  say(`${perSec} messages a second beside them, urgent ones within ${urgentP99Ms} ms (p99), peak ${peakMiB} MiB`)
  await subject.stop()
  const share = Number((perSec / emptyPerSec).toFixed(2))
  process.stdout.write(
    `${JSON.stringify({ queued, startSeconds, peakMiB, emptyPerSec, perSec, share, urgentP99Ms })}\n`,
  )
} finally {
  await subject.stop().catch(() => {})
  await group.end()
}

/** Puts the queue into the store itself: by SMTP it would take an hour. */
async function fill(directory: string): Promise<void> {
  const config = Default(ConfigSchema, {}) as Config
  await using database = await openDatabase({ directory, modules: [queueWorker(config.queue), suppressionWorker] })
  const store = new SqliteQueueStore(database)
  const messages = Math.ceil(queued / PER_MESSAGE)
  for (let from = 0; from < messages; from += 1000) {
    await Promise.all(
      Array.from({ length: Math.min(1000, messages - from) }, (_, i) => store.accept(newsletter(from + i), [])),
    )
    if (from % 20_000 === 0) say(`queued ${from * PER_MESSAGE} of ${queued}`)
  }
}

function newsletter(number: number): NewMessage {
  const acceptedMs = systemClock.now()
  const id = newId(acceptedMs)
  return {
    ...{ id, acceptedMs, expiresMs: acceptedMs + 4 * DAY_MS, sendingDomain: SENDER, reversePath: `app@${SENDER}` },
    ...{ headerFrom: `app@${SENDER}`, messageIdHeader: `<${id}@${SENDER}>`, subject: 'newsletter', priority: 'low' },
    ...{
      content: Buffer.from(`From: app@${SENDER}\r\nSubject: newsletter\r\n\r\nnews ${number}\r\n`),
      submitter: 'bench',
    },
    ...(number % 2 === 0 ? { notBeforeMs: acceptedMs + DAY_MS } : {}),
    ...{ sandbox: false, smtpUtf8: false, tags: [], metadata: {} },
    recipients: Array.from({ length: PER_MESSAGE }, (_, n) => {
      const domain = `d${(number * PER_MESSAGE + n) % 5000}.silent.test`
      return { address: `u${number}-${n}@${domain}`, domain }
    }),
  } as NewMessage
}

/** One urgent message after the other, each timed from its first byte to the mail host. */
function sendUrgent(): { stop(): Promise<number> } {
  const took: number[] = []
  let stopped = false
  let arrived: (() => void) | null = null
  ground.onUrgent(() => arrived?.())
  const sending = (async () => {
    for (let n = 1; !stopped; n++) {
      const began = performance.now()
      const there = new Promise<void>((resolve) => {
        arrived = resolve
      })
      await submit(n)
      await there
      took.push(performance.now() - began)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  return {
    async stop() {
      stopped = true
      await sending
      took.sort((a, b) => a - b)
      return Math.round(took[Math.min(took.length - 1, Math.floor(took.length * 0.99))] ?? Number.NaN)
    },
  }
}

function submit(n: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(at)
    let text = ''
    let step = 0
    const steps = [
      'EHLO bench.test\r\n',
      `MAIL FROM:<app@${SENDER}>\r\n`,
      `RCPT TO:<urgent${n}@d1.test>\r\n`,
      'DATA\r\n',
      `From: app@${SENDER}\r\nTo: urgent@d1.test\r\nSubject: urgent\r\nX-Relevo-Priority: urgent\r\nX-Bench: -${n}\r\n\r\nnow\r\n.\r\n`,
      'QUIT\r\n',
    ]
    socket.on('error', reject)
    socket.on('close', () => resolve())
    socket.on('data', (data: Buffer) => {
      text += data.toString('latin1')
      if (!/^\d{3} .*\r\n$/m.test(text.split('\r\n').slice(-2).join('\r\n'))) return
      if (/^[45]/.test(text)) {
        socket.destroy(new Error(text.trim()))
        return
      }
      text = ''
      const next = steps[step++]
      if (next !== undefined) socket.write(next)
    })
  })
}
