import { mkdirSync, readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { type Clock, contentSharesOf, Fault, isoTime, type Log, messageOf } from '#base'
import { type Config, diffConfig, type ListenAddress, parseListen } from '#config'
import { ControlServer, HTTP_LIMITS, Metrics, type Readiness } from '#control'
import {
  askServer,
  type Cage,
  Carrier,
  ContentGate,
  checkSmarthost,
  Destinations,
  Dispatcher,
  type Endpoint,
  nameServers,
  nextDueMs,
  openSink,
  Pool,
  type Resolved,
  Resolver,
  Signer,
  type Sink,
  TransportSecurity,
} from '#delivery'
import { DkimRotation, DnsInspector, DnsWatch, Recogniser, ReturnPaths, SendingDomains } from '#domains'
import { domainEvent, EventHub, standingEvent } from '#events'
import { InboundMail, loadReplyRules, makeConcluder, makeSenderNotice, ReportReader } from '#feedback'
import {
  Acceptor,
  Credentials,
  httpSubmit,
  InboundServer,
  type LocalSubmission,
  SubmissionServer,
  type TlsMaterial,
  Tokens,
} from '#intake'
import { type Limiter, ProcessLimiter, RedisLimiter } from '#limits'
import { type NewEvent, Queue, queueWorker, SqliteQueueStore } from '#queue'
import { loadWarmUpPlan, Reach, Shaping, type Standing, type StandingChange, Standings, WarmUp } from '#reputation'
import { Breakers, HealthChecks, OwnPath, ProviderRouter, Providers, type SourceAddress } from '#routing'
import { type Database, finishRotation, KeyKeeper, loadMasterKey, openDatabase, Records, Vault } from '#store'
import { SuppressionList, suppressionWorker } from '#suppression'

/** Rule files that are shipped with Relevo. */
const SHIPPED = join(import.meta.dirname, '../config')
/** Of the ten seconds that systemd is asked to wait: sessions first, then attempts under way. */
const SESSIONS_MS = 2000
const ATTEMPTS_MS = 6000
const STANDINGS = 'standings'
/** When it is looked whether DKIM keys change over or retire. */
const KEY_CHANGES = '*/10 * * * *'
/** States of mail that has its way before it. */
const OPEN = ['scheduled', 'ready', 'leased', 'deferred', 'held'] as const

export type DaemonOptions = {
  readonly config: Config
  readonly clock: Clock
  /** What the machine's clock says, however it was set. */
  readonly wallNow: () => number
  readonly log: Log
  /** Path of systemd's credential `relevo-master-key`, when there is one. */
  readonly credentialFile: string | null
  /** The version, for /status. */
  readonly version: string
  /** Called when the store failed: the process should end, and say so. */
  readonly onFatal: (error: Fault) => void
}

/** Where the daemon listens, with the ports really bound. */
export type Bound = {
  readonly submission: readonly Endpoint[]
  readonly submissionTls: readonly Endpoint[]
  readonly inbound: readonly Endpoint[]
  readonly http: readonly Endpoint[]
  readonly metrics: Endpoint | null
  readonly socket: string
  readonly sink: Endpoint
}

/** The whole of Relevo, started back to front (what keeps mail before what takes it) and stopped front to back. */
export class Daemon implements AsyncDisposable {
  readonly bound: Bound
  readonly sink: Sink
  readonly #stack: AsyncDisposableStack
  readonly #reload: (config: Config) => readonly string[]
  readonly #readiness: () => Promise<Readiness>
  readonly #answers: () => Promise<string>

  private constructor(
    bound: Bound,
    sink: Sink,
    stack: AsyncDisposableStack,
    reload: (config: Config) => readonly string[],
    readiness: () => Promise<Readiness>,
    answers: () => Promise<string>,
  ) {
    this.bound = bound
    this.sink = sink
    this.#stack = stack
    this.#reload = reload
    this.#readiness = readiness
    this.#answers = answers
  }

  static async start(options: DaemonOptions): Promise<Daemon> {
    await using stack = new AsyncDisposableStack()
    const parts = await assemble(options, stack)
    const daemon = new Daemon(parts.bound, parts.sink, stack.move(), parts.reload, parts.readiness, parts.answers)
    return daemon
  }

  /** Takes what may change while it runs; returns the keys that wait for a restart. A bad certificate throws and changes nothing. */
  reload(config: Config): readonly string[] {
    return this.#reload(config)
  }

  readiness(): Promise<Readiness> {
    return this.#readiness()
  }

  /** Resolves when the workers of the store have answered, to one line on what is going on; it may never resolve. */
  answers(): Promise<string> {
    return this.#answers()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

async function assemble(options: DaemonOptions, stack: AsyncDisposableStack) {
  const { clock, log, credentialFile } = options
  let { config } = options
  const startedMs = clock.now()
  const sandboxed = config.mode === 'sandbox'
  const directory = config.data_dir
  makeDataDirectory(directory)
  const keyPlace = { file: config.secrets.master_key_file, credentialFile, directory }
  const loadedKey = loadMasterKey(keyPlace)

  const shares = contentSharesOf(memoryBytes())
  if (shares.largest < config.submission.max_message_bytes)
    log.warn(
      { bytes: shares.largest },
      'the memory suffices for messages up to this size: larger ones are answered 452',
    )

  // What keeps.
  const database: Database = stack.use(
    await openDatabase({
      directory,
      modules: [queueWorker(config.queue), suppressionWorker],
      onFailure: options.onFatal,
      log,
    }),
  )
  const records = new Records(database)
  const masterKey = await finishRotation(records, keyPlace, loadedKey)
  const vault = await Vault.open(records, masterKey, clock)
  const domains = await SendingDomains.open(records, vault, clock)
  const returnPaths = await ReturnPaths.open(records, vault, clock, config.return_path.valid_days)
  const credentials = new Credentials(records, clock)
  const tokens = new Tokens(records, clock)
  const providers = await Providers.open(records, vault, clock)
  const suppressions = new SuppressionList(database, records, clock)
  const limiter: Limiter = stack.use(await openLimiter(config, clock, log))
  const hub = new EventHub((error) => log.error({ error: messageOf(error) }, 'a listener of events failed'))
  const queue = stack.use(
    await Queue.open({
      store: new SqliteQueueStore(database),
      config: config.queue,
      directory,
      owner: 'local',
      cacheBytes: shares.cache,
      clock,
      log,
      onEvents: (events) => hub.publish(events),
    }),
  )
  hub.listen((events) => logEvents(log, events))
  hub.listen((events) => {
    if (events.some((event) => event.type === 'bounced' || event.type === 'complained')) suppressions.wroteElsewhere()
  })

  // What learns and chooses.
  const rulesFile = config.rules.replies_file || join(SHIPPED, 'replies.toml')
  const rules = loadReplyRules(rulesFile)
  const shaping = Shaping.load(config.rules.shaping_file || join(SHIPPED, 'shaping.toml'))
  const sources: readonly SourceAddress[] =
    config.sources.length > 0 ? config.sources : [{ address: '', ehlo: config.hostname }]
  const tell = (events: readonly NewEvent[]): void => {
    queue
      .note(events, [])
      .catch((error: unknown) => log.error({ error: messageOf(error) }, 'an event could not be kept'))
  }
  const standings = await openStandings(config, records, clock, tell)
  const reach = new Reach(clock, (source, reachable) => {
    const type = reachable ? 'provider-recovered' : 'provider-paused'
    tell([
      standingEvent(type, clock.now(), 'own', {
        source,
        reason: reachable ? 'port 25 answers' : 'no MX host could be reached on port 25',
      }),
    ])
  })
  const warmUp = config.warmup.enabled
    ? await WarmUp.open(
        records,
        loadWarmUpPlan(config.rules.warmup_file || join(SHIPPED, 'warmup.toml')),
        clock,
        sources.map((source) => source.address),
      )
    : null
  const breakers = new Breakers(
    { failures: config.routing.breaker_failures, openMs: config.routing.breaker_open * 1000 },
    limiter,
    clock,
    (id, state, reason) => {
      const type = state === 'open' ? 'breaker-opened' : 'breaker-closed'
      tell([standingEvent(type, clock.now(), providers.byName(id)?.name ?? id, { reason })])
    },
  )
  const own = new OwnPath({ sources, standings, reach, warmUp, shaping, limiter, clock })
  const router = new ProviderRouter({
    providers,
    own,
    breakers,
    standings,
    reach,
    warmUp,
    overflow: config.warmup.overflow,
    clock,
  })

  // What delivers.
  const tls = readTls(config)
  let inboundAt: Endpoint | null = null
  const sink = stack.use(
    await openSink({
      listen: sandboxed ? endpointOf(config.sandbox.listen, 'sandbox.listen') : { host: '127.0.0.1', port: 0 },
      relayListen: { host: '127.0.0.1', port: 0 },
      hostname: `sink.${config.hostname}`,
      ...(tls === null ? {} : { tls }),
      reportsTo: () => inboundAt,
      clock,
      log,
    }),
  )
  const cage: Cage = { mx: sink.address, relay: sink.relayAddress! }
  const pool = new Pool(clock, config.delivery.connection_idle * 1000)
  const resolver = new Resolver({
    servers: config.delivery.dns_servers,
    trusted: config.delivery.dnssec_servers,
    clock,
  })
  const security = stack.use(await TransportSecurity.open({ config, records, resolver, clock, log }))
  const { policies: tlsPolicies, results: tlsResults, authorities } = security
  const carrier = new Carrier(config.delivery, config.hostname, clock, pool, tlsResults, authorities)
  const signer = new Signer({
    enabled: config.dkim.sign,
    keysFor: (name) => domains.keysFor(name),
    // A signature from the future may be refused (RFC 6376 §3.5), one from the past is not.
    now: () => Math.min(clock.now(), options.wallNow()),
    log,
  })
  const lifetimeMs = config.delivery.lifetime * 1000
  const dsnFor = makeSenderNotice({
    policy: config.delivery.dsn,
    hostname: config.hostname,
    lifetimeMs,
    content: (id) => queue.content(id),
  })
  const concluder = makeConcluder({
    config: config.delivery,
    rules,
    nextDueMs: (question) => nextDueMs(config.delivery, question),
    deferralsBy: (key, provider) => queue.deferralsBy(key, provider),
    dsnFor,
  })
  const mailboxProviderOf = (domain: string, hosts: readonly string[] = []): string =>
    shaping.mailboxProviderOf(domain, hosts)
  const destinations = new Destinations({
    resolver,
    tlsPolicies,
    clock,
    hostname: config.hostname,
    families: config.delivery.ip,
    allowNetworks: config.delivery.allow_networks,
    maxHosts: config.delivery.max_mx_hosts,
    mailboxProviderOf,
  })
  const dispatcher = new Dispatcher({
    config: config.delivery,
    maxRecipients: config.return_path.mode === 'message' ? 100 : 1,
    sandbox: sandboxed ? cage : null,
    cage,
    queue,
    gate: new ContentGate(shares.delivery),
    signer,
    carrier,
    pool,
    router,
    concluder,
    suppression: suppressions,
    clock,
    log,
    returnPathFor: (claim) => {
      const { reversePath, sendingDomain, acceptedMs } = claim.message
      const host = domains.get(sendingDomain)?.bounceHost ?? ''
      if (reversePath === '' || host === '') return reversePath
      const kind = config.return_path.mode === 'message' ? 'message' : 'recipient'
      return returnPaths.make({ kind, recipientKey: claim.recipients[0]!.key }, host, acceptedMs)
    },
    destinations,
    mailboxProviderOf,
    limitsOf: (mailboxProvider) => shaping.ruleOf(mailboxProvider),
  })
  stack.defer(() => dispatcher.stop(ATTEMPTS_MS))
  const health = new HealthChecks({
    providers,
    breakers,
    check: async (provider, signal) => {
      if (provider.kind === 'smarthost') return checkSmarthost(provider, carrier, sandboxed ? cage : null, signal)
      const closed = sources.filter((source) => reach.unreachable(source.address))
      return closed.length === 0
        ? { ok: true, detail: 'direct delivery works' }
        : {
            ok: false,
            detail: `port 25 cannot be reached from ${closed.map((one) => one.address || 'this host').join(', ')}`,
          }
    },
    intervalMs: config.routing.health_interval * 1000,
    timeoutMs: config.routing.health_timeout * 1000,
    clock,
    log,
  })
  stack.defer(() => health.stop())

  // What comes back.
  const reader = new ReportReader(rulesFile, clock, log)
  stack.defer(() => reader.stop())
  const inboundMail = new InboundMail({
    records,
    queue,
    returnPaths,
    read: (content) => reader.read(content),
    mayForward: async () => {
      const limit = config.inbound.forward_per_hour
      if (limit === 0) return false
      return (await limiter.take('postmaster-forward', { limit, perMs: 3_600_000, burst: limit })).granted
    },
    forwardTo: config.inbound.forward_to,
    hostname: config.hostname,
    lifetimeMs,
    dsnFor,
    sandbox: sandboxed,
    onSuppressed: () => suppressions.wroteElsewhere(),
    clock,
    log,
  })
  stack.defer(() => inboundMail.stop())
  stack.defer(await plan(config.queue.cleanup, log, 'the daily clean-up', () => removeSettled(queue, log)))

  // What is published for our sending domains.
  const inspector = new DnsInspector({
    settings: config,
    ask: askServer(clock),
    resolvers: () => nameServers(config.delivery.dns_servers, clock),
    clock,
  })
  const tellOf = (type: Parameters<typeof domainEvent>[0], domain: string, detail: Readonly<Record<string, unknown>>) =>
    tell([domainEvent(type, clock.now(), domain, detail)])
  const rotation = new DkimRotation({
    domains,
    inspector: sandboxed ? null : inspector,
    waits: async (sendingDomain, acceptedBeforeMs) =>
      (await queue.list({ sendingDomain, acceptedBeforeMs, states: OPEN }, null, 1)).rows.length > 0,
    changeOverMs: config.dkim.change_over * 1000,
    retireAfterMs: config.dkim.retire_after * 1000,
    tell: tellOf,
    clock,
  })
  stack.defer(await plan(KEY_CHANGES, log, 'the change of DKIM keys', () => rotation.run(), 'at start too'))
  const watch = new DnsWatch({ domains, inspector, records, clock, tell: tellOf })
  // A sandbox looks at nobody's zones by itself.
  if (config.dns.check !== '' && !sandboxed)
    stack.defer(await plan(config.dns.check, log, 'the check of DNS records', () => watch.run()))

  // What is open to others.
  const acceptor = new Acceptor(
    {
      hostname: config.hostname,
      hideClientAddress: config.submission.hide_client_address,
      maxBacklog: config.submission.max_backlog,
      lifetimeMs,
      sandbox: () => sandboxed,
    },
    {
      queue,
      domains,
      limiter,
      clock,
      log,
      presign: (message) => {
        if (message.notBeforeMs === undefined) signer.presign(message)
      },
    },
  )
  const recogniser = new Recogniser(domains, returnPaths, config.hostname, config.inbound.local_domains)
  const refusedInbound = { relay: 0, unknown: 0 }
  const inbound = await InboundServer.open(config.hostname, config.inbound, tls, {
    contentBudgetBytes: shares.inbound,
    largestContentBytes: shares.largest,
    records,
    limiter,
    clock,
    log,
    recognise: (address) => recogniser.recognise(address),
    isOurDomain: (domain) => recogniser.isOurDomain(domain),
    onInbound: () => inboundMail.kick(),
    onRefused: (why) => {
      refusedInbound[why] += 1
    },
  })
  stack.defer(() => inbound.stop(SESSIONS_MS))
  const firstInbound = inbound.addresses[0]
  if (firstInbound !== undefined) inboundAt = loopbackOf({ host: firstInbound.address, port: firstInbound.port })
  const readiness = async (): Promise<Readiness> => {
    const problems: string[] = []
    if (!acceptor.taking) problems.push('the store failed: no mail is taken')
    await database.ping().catch((error: unknown) => problems.push(`the store does not answer: ${messageOf(error)}`))
    return { ready: problems.length === 0, mode: config.mode, problems }
  }
  const answers = async (): Promise<string> => {
    await database.ping()
    return `${config.mode}: ${submission.connections} sessions, ${pool.open} connections to mail hosts`
  }
  const metrics = new Metrics({
    hub,
    log,
    queueCounts: () => queue.counts(),
    backlog: () => queue.backlog(),
    sessions: () => submission.connections,
    connections: () => pool.open,
    refusedReturnPaths: () => refusedInbound.unknown,
    storeStats: () => database.stats(),
    tlsSessions: () => tlsResults.totals,
    readiness,
  })
  const controlParts = {
    queue,
    domainParts: { domains, inspector, rotation, watch },
    credentials,
    tokens,
    providers,
    breakers,
    health,
    standings,
    warmUp,
    suppressions,
    records,
    tls: {
      results: tlsResults,
      // Nothing leaves a sandbox, questions about others included.
      resolve: async (domain: string): Promise<Resolved> =>
        sandboxed ? { kind: 'deferred', reason: 'sandbox-mode' } : destinations.resolve(domain),
    },
    keys: new KeyKeeper(records, vault, keyPlace, masterKey, clock),
    sink: sandboxed ? sink : null,
    clock,
    log,
    maxBodyBytes: config.http.max_body_bytes,
    limits: { ...HTTP_LIMITS, maxConnections: config.http.max_connections },
    status: async () => ({
      hostname: config.hostname,
      version: options.version,
      started_at: isoTime(startedMs),
      ...(await readiness()),
      queue: await queue.counts(),
      backlog: queue.backlog(),
      sessions: submission.connections,
      connections: pool.open,
      lanes: dispatcher.active,
      limits: limiter.standing(),
      health: health.list(),
      paused: standings.list().filter((one) => one.verdict !== 'healthy'),
      ...(sandboxed ? { sandbox_sink: { taken: sink.taken } } : {}),
    }),
  }
  const submit = (local: boolean) =>
    httpSubmit({
      acceptor,
      tokens,
      suppression: suppressions,
      clock,
      maxMessageBytes: config.submission.max_message_bytes,
      maxBodyBytes: config.http.max_body_bytes,
      contentBudgetBytes: shares.submission,
      largestContentBytes: shares.largest,
      ...(local
        ? {
            submitterOf: () => ({
              name: 'local:socket',
              allowed: ['*', '<>'],
              defaultTags: [],
              ratePerHour: 0,
              valid: () => true,
            }),
          }
        : {}),
    })
  const socket = config.control.socket || join(directory, 'control.sock')
  const local = stack.use(await ControlServer.open({ ...controlParts, more: submit(true) }, true))
  await local.listenUnix(socket)
  const http: Endpoint[] = []
  for (const address of config.http.listen) {
    const { host, port } = endpointOf(address, 'http.listen')
    const tlsFiles = isLoopback(host) || tls === null ? undefined : { cert: String(tls.cert), key: String(tls.key) }
    const server = stack.use(await ControlServer.open({ ...controlParts, more: submit(false) }, false, tlsFiles))
    http.push({ host, port: await server.listenTcp(host, port) })
  }
  const submission = await SubmissionServer.open(
    config.hostname,
    config.submission,
    tls,
    {
      acceptor,
      credentials,
      suppression: suppressions,
      clock,
      log,
      isStorageLow: () => queue.spaceIsLow(),
      contentBudgetBytes: shares.submission,
      largestContentBytes: shares.largest,
    },
    localSubmission(config, domains),
  )
  stack.defer(() => submission.stop(SESSIONS_MS))
  stack.use(metrics)
  let metricsAt: Endpoint | null = null
  if (config.metrics.listen !== '') {
    const { host, port } = endpointOf(config.metrics.listen, 'metrics.listen')
    metricsAt = { host, port: await metrics.listen(host, port) }
  }

  const ends = (kind: 'starttls' | 'tls'): Endpoint[] =>
    submission.addresses
      .filter((one) => one.kind === kind)
      .map(({ address }) => ({ host: address.address, port: address.port }))
  const bound: Bound = {
    submission: ends('starttls'),
    submissionTls: ends('tls'),
    inbound: inbound.addresses.map(({ address, port }) => ({ host: address, port })),
    http,
    metrics: metricsAt,
    socket,
    sink: sink.address,
  }
  database.serve()
  log.info({ mode: config.mode, hostname: config.hostname, data_dir: directory, ...bound }, 'relevo is ready')

  function reload(next: Config): readonly string[] {
    const fresh = readTls(next)
    if (fresh !== null) {
      submission.reloadTls(fresh)
      inbound.reloadTls(fresh)
    }
    const { restart } = diffConfig(config, next)
    config = next
    return restart
  }

  return { bound, sink, reload, readiness, answers }
}

/** Where programs of this machine hand in mail, and as what. */
function localSubmission(
  { local, data_dir: directory, hostname }: Config,
  domains: SendingDomains,
): LocalSubmission | null {
  if (!local.enabled) return null
  const labels = hostname.split('.')
  const above = labels.map((_, at) => labels.slice(at).join('.'))
  return {
    path: local.socket || join(directory, 'submit.sock'),
    allowed: local.domains.length > 0 ? local.domains : ['*'],
    names: () => ({
      origin: local.origin || (above.find((name) => domains.get(name) !== undefined) ?? hostname),
      bareRecipients: local.bare_recipients,
    }),
  }
}

/** Of the machine, or less where a control group says so. */
function memoryBytes(): number {
  const allowed = process.constrainedMemory()
  return allowed > 0 ? Math.min(allowed, totalmem()) : totalmem()
}

function makeDataDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new Fault(`${directory} cannot be made: ${messageOf(error)}`, {
      code: 'data-dir-not-writable',
      field: 'data_dir',
      remedy: 'Choose a directory that the user of Relevo can write, or make it and give it to that user.',
    })
  }
}

async function openLimiter(config: Config, clock: Clock, log: Log): Promise<Limiter> {
  if (config.limits.driver === 'process') return new ProcessLimiter(clock)
  const url = readFileSync(config.limits.redis_url_file, 'utf8').trim()
  return RedisLimiter.open({ url, nodes: config.limits.nodes, clock, log })
}

/** The verdicts, kept over restarts: each change writes them all, and changes are rare. */
async function openStandings(
  config: Config,
  records: Records,
  clock: Clock,
  tell: (events: readonly NewEvent[]) => void,
): Promise<Standings> {
  const standings: Standings = new Standings(config.reputation, clock, ({ now }: StandingChange) => {
    const types = { healthy: 'provider-recovered', degraded: 'provider-degraded', paused: 'provider-paused' } as const
    tell([standingEvent(types[now.verdict], clock.now(), 'own', { ...now })])
    const value = JSON.stringify(standings.list().filter((one) => one.verdict !== 'healthy'))
    void records.write(
      records.query
        .insertInto('settings')
        .values({ name: STANDINGS, value, updated_ms: clock.now() })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value, updated_ms: clock.now() })),
    )
  })
  const kept = await records.readOne(records.query.selectFrom('settings').select('value').where('name', '=', STANDINGS))
  if (kept !== undefined) standings.restore(JSON.parse(kept.value) as Standing[])
  return standings
}

