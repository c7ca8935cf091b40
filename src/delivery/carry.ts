import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { Clock } from '#base'
import type { Config } from '#config'
import type { RouteDecision } from '#routing'
import type { Demand, Destination } from './contract.ts'
import { judgeFailure, judgeRefusal, judgeSession, reportedPolicy } from './direct/judge-session.ts'
import { FAILED_STATUS, NOT_OFFERED_STATUS, policyFor, policyText, type TlsPolicy } from './direct/tls-policy.ts'
import type { TlsResult, TlsResults } from './direct/tls-results.ts'
import type { Pool } from './pool.ts'
import type { Endpoint } from './sink/open-sink.ts'
import { connectSmtp } from './smtp-client/connect.ts'
import type {
  Authorities,
  ConnectFailure,
  ConnectOptions,
  Deadlines,
  SmtpConnection,
  TlsMode,
} from './smtp-client/contract.ts'

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
  /** By which rule it is secured, for people; empty: by none but the default. */
  readonly policy: string
}
/** What is to be opened: see `Way` of the attempt. */
export type Opening = {
  readonly decision: Carry
  readonly destination: Destination
  /** Set: this mail is sandbox mail and goes to the sink. */
  readonly cage: Cage | null
  readonly demand: Demand
  /** A connection that carried so many is not used again. */
  readonly messagesPerConnection: number
  readonly place: Place
}
/** `policy`: the policy kept the mail back, whose fault the host's reachability is not. */
export type NotOpened = ConnectFailure & { readonly policy?: { readonly status: string; readonly forEver: boolean } }
export type OpenResult =
  | { readonly ok: true; readonly opened: Opened }
  | { readonly ok: false; readonly failure: NotOpened; readonly host: string; readonly address: string }

type NoConnection = Extract<OpenResult, { ok: false }>

