import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { Default } from 'typebox/value'
import { type Clock, newId, silentLog, systemClock } from '#base'
import { type Config, ConfigSchema } from '#config'
import {
  type AttemptParts,
  type Cage,
  Carrier,
  ContentGate,
  Destinations,
  Dispatcher,
  nextDueMs,
  openSink,
  Pool,
  Resolver,
  Signer,
  TlsPolicies,
  TransportSecurity,
} from '#delivery'
import { OUTCOME_EVENTS } from '#events'
import { loadReplyRules, makeConcluder } from '#feedback'
import { ProcessLimiter } from '#limits'
import { type NewEvent, type NewMessage, Queue, queueWorker, SqliteQueueStore } from '#queue'
import { Reach, Shaping, Standings } from '#reputation'
import { Breakers, OwnPath, ProviderRouter, Providers, type Router } from '#routing'
import { loadMasterKey, openDatabase, Records, Vault } from '#store'
import { SuppressionList, suppressionWorker } from '#suppression'
import { type DnsEntry, openDns, type Script, type ScriptedMx, scriptedMx, tempDir } from '#world'

const SHIPPED = join(import.meta.dirname, '../../config')
const RULES = loadReplyRules(join(SHIPPED, 'replies.toml'))
const OUTCOMES: ReadonlySet<string> = new Set(OUTCOME_EVENTS)

export type RigOptions = {
  readonly zones?: Readonly<Record<string, DnsEntry>>
  readonly port?: number
  readonly delivery?: Partial<Config['delivery']>
  readonly tlsPolicies?: Config['tls_policies']
  readonly authentic?: boolean
  readonly clock?: Clock
  readonly mode?: 'live' | 'sandbox'
  readonly keysFor?: ConstructorParameters<typeof Signer>[0]['keysFor']
  readonly router?: (real: Router) => Router
  readonly suppression?: AttemptParts['suppression']
  readonly maxRecipients?: number
  readonly limitsOf?: (mailboxProvider: string) => { connections: number; messagesPerConnection: number } | undefined
}

export type Rig = Awaited<ReturnType<typeof openRig>>

