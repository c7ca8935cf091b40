import { join } from 'node:path'
import { Default } from 'typebox/value'
import { type Clock, type Log, messageOf, silentLog } from '#base'
import { type Config, ConfigSchema } from '#config'
import {
  Carrier,
  ContentGate,
  Destinations,
  Dispatcher,
  nextDueMs,
  Pool,
  Resolver,
  Signer,
  TlsPolicies,
} from '#delivery'
import { loadReplyRules, makeConcluder, makeSenderNotice } from '#feedback'
import { ProcessLimiter } from '#limits'
import { type NewEvent, Queue, queueWorker, SqliteQueueStore } from '#queue'
import { Reach, Shaping, Standings } from '#reputation'
import { Breakers, OwnPath, ProviderRouter, Providers } from '#routing'
import { type Database, loadMasterKey, openDatabase, Records, Vault } from '#store'
import { SuppressionList, suppressionWorker } from '#suppression'

const SHIPPED = join(import.meta.dirname, '../../config')
const RULES = loadReplyRules(join(SHIPPED, 'replies.toml'))
const SHAPING = Shaping.load(join(SHIPPED, 'shaping.toml'))

export type ProcessOptions = {
  readonly directory: string
  readonly clock: Clock
  readonly dnsServer: string
  readonly port: number
  readonly lifetimeMs: number
  readonly maxRecipients: number
  mailboxProviderOf(domain: string): string
  onEvents(events: readonly NewEvent[]): void
  /** A bug of ours, or the store: neither may come of what peers do. */
  onError(what: string): void
}

type Life = { dead: boolean }
const NEVER = new Promise<never>(() => {})

/** Everything between acceptance and the wire, composed as in the daemon, that can end like a killed process. */
export class ScenarioProcess {
  readonly queue: Queue
  readonly suppressions: SuppressionList
  readonly providers: Providers
  readonly database: Database
  readonly #dispatcher: Dispatcher
  readonly #carrier: MortalCarrier
  readonly #destinations: WatchedDestinations
  readonly #life: Life
  readonly #store: WatchedDatabase

  private constructor(parts: {
    queue: Queue
    suppressions: SuppressionList
    providers: Providers
    store: WatchedDatabase
    dispatcher: Dispatcher
    carrier: MortalCarrier
    destinations: WatchedDestinations
    life: Life
  }) {
    this.queue = parts.queue
    this.suppressions = parts.suppressions
    this.providers = parts.providers
    this.database = parts.store
    this.#store = parts.store
    this.#dispatcher = parts.dispatcher
    this.#carrier = parts.carrier
    this.#destinations = parts.destinations
    this.#life = parts.life
  }

  static async open(options: ProcessOptions): Promise<ScenarioProcess> {
    const { directory, lifetimeMs } = options
    const life: Life = { dead: false }
    const clock = mortalClock(options.clock, life)
    const log = watchedLog(life, options.onError)
    const defaults = Default(ConfigSchema, {}) as Config
    const delivery: Config['delivery'] = {
      ...defaults.delivery,
      allow_networks: ['127.0.0.0/8'],
      ip: 'ipv4',
      port: options.port,
      connection_idle: 5,
      dsn: 'failure',
    }
    const masterKey = loadMasterKey({ file: '', credentialFile: null, directory })
    const store = new WatchedDatabase(
      await openDatabase({ directory, modules: [queueWorker(defaults.queue), suppressionWorker] }),
      life,
    )
    const records = new Records(store)
    const vault = await Vault.open(records, masterKey, clock)
    const providers = await Providers.open(records, vault, clock)
    const suppressions = new SuppressionList(store, records, clock)
    const queue = await Queue.open({
      store: new SqliteQueueStore(store),
      config: { ...defaults.queue, min_free_bytes: 0 },
      ...{ directory, owner: 'local', clock, log },
      onEvents: (events) => {
        if (life.dead) return
        options.onEvents(events)
        if (events.some((event) => event.type === 'bounced')) suppressions.wroteElsewhere()
      },
    })
    const limiter = new ProcessLimiter(clock)
    const standings = new Standings(defaults.reputation, clock, () => {})
    const reach = new Reach(clock, () => {})
    const breakers = new Breakers({ failures: 5, openMs: 300_000 }, limiter, clock, () => {})
    const sources = [{ address: '', ehlo: 'relevo.test' }]
    const own = new OwnPath({ sources, standings, reach, warmUp: null, shaping: SHAPING, limiter, clock })
    const router = new ProviderRouter({
      ...{ providers, own, breakers, standings, reach, clock },
      warmUp: null,
      overflow: 'wait',
    })
    const pool = new Pool(clock, delivery.connection_idle * 1000)
    const carrier = new MortalCarrier(delivery, 'relevo.test', clock, pool, { count: () => {} }, undefined)
    carrier.life = life
    const mailboxProviderOf = options.mailboxProviderOf.bind(options)
    // Its questions end by time also when nobody waits for them any more.
    const resolver = new Resolver({ servers: [options.dnsServer], clock: options.clock })
    const destinations = new WatchedDestinations({
      resolver,
      tlsPolicies: new TlsPolicies({ config: delivery, configured: [], resolver, sts: null }),
      ...{ clock, hostname: 'relevo.test', families: delivery.ip, allowNetworks: delivery.allow_networks },
      ...{ maxHosts: delivery.max_mx_hosts, mailboxProviderOf },
    })
    const nowhere = { host: '127.0.0.1', port: 1 }
    const dispatcher = new Dispatcher({
      gate: new ContentGate(1_073_741_824),
      ...{ config: delivery, queue, carrier, pool, router, clock, log, destinations, suppression: suppressions },
      maxRecipients: options.maxRecipients,
      sandbox: null,
      cage: { mx: nowhere, relay: nowhere },
      signer: new Signer({ enabled: false, keysFor: async () => [], now: () => clock.now(), log }),
      concluder: makeConcluder({
        config: delivery,
        rules: RULES,
        nextDueMs: (question) => nextDueMs(delivery, question),
        deferralsBy: (key, provider) => queue.deferralsBy(key, provider),
        dsnFor: makeSenderNotice({
          policy: delivery.dsn,
          hostname: 'relevo.test',
          lifetimeMs,
          content: (id) => queue.content(id),
        }),
      }),
      returnPathFor: (claim) => claim.message.reversePath,
      mailboxProviderOf,
      limitsOf: () => undefined,
    })
    return new ScenarioProcess({ queue, suppressions, providers, store, dispatcher, carrier, destinations, life })
  }