async function removeSettled(queue: Queue, log: Log): Promise<void> {
  const removed = await queue.runRetention()
  log.info({ messages: removed }, 'settled mail past its retention was removed')
}

/** A job by the hour of the clock. The returned function ends it; what is under way then may fail unheard. */
async function plan(
  cron: string,
  log: Log,
  job: string,
  work: () => Promise<unknown>,
  first: 'at start too' | 'at its time' = 'at its time',
): Promise<() => Promise<void>> {
  const { schedule } = await import('node-cron')
  let ended = false
  const run = async (): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (!ended) log.error({ job, error: messageOf(error) }, 'a periodic job failed; it runs again at its next time')
    }
  }
  const task = schedule(cron, run)
  if (first === 'at start too') void run()
  return async () => {
    ended = true
    await task.destroy()
  }
}

/** One line an event: what sysadmins grep for. */
function logEvents(log: Log, events: readonly NewEvent[]): void {
  for (const event of events)
    log.info(
      {
        event: event.type,
        message_id: event.messageId,
        recipient: event.recipient,
        provider: event.provider,
        class: event.class,
        status: event.status,
        ...event.detail,
      },
      'event',
    )
}

function readTls(config: Config): TlsMaterial | null {
  const { certificate_file: certificateFile, key_file: keyFile, min_version: minVersion } = config.tls
  if (certificateFile === '') return null
  return { cert: readFileSync(certificateFile), key: readFileSync(keyFile), minVersion }
}

function endpointOf(text: string, field: string): ListenAddress {
  const parsed = parseListen(text)
  if (parsed !== null) return parsed
  throw new Fault(`${JSON.stringify(text)} is not an address and port`, {
    field,
    remedy: 'Write it as 127.0.0.1:8025 or [::1]:8025.',
  })
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1'
}

/** Where a listener on all addresses is reached from here. */
function loopbackOf({ host, port }: Endpoint): Endpoint {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port }
  return host === '::' ? { host: '::1', port } : { host, port }
}
