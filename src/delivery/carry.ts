import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { Clock } from '#base'
import type { Config } from '#config'
import type { RouteDecision } from '#routing'
import type { Destination } from './contract.ts'
import type { Pool } from './pool.ts'
import type { Endpoint } from './sink/open-sink.ts'
import { connectSmtp } from './smtp-client/connect.ts'
import type { ConnectFailure, ConnectOptions, Deadlines, SmtpConnection, TlsMode } from './smtp-client/contract.ts'

export type Carry = Extract<RouteDecision, { kind: 'carry' }>

/** Where sandbox mail goes, whatever the decision says: the doors of the built-in sink. */
export type Cage = { readonly mx: Endpoint; readonly relay: Endpoint }

/** The group that a connection is counted in, and how many the group may have. */
export type Place = { readonly group: string; readonly limit: number }

/** What failed before it was tried again in clear text. */
export type TlsFailure = { readonly reason: string; readonly transcript: string }

export type Opened = {
  readonly connection: SmtpConnection
  readonly key: string
  readonly group: string
  readonly reused: boolean
  readonly tlsFailure: TlsFailure | null
}
/** What is to be opened: see `Way` of the attempt. */
export type Opening = {
  readonly decision: Carry
  readonly destination: Destination
  /** Set: this mail is sandbox mail and goes to the sink. */
  readonly cage: Cage | null
  /** A connection that carried so many is not used again. */
  readonly messagesPerConnection: number
  readonly place: Place
}
export type OpenResult =
  | { readonly ok: true; readonly opened: Opened }
  | { readonly ok: false; readonly failure: ConnectFailure; readonly host: string; readonly address: string }

/** A host that could not be reached is tried last for this long. */
const SHUN_MS = 60_000
const MAX_SHUNNED = 10_000

/** Opens (or takes from the pool) the connection that a decision asks for. */
export class Carrier {
  readonly #config: Config['delivery']
  readonly #clock: Clock
  readonly #pool: Pool
  readonly #hostname: string
  readonly #deadlines: Deadlines
  readonly #shunned = new Map<string, number>()
  readonly #cas = new Map<string, string>()

  constructor(config: Config['delivery'], hostname: string, clock: Clock, pool: Pool) {
    this.#config = config
    this.#hostname = hostname
    this.#clock = clock
    this.#pool = pool
    this.#deadlines = deadlinesOf(config)
  }

  async open(opening: Opening, signal: AbortSignal): Promise<OpenResult> {
    const { decision, destination, cage, messagesPerConnection, place } = opening
    const key = keyOf(decision, destination, cage)
    const waiting = this.#pool.take(key)
    if (waiting !== null) {
      const { connection, group, tlsFailure } = waiting
      if (connection.messagesSent < messagesPerConnection)
        return { ok: true, opened: { connection, key, group, tlsFailure, reused: true } }
      void this.#pool.end(waiting)
    }
    if (cage !== null) return this.#connect(this.#toSink(decision, cage), key, place, signal)
    if (decision.smarthost !== null) return this.#connect(this.#toSmarthost(decision.smarthost), key, place, signal)
    return this.#toMx(decision, destination, key, place, signal)
  }

  /** Puts a connection back for the next message, or ends it. */
  giveBack(opened: Opened, messagesPerConnection: number): void {
    if (opened.connection.messagesSent < messagesPerConnection) {
      this.#pool.give(opened)
      return
    }
    void this.#pool.end(opened)
  }

  /** Ends a connection at once. */
  discard(opened: Opened): void {
    this.#pool.closed(opened.group)
    opened.connection.destroy()
  }

  /** A smarthost as a health check tries it: connect, greet, secure, log in. */
  smarthostOptions(settings: NonNullable<Carry['smarthost']>): Omit<ConnectOptions, 'signal'> {
    return this.#toSmarthost(settings)
  }