/** RFC 8689 §4.2.1 and §8: encryption needed; REQUIRETLS support required. */
const NO_TLS_STATUS = '5.7.10'
const NO_REQUIRETLS_STATUS = '5.7.30'

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
  readonly #results: Pick<TlsResults, 'count'>
  readonly #authorities: Authorities | undefined

  /** @param authorities those that certificates of MX hosts are verified with; undefined: the ones that come with Node */
  constructor(
    config: Config['delivery'],
    hostname: string,
    clock: Clock,
    pool: Pool,
    results: Pick<TlsResults, 'count'>,
    authorities: Authorities | undefined,
  ) {
    this.#config = config
    this.#results = results
    this.#authorities = authorities
    this.#hostname = hostname
    this.#clock = clock
    this.#pool = pool
    this.#deadlines = deadlinesOf(config)
  }

  async open(opening: Opening, signal: AbortSignal): Promise<OpenResult> {
    const { decision, destination, cage, demand, messagesPerConnection, place } = opening
    const key = keyOf(decision, destination, cage, demand)
    const waiting = this.#pool.take(key)
    if (waiting !== null) {
      if (waiting.connection.messagesSent < messagesPerConnection)
        return { ok: true, opened: { ...waiting, reused: true } }
      void this.#pool.end(waiting)
    }
    if (cage !== null) return this.#connect(this.#toSink(decision, cage), key, '', place, signal)
    if (decision.smarthost !== null) return this.#connect(this.#toSmarthost(decision.smarthost), key, '', place, signal)
    return this.#toMx(decision, destination, demand, key, place, signal)
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

  /** MX hosts by preference, those that failed lately last; the first that answers as the policy wants it wins. */
  async #toMx(
    decision: Carry,
    destination: Destination,
    demand: Demand,
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
    const failures: NoConnection[] = []
    for (const { name, address } of ordered) {
      const policy = policyFor(destination.tls, name, demand)
      const result = await this.#toHostBy(policy, decision, destination, demand, name, address, key, place, signal)
      if (result.ok) {
        this.#shunned.delete(address)
        return result
      }
      failures.push(result)
      if (signal.aborted) break
      if (result.failure.policy === undefined) this.#shun(address)
    }
    if (failures.length === 0) throw new Error('a destination has no address')
    return together(failures)
  }

  /** One host under its policy. In clear text only where the policy is opportunistic: that is better than nothing (RFC 7435). */
  async #toHostBy(
    policy: TlsPolicy,
    decision: Carry,
    destination: Destination,
    demand: Demand,
    host: string,
    address: string,
    key: string,
    place: Place,
    signal: AbortSignal,
  ): Promise<OpenResult> {
    const text = policy.by === 'default' ? '' : policyText(policy)
    const source = decision.source?.address ?? ''
    if (policy.level === 'refuse') {
      this.#count(destination, policy, host, source, address, judgeRefusal(policy))
      return notTried(policy, host, address)
    }
    const options = this.#toHost(decision, host, address)
    const result = await this.#connect({ ...options, tls: this.#modeOf(policy) }, key, text, place, signal)
    if (!result.ok) {
      const { failure } = result
      if (failure.stage !== 'starttls' || failure.reason === 'aborted') return result
      const judged = judgeFailure(failure)
      if (judged !== null) this.#count(destination, policy, host, source, address, judged)
      if (policy.level !== 'opportunistic') return withheld(result, policy, demand)
      const tlsFailure = { reason: failure.reason, transcript: failure.transcript }
      const clear = await this.#connect({ ...options, tls: { mode: 'off' } }, key, text, place, signal, tlsFailure)
      if (clear.ok) return clear
      const transcript = `${failure.transcript}\n${clear.failure.transcript}`
      return { ...clear, failure: { ...clear.failure, transcript } }
    }
    const { connection } = result.opened
    if (policy.level !== 'off')
      this.#count(destination, policy, host, connection.source, address, judgeSession(destination.tls, connection))
    if (demand !== 'must' || connection.capabilities.has('REQUIRETLS')) return result
    void this.#pool.end(result.opened)
    return notRequiringTls(host, address)
  }

  /** What the recipient's domain is told by reports; not what the administrator or the message wanted. */
  #count(
    { domain, tls }: Destination,
    { by }: TlsPolicy,
    mxHost: string,
    sendingIp: string,
    mxAddress: string,
    judged: Pick<TlsResult, 'result' | 'reason'>,
  ): void {
    if (by === 'configured' || by === 'requiretls' || by === 'tls-required-no') return
    this.#results.count({ domain, ...reportedPolicy(tls, mxHost), ...judged, sendingIp, mxHost, mxAddress })
  }

  #modeOf(policy: Exclude<TlsPolicy, { level: 'refuse' }>): TlsMode {
    const ca = this.#authorities === undefined ? {} : { ca: this.#authorities }
    switch (policy.level) {
      case 'off':
        return { mode: 'off' }
      case 'opportunistic':
        return { mode: 'opportunistic', ...ca }
      case 'encrypt':
        return { mode: 'require', verify: false }
      case 'verify':
        return { mode: 'require', verify: true, names: policy.names, ...ca }
      case 'dane':
        return { mode: 'require', verify: true, dane: policy.records, names: policy.names, sni: policy.names[0]! }
    }
  }

  async #connect(
    options: Omit<ConnectOptions, 'signal'>,
    key: string,
    policy: string,
    { group, limit }: Place,
    signal: AbortSignal,
    tlsFailure: TlsFailure | null = null,
  ): Promise<OpenResult> {
    await this.#pool.reserve(this.#config.max_connections, group, limit)
    try {
      const result = await connectSmtp({ ...options, signal })
      if (result.ok)
        return { ok: true, opened: { connection: result.connection, key, group, reused: false, tlsFailure, policy } }
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
      tls: { mode: 'opportunistic' },
      allow: this.#config.allow_networks,
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
      allow: [door.host],
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
      allow: this.#config.allow_networks,
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

/** Connections are shared by what has the same peers, the same source and the same policy: never by what asks for more. */
export function keyOf(decision: Carry, destination: Destination, cage: Cage | null, demand: Demand): string {
  if (cage !== null) return `sink ${decision.provider.kind}`
  if (decision.smarthost !== null) return `relay ${decision.provider.id}`
  const asked = demand === 'must' || demand === 'no-tls-needed' ? demand : ''
  return `mx ${destination.site} ${decision.source?.address ?? ''} ${destination.tls.key}${asked}`
}

/** The host was reached, and the policy says that it must not have the mail so. */
function withheld(result: NoConnection, policy: TlsPolicy, demand: Demand): NoConnection {
  const { failure } = result
  const notOffered = failure.reason === 'tls-not-offered'
  const found = failure.detail ?? (notOffered ? 'the host does not offer STARTTLS' : failure.reason)
  // RFC 8689 §4.2.1: what REQUIRETLS cannot have now it is not to wait for.
  const forEver = demand === 'must'
  const status = forEver ? NO_TLS_STATUS : notOffered ? NOT_OFFERED_STATUS : FAILED_STATUS
  return { ...result, failure: { ...failure, detail: `${policyText(policy)}: ${found}`, policy: { status, forEver } } }
}

function notTried(policy: Extract<TlsPolicy, { level: 'refuse' }>, host: string, address: string): NoConnection {
  const { reason, detail, by } = policy
  const forEver = by === 'requiretls'
  const status = forEver ? NO_TLS_STATUS : policy.status
  const transcript = `** ${host} [${address}] not tried: ${detail}`
  const failure = { stage: 'policy' as const, reason, reply: null, transcript, detail: `${by}: ${detail}` }
  return { ok: false, host, address, failure: { ...failure, policy: { status, forEver } } }
}

function notRequiringTls(host: string, address: string): NoConnection {
  const detail = `requiretls: ${host} does not offer REQUIRETLS`
  const transcript = `** ${host} [${address}] ${detail}`
  const failure = { stage: 'policy' as const, reason: 'requiretls-not-offered', reply: null, transcript, detail }
  return { ok: false, host, address, failure: { ...failure, policy: { status: NO_REQUIRETLS_STATUS, forEver: true } } }
}

/**
 * The last host's failure stands for all, but one that may pass comes before one that will not: mail that REQUIRETLS keeps back
 * ends only when no host is left that might take it.
 */
function together(failures: readonly NoConnection[]): NoConnection {
  const passing = failures.filter(({ failure }) => failure.policy?.forEver !== true)
  const last = (passing.length > 0 ? passing : failures).at(-1)!
  const transcript = failures.map(({ failure }) => failure.transcript).join('\n')
  return { ...last, failure: { ...last.failure, transcript } }
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
