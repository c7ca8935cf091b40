// How fast the delivery room empties a queue: `node scripts/prove/delivery-rate.ts [messages]`.
// A sink in a process of its own takes the mail; messages of 4 KiB are queued first, then delivery starts, RSA-2048 signing on.
// One line of JSON for each number of domains: messages a second, and CPU seconds for 1,000 messages (delivery and store).
import { fork } from 'node:child_process'
import { join } from 'node:path'
import { Default } from 'typebox/value'
import { newId, silentLog, systemClock } from '#base'
import { type Config, ConfigSchema } from '#config'
import {
  Carrier,
  ContentGate,
  type Destination,
  type Destinations,
  Dispatcher,
  openSink,
  Pool,
  Signer,
} from '#delivery'
import { loadReplyRules, makeConcluder } from '#feedback'
import { generateDkimKey, loadDkimKey } from '#mail'
import { type NewEvent, Queue, queueWorker, SqliteQueueStore } from '#queue'
import { openDatabase, Records } from '#store'
import { SuppressionList, suppressionWorker } from '#suppression'
import { tempDir } from '#world'
import { ownHelp } from './own-help.ts'

ownHelp(import.meta.filename, process.argv)

const MESSAGES = Number(process.argv[2] ?? 5000)
const BYTES = 4096
const algorithm = 'rsa-sha256'

if (process.send) await serveSink()
else for (const domains of [1, 200]) await measure(domains)

async function serveSink(): Promise<void> {
  const sink = await openSink({
    listen: { host: '127.0.0.1', port: 0 },
    hostname: 'sink.test',
    clock: systemClock,
    log: silentLog,
  })
  process.send!(sink.address.port)
  process.once('disconnect', () => void sink[Symbol.asyncDispose]())
}

async function measure(domains: number): Promise<void> {
  const child = fork(import.meta.filename)
  const port = await new Promise<number>((resolve) => {
    child.once('message', (message) => resolve(message as number))
  })
  await using directory = await tempDir()
  const defaults = Default(ConfigSchema, {}) as Config
  const config = { ...defaults.delivery, port, allow_networks: ['127.0.0.0/8'] }
  const clock = systemClock
  await using database = await openDatabase({
    directory: directory.path,
    modules: [queueWorker(defaults.queue), suppressionWorker],
  })
  let ended = 0
  let finish = (): void => {}
  const all = new Promise<void>((resolve) => {
    finish = resolve
  })
  await using queue = await Queue.open({
    store: new SqliteQueueStore(database),
    ...{ config: defaults.queue, directory: directory.path, owner: 'prove', clock, log: silentLog },
    onEvents: (events: readonly NewEvent[]) => {
      ended += events.length
      if (ended >= MESSAGES) finish()
    },
  })
  const { privateKeyDer } = await generateDkimKey(algorithm)
  const key = loadDkimKey({ domain: 'sending.test', selector: 's1', algorithm, privateKeyDer })
  const signer = new Signer({ enabled: true, keysFor: async () => [key], now: () => clock.now(), log: silentLog })
  const body = 'The quick brown fox jumps over the lazy dog, again and again.\r\n'
  const accepting: Promise<unknown>[] = []
  for (let i = 0; i < MESSAGES; i++) {
    const id = newId(clock.now())
    const domain = `d${i % domains}.test`
    const head = `From: <a@sending.test>\r\nTo: <u${i}@${domain}>\r\nMessage-ID: <${id}@sending.test>\r\nSubject: ${i}\r\n\r\n`
    const content = Buffer.from((head + body.repeat(Math.ceil(BYTES / body.length))).slice(0, BYTES - 2).concat('\r\n'))
    const about = { id, sendingDomain: 'sending.test', acceptedMs: clock.now(), expiresMs: clock.now() + 86_400_000 }
    accepting.push(
      queue.accept(
        {
          ...about,
          ...{ reversePath: 'a@sending.test', headerFrom: 'a@sending.test', messageIdHeader: `<${id}@sending.test>` },
          ...{ content, subject: `${i}`, priority: 'normal', sandbox: false, smtpUtf8: false, submitter: 'smtp:prove' },
          ...{ tags: [], metadata: {}, recipients: [{ address: `u${i}@${domain}`, domain }] },
        },
        [],
      ),
    )
  }
  await Promise.all(accepting)
  const pool = new Pool(clock, config.connection_idle * 1000)
  const resolved = (domain: string) => ({
    kind: 'destination' as const,
    destination: {
      domain,
      hosts: [{ name: `mx.${domain}`, preference: 10, addresses: ['127.0.0.1'] }],
      site: domain,
      mailboxProvider: 'other',
      tls: { mxSecure: false, sts: null, hosts: new Map(), key: '' },
    } satisfies Destination,
  })
  const provider = { id: 'own', name: 'own', kind: 'own' as const }
  const cpu = process.cpuUsage()
  const startedMs = performance.now()
  const dispatcher = new Dispatcher({
    gate: new ContentGate(1_073_741_824),
    ...{ config, queue, signer, pool, clock, log: silentLog, maxRecipients: 1, sandbox: null },
    cage: { mx: { host: '127.0.0.1', port }, relay: { host: '127.0.0.1', port } },
    carrier: new Carrier(config, 'relevo.test', clock, pool, { count: () => {} }, undefined),
    router: {
      choose: async (request) => ({
        kind: 'carry',
        ...{ provider, source: null, smarthost: null, mailboxProvider: request.mailboxProvider },
        ...{ recipients: 1, probe: false, reason: 'priority', counters: [] },
      }),
      wantsMx: () => true,
      report: () => {},
      release: () => {},
    },
    concluder: makeConcluder({
      config,
      rules: loadReplyRules(join(import.meta.dirname, '../../config/replies.toml')),
      nextDueMs: () => clock.now() + 300_000,
      deferralsBy: async () => 0,
      dsnFor: async () => null,
    }),
    suppression: new SuppressionList(database, new Records(database), clock),
    destinations: { known: resolved, resolve: async (domain: string) => resolved(domain) } as unknown as Destinations,
    returnPathFor: (claim) => claim.message.reversePath,
    mailboxProviderOf: () => 'other',
    limitsOf: () => undefined,
  })
  await all
  const seconds = (performance.now() - startedMs) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const { sent } = await queue.counts()
  await dispatcher.stop(3000)
  child.disconnect()
  const figures = {
    domains,
    sent,
    perSec: Math.round(MESSAGES / seconds),
    cpuSecondsPer1000: Number((((user + system) / 1e6 / MESSAGES) * 1000).toFixed(2)),
    rssMiB: Math.round(process.memoryUsage.rss() / 1_048_576),
  }
  process.stdout.write(`${JSON.stringify(figures)}\n`)
}