  /** Attempts and look-ups at work. */
  get lanes(): number {
    return this.#dispatcher.active
  }

  /** Names that are being looked up. */
  get lookedUp(): ReadonlySet<string> {
    return this.#destinations.pending
  }

  /** Steps of ours that need no time to pass: the store, connections under way. */
  get busy(): boolean {
    return this.#store.pending > 0
  }

  get connecting(): number {
    return this.#carrier.connecting
  }

  /** From here on nothing of this process is heard, written or sent; what the store was asked for may or may not be kept. */
  kill(): void {
    this.#life.dead = true
  }

  /** Frees what a dead process held. */
  async bury(): Promise<void> {
    this.kill()
    await this.#store.bury()
  }

  /** An ordered stop; needs the clock to go on meanwhile. */
  async stop(deadlineMs: number): Promise<void> {
    await this.#dispatcher.stop(deadlineMs)
    await this.queue[Symbol.asyncDispose]()
    await this.bury()
  }
}

/** After death no timer fires and no time is told that could matter. */
function mortalClock(clock: Clock, life: Life): Clock {
  return {
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs(),
    after: (ms, fire) =>
      clock.after(ms, () => {
        if (!life.dead) fire()
      }),
  }
}

class WatchedDatabase implements Database {
  pending = 0
  readonly #real: Database
  readonly #life: Life

  constructor(real: Database, life: Life) {
    this.#real = real
    this.#life = life
  }

  write<T>(op: string, args: unknown): Promise<T> {
    return this.#ask(() => this.#real.write<T>(op, args))
  }

  read<T>(op: string, args: unknown): Promise<T> {
    return this.#ask(() => this.#real.read<T>(op, args))
  }

  writeQueries(queries: Parameters<Database['writeQueries']>[0]): ReturnType<Database['writeQueries']> {
    return this.#ask(() => this.#real.writeQueries(queries))
  }

  readQuery: Database['readQuery'] = (query) => this.#ask(() => this.#real.readQuery(query))

  stats(): ReturnType<Database['stats']> {
    return this.#real.stats()
  }

  serve(): void {
    this.#real.serve()
  }

  ping(): Promise<void> {
    return this.#ask(() => this.#real.ping())
  }

  async bury(): Promise<void> {
    await this.#real[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #ask<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#life.dead) return NEVER
    this.pending += 1
    try {
      const answer = await ask()
      return this.#life.dead ? NEVER : answer
    } catch (error) {
      if (this.#life.dead) return NEVER
      throw error
    } finally {
      this.pending -= 1
    }
  }
}

class MortalCarrier extends Carrier {
  life: Life = { dead: false }
  connecting = 0

  override async open(...args: Parameters<Carrier['open']>): ReturnType<Carrier['open']> {
    if (this.life.dead) return NEVER
    this.connecting += 1
    const result = await super.open(...args)
    this.connecting -= 1
    if (!this.life.dead) return result
    if (result.ok) result.opened.connection.destroy()
    return NEVER
  }
}

class WatchedDestinations extends Destinations {
  readonly pending = new Set<string>()

  override async resolve(domain: string): ReturnType<Destinations['resolve']> {
    this.pending.add(domain)
    try {
      return await super.resolve(domain)
    } finally {
      this.pending.delete(domain)
    }
  }
}

function watchedLog(life: Life, onError: (what: string) => void): Log {
  const log: Log = {
    ...silentLog,
    error(fields, message) {
      if (!life.dead) onError(`${message}: ${messageOf(fields.error ?? '')}`)
    },
    child: () => log,
  }
  return log
}
