import { randomBytes } from 'node:crypto'
import t from 'tap'
import { silentLog, systemClock } from '#base'
import { SendingDomains } from '#domains'
import { Acceptor, Credentials, SubmissionServer } from '#intake'
import { ProcessLimiter } from '#limits'
import { Queue, queueWorker, SqliteQueueStore } from '#queue'
import { openDatabase, Records, Vault } from '#store'
import { SuppressionList, suppressionWorker } from '#suppression'
import { tempDir } from '#world'
import { certificate, DEFAULTS, loggedIn, MESSAGE, PASSWORD, submit } from './rig.ts'

const QUEUE = {
  retention_days: 30,
  keep_bodies: false,
  inline_max_bytes: 16_384,
  segment_bytes: 67_108_864,
  lease: 1800,
  min_free_bytes: 0,
  cleanup: '0 2 * * *',
}

/** Everything real from the socket to the disk; nothing takes the mail out. */
async function start(directory: string, key: Buffer) {
  const clock = systemClock
  const database = await openDatabase({ directory, modules: [queueWorker(QUEUE), suppressionWorker] })
  const records = new Records(database)
  const vault = await Vault.open(records, key, clock)
  const store = new SqliteQueueStore(database)
  const queue = await Queue.open({ store, config: QUEUE, directory, owner: 'test', clock, log: silentLog })
  const domains = await SendingDomains.open(records, vault, clock)
  const credentials = new Credentials(records, clock)
  const suppression = new SuppressionList(database, records, clock)
  const limiter = new ProcessLimiter(clock)
  const acceptor = new Acceptor(
    {
      hostname: 'mail.relevo.test',
      hideClientAddress: false,
      maxBacklog: 100,
      lifetimeMs: 345_600_000,
      sandbox: () => true,
    },
    { queue, domains, limiter, clock, log: silentLog },
  )
  const server = await SubmissionServer.open('mail.relevo.test', DEFAULTS, certificate(), {
    acceptor,
    credentials,
    suppression,
    clock,
    log: silentLog,
  })
  return {
    queue,
    store,
    domains,
    credentials,
    suppression,
    port: server.addresses.find((entry) => entry.kind === 'tls')!.address.port,
    async stop() {
      await server.stop(1000)
      await queue[Symbol.asyncDispose]()
      await limiter[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

void t.test(
  'what was answered 250 is there after a restart, and a retry with its key makes no second one',
  async (t) => {
    await using directory = await tempDir()
    const key = randomBytes(32)
    const first = await start(directory.path, key)
    await first.domains.add('example.com')
    await first.credentials.create({ username: 'app', password: PASSWORD, allowed: ['example.com'] })
    await first.suppression.add([{ address: 'gone@example.net', reason: 'hard-bounce', detail: '550 no such user' }])
    const wire = await loggedIn(first.port)
    await wire.say('MAIL FROM:<app@example.com>')
    t.match(
      await wire.say('RCPT TO:<Gone@example.net>'),
      /^550 5\.7\.1 <Gone@example\.net> is suppressed since \d{4}-\d\d-\d\d: hard-bounce/,
    )
    await wire.say('RSET')
    const keyed = `X-Relevo-Idempotency-Key: one\r\n${MESSAGE}`
    const small = await submit(wire, keyed, ['a@example.net', 'b@example.org'])
    const large = await submit(wire, `${MESSAGE}${'0123456789\r\n'.repeat(30_000)}`)
    t.match(small, /^250 2\.0\.0 queued as /)
    t.match(large, /^250 2\.0\.0 queued as /)
    wire.close()
    await first.stop()

    const second = await start(directory.path, key)
    const [smallId, largeId] = [small!.slice(-26), large!.slice(-26)]
    const message = await second.queue.message(smallId)
    t.match(message, { reversePath: 'app@example.com', submitter: 'smtp:app', sandbox: true })
    t.strictSame(
      message?.recipients.map(({ address, state }) => [address, state]),
      [
        ['a@example.net', 'ready'],
        ['b@example.org', 'ready'],
      ],
    )
    t.match((await second.store.content(smallId)).toString(), /^Received: [\s\S]*\r\n\r\nHello\.\r\n/)
    t.match((await second.store.content(largeId)).toString(), /(?:0123456789\r\n){30000}\r\n$/)
    const again = await loggedIn(second.port)
    t.equal(await submit(again, keyed, ['a@example.net', 'b@example.org']), small)
    t.match(await second.store.counts(), { ready: 3 })
    again.close()
    await second.stop()
  },
)