  /** MX hosts by preference, those that failed lately last; the first that answers wins. */
  async #toMx(
    decision: Carry,
    destination: Destination,
    key: string,
    place: Place,
    signal: AbortSignal,
  ): Promise<OpenResult> {
    const nowMs = this.#clock.monotonicMs()
    // From a source address only hosts of its family can be reached; routing chose one that reaches some.
    const family = isIP(decision.source?.address ?? '')
    const tries = destination.hosts.flatMap((host) =>
      host.addresses
        .filter((address) => family === 0 || isIP(address) === family)
        .map((address) => ({ name: host.name, address })),
    )
    const good = tries.filter(({ address }) => (this.#shunned.get(address) ?? 0) <= nowMs)
    const ordered = [...good, ...tries.filter((one) => !good.includes(one))].slice(0, this.#config.max_mx_hosts)
    let last: OpenResult | null = null
    let transcript = ''
    for (const { name, address } of ordered) {
      const options = this.#toHost(decision, name, address)
      let result = await this.#connect(options, key, place, signal)
      if (!result.ok && this.#mayFallBack(result.failure)) {
        const { failure } = result
        const tlsFailure = { reason: failure.reason, transcript: failure.transcript }
        transcript += `${failure.transcript}\n`
        result = await this.#connect({ ...options, tls: { mode: 'off' } }, key, place, signal, tlsFailure)
      }
      if (result.ok) {
        this.#shunned.delete(address)
        return result
      }
      transcript += `${result.failure.transcript}\n`
      last = result
      if (signal.aborted) break
      this.#shun(address)
    }
    if (last === null || last.ok) throw new Error('a destination has no address')
    return { ...last, failure: { ...last.failure, transcript } }
  }

  /** TLS offered and failed: clear text, where the policy says that is better than nothing (RFC 7435). */
  #mayFallBack(failure: ConnectFailure): boolean {
    return this.#config.tls === 'opportunistic' && failure.stage === 'starttls' && failure.reason !== 'aborted'
  }

  async #connect(
    options: Omit<ConnectOptions, 'signal'>,
    key: string,
    { group, limit }: Place,
    signal: AbortSignal,
    tlsFailure: TlsFailure | null = null,
  ): Promise<OpenResult> {
    await this.#pool.makeRoom(this.#config.max_connections, group, limit)
    // Counted from here on: two that are opened at once must not both find the last place.
    this.#pool.opened(group)
    try {
      const result = await connectSmtp({ ...options, signal })
      if (result.ok)
        return { ok: true, opened: { connection: result.connection, key, group, reused: false, tlsFailure } }
      this.#pool.closed(group)
      return { ok: false, failure: result.failure, host: options.host, address: options.address }
    } catch (error) {
      this.#pool.closed(group)
      throw error
    }
  }

  #toHost(decision: Carry, host: string, address: string): Omit<ConnectOptions, 'signal'> {
    return {
      host,
      address,
      port: this.#config.port,
      source: decision.source?.address ?? '',
      ehlo: decision.source?.ehlo ?? this.#hostname,
      tls: tlsMode(this.#config.tls),
      deadlines: this.#deadlines,
      clock: this.#clock,
    }
  }

  #toSink(decision: Carry, cage: Cage): Omit<ConnectOptions, 'signal'> {
    const door = decision.provider.kind === 'smarthost' ? cage.relay : cage.mx
    return {
      ...this.#toHost(decision, 'sandbox sink', door.host),
      port: door.port,
      source: '',
      tls: { mode: 'opportunistic' },
    }
  }

  #toSmarthost(settings: NonNullable<Carry['smarthost']>): Omit<ConnectOptions, 'signal'> {
    const { host, port, tls, username, password, caFile } = settings
    const ca = caFile === '' ? {} : { ca: [this.#ca(caFile)] }
    const modes: Record<typeof tls, TlsMode> = {
      none: { mode: 'off' },
      starttls: { mode: 'require', verify: true, ...ca },
      implicit: { mode: 'implicit', verify: true, ...ca },
    }
    return {
      host,
      address: host,
      port,
      source: '',
      ehlo: this.#hostname,
      tls: modes[tls],
      ...(username === '' ? {} : { auth: { username, password } }),
      deadlines: this.#deadlines,
      clock: this.#clock,
    }
  }

  #ca(file: string): string {
    let pem = this.#cas.get(file)
    if (pem === undefined) {
      pem = readFileSync(file, 'utf8')
      this.#cas.set(file, pem)
    }
    return pem
  }

  #shun(address: string): void {
    if (this.#shunned.size >= MAX_SHUNNED) this.#shunned.delete(this.#shunned.keys().next().value!)
    this.#shunned.set(address, this.#clock.monotonicMs() + SHUN_MS)
  }
}

/** Connections are shared by what has the same peers, the same source and the same policy. */
export function keyOf(decision: Carry, destination: Destination, cage: Cage | null): string {
  if (cage !== null) return `sink ${decision.provider.kind}`
  if (decision.smarthost !== null) return `relay ${decision.provider.id}`
  return `mx ${destination.site} ${decision.source?.address ?? ''}`
}

function tlsMode(policy: Config['delivery']['tls']): TlsMode {
  if (policy === 'require') return { mode: 'require', verify: false }
  return { mode: policy }
}

export function deadlinesOf(config: Config['delivery']): Deadlines {
  return {
    connectMs: config.connect_timeout * 1000,
    bannerMs: config.banner_timeout * 1000,
    ehloMs: config.ehlo_timeout * 1000,
    tlsMs: config.tls_timeout * 1000,
    mailMs: config.mail_timeout * 1000,
    rcptMs: config.rcpt_timeout * 1000,
    dataMs: config.data_timeout * 1000,
    bodyMs: config.body_timeout * 1000,
    dotMs: config.dot_timeout * 1000,
  }
}