/** Everything between the queue and a scripted MX, all of it real. Stops and closes with the test. */
export async function openRig(t: Test, options: RigOptions = {}) {
  const clock = options.clock ?? systemClock
  const directory = await tempDir()
  const masterKey = loadMasterKey({ file: '', credentialFile: null, directory: directory.path })
  const defaults = Default(ConfigSchema, {}) as Config
  const delivery: Config['delivery'] = {
    ...defaults.delivery,
    allow_networks: ['127.0.0.0/8'],
    ip: 'ipv4',
    port: options.port ?? 1,
    ...options.delivery,
  }
  const dns = await openDns(options.zones ?? {}, { authentic: options.authentic ?? false })
  const database = await openDatabase({
    directory: directory.path,
    modules: [queueWorker(defaults.queue), suppressionWorker],
  })
  const records = new Records(database)
  const vault = await Vault.open(records, masterKey, clock)
  const providers = await Providers.open(records, vault, clock)
  const suppressions = new SuppressionList(database, records, clock)
  const events: NewEvent[] = []
  const queue = await Queue.open({
    store: new SqliteQueueStore(database),
    config: { ...defaults.queue, min_free_bytes: 0 },
    directory: directory.path,
    owner: 'test',
    clock,
    log: silentLog,
    onEvents: (news) => {
      events.push(...news)
      if (news.some((event) => event.type === 'bounced')) suppressions.wroteElsewhere()
    },
  })
  const limiter = new ProcessLimiter(clock)
  const shaping = Shaping.load(join(SHIPPED, 'shaping.toml'))
  const sources = [{ address: '', ehlo: 'relevo.test' }]
  const standings = new Standings(defaults.reputation, clock, () => {})
  const reach = new Reach(clock, () => {})
  const breakers = new Breakers({ failures: 5, openMs: 300_000 }, limiter, clock, () => {})
  const own = new OwnPath({ sources, standings, reach, warmUp: null, shaping, limiter, clock })
  const router = new ProviderRouter({
    ...{ providers, own, breakers, standings, reach, clock },
    warmUp: null,
    overflow: 'wait',
  })
  const sink = await openSink({
    listen: { host: '127.0.0.1', port: 0 },
    relayListen: { host: '127.0.0.1', port: 0 },
    hostname: 'sink.test',
    ...{ clock: systemClock, log: silentLog },
  })
  const cage: Cage = { mx: sink.address, relay: sink.relayAddress! }
  const pool = new Pool(clock, delivery.connection_idle * 1000)
  const resolver = new Resolver({ servers: [dns.address], clock: systemClock, timeoutMs: 300 })
  const config = { delivery, tls_policies: options.tlsPolicies ?? [] }
  const security = await TransportSecurity.open({ config, records, resolver, clock, log: silentLog })
  const carrier = new Carrier(delivery, 'relevo.test', clock, pool, security.results, security.authorities)
  const signer = new Signer({
    enabled: options.keysFor !== undefined,
    keysFor: options.keysFor ?? (async () => []),
    now: () => clock.now(),
    log: silentLog,
  })
  const concluder = makeConcluder({
    config: delivery,
    rules: RULES,
    nextDueMs: (question) => nextDueMs(delivery, question),
    deferralsBy: (key, provider) => queue.deferralsBy(key, provider),
    dsnFor: async () => null,
  })
  const destinations = new Destinations({
    resolver,
    tlsPolicies: security.policies,
    clock,
    hostname: 'relevo.test',
    families: delivery.ip,
    allowNetworks: delivery.allow_networks,
    maxHosts: delivery.max_mx_hosts,
    mailboxProviderOf: () => 'other',
  })
  function start(): Dispatcher {
    return new Dispatcher({
      gate: new ContentGate(1_073_741_824),
      ...{ config: delivery, cage, queue, signer, carrier, pool, concluder, clock, destinations },
      router: options.router?.(router) ?? router,
      maxRecipients: options.maxRecipients ?? 1,
      sandbox: options.mode === 'sandbox' ? cage : null,
      suppression: options.suppression ?? suppressions,
      log: silentLog,
      returnPathFor: (claim) => claim.message.reversePath,
      mailboxProviderOf: () => 'other',
      limitsOf: options.limitsOf ?? (() => undefined),
    })
  }
  let dispatcher: Dispatcher | null = null
  const put: string[] = []

  async function accept(to: string | readonly string[], changes: Partial<NewMessage> = {}): Promise<string> {
    const id = newId(clock.now())
    const recipients = [to].flat().map((address) => ({ address, domain: address.split('@')[1]! }))
    const message: NewMessage = {
      id,
      acceptedMs: clock.now(),
      reversePath: 'sender@sending.test',
      sendingDomain: 'sending.test',
      content: Buffer.from(
        `From: <sender@sending.test>\r\nMessage-ID: <${id}@sending.test>\r\nSubject: a test\r\n\r\nHello.\r\n`,
      ),
      messageIdHeader: `<${id}@sending.test>`,
      headerFrom: 'sender@sending.test',
      subject: 'a test',
      priority: 'normal',
      sandbox: options.mode === 'sandbox',
      expiresMs: clock.now() + delivery.lifetime * 1000,
      smtpUtf8: false,
      submitter: 'smtp:test',
      tags: [],
      metadata: {},
      recipients,
      ...changes,
    }
    await queue.accept(message, [])
    put.push(...message.recipients.map((recipient) => `${id} ${recipient.address}`))
    return id
  }

  async function stop(deadlineMs = 3000): Promise<void> {
    await dispatcher?.stop(deadlineMs)
    dispatcher = null
  }

  const rig = {
    ...{
      clock,
      queue,
      dns,
      events,
      pool,
      providers,
      suppressions,
      sink,
      signer,
      accept,
      stop,
      database,
      security,
      records,
    },
    /** Begins delivery. */
    start(): Dispatcher {
      dispatcher = start()
      return dispatcher
    },
    types: (id: string) => events.filter((event) => event.messageId === id).map((event) => event.type),
    outcomes: () => events.filter((event) => OUTCOMES.has(event.type)),
    /** Each recipient put in has exactly one outcome event, and nothing is left under way. */
    async everyRecipientEndedOnce(): Promise<void> {
      await stop()
      const seen = new Map<string, number>(put.map((one) => [one, 0]))
      for (const event of rig.outcomes()) {
        const name = `${event.messageId} ${event.recipient}`
        seen.set(name, (seen.get(name) ?? 0) + 1)
      }
      const wrong = [...seen].filter(([, count]) => count !== 1)
      t.strictSame(wrong.slice(0, 5), [], 'each recipient has exactly one outcome event')
      const { ready, leased, deferred, scheduled, held } = await queue.counts()
      t.strictSame(
        { ready, leased, deferred, scheduled, held },
        { ready: 0, leased: 0, deferred: 0, scheduled: 0, held: 0 },
      )
    },
    ended: (count: number, withinMs = 15_000) => until(() => rig.outcomes().length >= count, withinMs),
  }
  t.teardown(async () => {
    await stop(500)
    await security[Symbol.asyncDispose]()
    await queue[Symbol.asyncDispose]()
    await database[Symbol.asyncDispose]()
    await sink[Symbol.asyncDispose]()
    await dns[Symbol.asyncDispose]()
    await directory[Symbol.asyncDispose]()
  })
  return rig
}

/** TLS where it is offered, and nothing looked up. */
export function opportunistic(resolver: Resolver): TlsPolicies {
  const config = { tls: 'opportunistic', dane: false, port: 25 } as const
  return new TlsPolicies({ config, configured: [], resolver, sts: null })
}

/** Waits in real time for something to become true. */
export async function until(holds: () => boolean, withinMs = 15_000): Promise<boolean> {
  const endMs = performance.now() + withinMs
  while (!holds()) {
    if (performance.now() > endMs) return false
    await pause(5)
  }
  return true
}

/** Hosts with a behaviour each at 127.0.0.1, 127.0.0.2 … on one port, and their MX records: `<name>.test`. */
export async function hosts(t: Test, behaviours: Readonly<Record<string, Script | 'closed'>>) {
  for (let tries = 0; ; tries++) {
    const open: Record<string, ScriptedMx> = {}
    const zones: Record<string, DnsEntry> = {}
    let port = 0
    try {
      for (const [i, [name, behaviour]] of Object.entries(behaviours).entries()) {
        const host = `127.0.0.${i + 1}`
        zones[`mx.${name}.test`] = { A: [host] }
        zones[`${name}.test`] = { MX: [[10, `mx.${name}.test`]] }
        if (behaviour === 'closed') continue
        open[name] = await scriptedMx({ behaviour, host, port, name: `mx.${name}.test` })
        port = open[name].port
      }
    } catch (error) {
      for (const mx of Object.values(open)) await mx[Symbol.asyncDispose]()
      if (tries > 20) throw error
      continue
    }
    t.teardown(async () => {
      for (const mx of Object.values(open)) await mx[Symbol.asyncDispose]()
    })
    return { mx: open, zones, port }
  }
}
