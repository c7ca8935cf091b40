import type { Answer, Packet } from 'dns-packet'
import ipaddr from 'ipaddr.js'
import type { Clock } from '#base'
import { exchange, type NameServer } from './dns-exchange.ts'
import { SystemServers, serverOf } from './system-servers.ts'

/**
 * What the DNS says. `secure`: a resolver that is trusted says that it validated the answer (AD, RFC 4035 §3.2.3).
 * `owner`: the name the records stand at, where the aliases of the one asked for lead.
 */
export type DnsAnswer<T> =
  | {
      readonly kind: 'records'
      readonly records: readonly T[]
      readonly ttlMs: number
      readonly secure: boolean
      readonly owner: string
    }
  | { readonly kind: 'nodata' | 'nxdomain'; readonly ttlMs: number; readonly secure: boolean }
  | { readonly kind: 'failed'; readonly reason: 'servfail' | 'timeout' | 'refused'; readonly ttlMs: number }

export type MxRecord = { readonly exchange: string; readonly preference: number }

/** RFC 6698 §2.1, as it came: any of its numbers may be one that nobody knows. */
export type TlsaRecord = {
  readonly usage: number
  readonly selector: number
  readonly matchingType: number
  readonly data: Buffer
}

export type ResolverOptions = {
  /** `address`, `address:port` or `[v6]:port`; none: those of the system. */
  readonly servers: readonly string[]
  /** Addresses whose AD bit is believed besides those of loopback: a validating resolver, and a network between that is safe. */
  readonly trusted?: readonly string[]
  readonly clock: Clock
  readonly timeoutMs?: number
  readonly rounds?: number
  /** Answers kept. */
  readonly maxCached?: number
}

const TIMEOUT_MS = 3000
const ROUNDS = 2
const MAX_CACHED = 50_000
const MIN_TTL_MS = 1000
const MAX_TTL_MS = 86_400_000
/** RFC 2308 §5: the SOA says how long "no" holds; without one, and at most, this. */
const NEGATIVE_TTL_MS = 60_000
const MAX_NEGATIVE_TTL_MS = 3_600_000
/** RFC 2308 §7: a failure may be remembered for at most five minutes; a few seconds keep a burst from asking again. */
const FAILED_TTL_MS = 5000
/** Of one answer no more is kept or used, so that what a peer publishes does not decide how much memory it takes. */
const MAX_RECORDS = { MX: 60, A: 40, AAAA: 40, TXT: 100, TLSA: 40, CNAME: 1 } as const
const MAX_TXT_BYTES = 16_384
/** Aliases followed within one answer. */
const MAX_ALIASES = 12

type Asked = keyof typeof MAX_RECORDS
type Cached = { readonly answer: DnsAnswer<unknown>; readonly untilMs: number }

/** A small caching resolver over the recursive servers: TTLs kept, equal questions asked once, bounded. */
export class Resolver {
  readonly #servers: () => readonly NameServer[]
  readonly #trusted: ReadonlySet<string>
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #rounds: number
  readonly #maxCached: number
  readonly #cache = new Map<string, Cached>()
  readonly #asking = new Map<string, Promise<DnsAnswer<unknown>>>()

  constructor(options: ResolverOptions) {
    const configured = options.servers.map(serverOf)
    const system = new SystemServers(options.clock)
    this.#servers = () => (configured.length > 0 ? configured : system.list())
    this.#trusted = new Set((options.trusted ?? []).map(canonical))
    this.#clock = options.clock
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS
    this.#rounds = options.rounds ?? ROUNDS
    this.#maxCached = options.maxCached ?? MAX_CACHED
  }

  /** By preference. */
  mx(name: string): Promise<DnsAnswer<MxRecord>> {
    return this.#ask(name, 'MX', (records) =>
      records
        .flatMap((record) => (record.type === 'MX' ? [record.data] : []))
        .map(({ exchange, preference = 0 }) => ({ exchange: plain(exchange ?? ''), preference }))
        .sort((a, b) => a.preference - b.preference),
    )
  }

  addresses(name: string, family: 4 | 6): Promise<DnsAnswer<string>> {
    return this.#ask(name, family === 4 ? 'A' : 'AAAA', (records) =>
      records.flatMap((record) => (record.type === 'A' || record.type === 'AAAA' ? [record.data] : [])),
    )
  }

  txt(name: string): Promise<DnsAnswer<string>> {
    return this.#ask(name, 'TXT', (records) =>
      records
        .flatMap((record) => (record.type === 'TXT' ? [[record.data].flat().map(String).join('')] : []))
        .filter((text) => text.length <= MAX_TXT_BYTES),
    )
  }

  tlsa(name: string): Promise<DnsAnswer<TlsaRecord>> {
    return this.#ask(name, 'TLSA', (records) =>
      records
        .flatMap((record) => (record.type === 'TLSA' ? [record.data] : []))
        .map(({ usage, selector, matchingType, certificate }) => ({
          usage,
          selector,
          matchingType,
          data: certificate,
        })),
    )
  }

  /** The alias itself, not what it leads to. */
  alias(name: string): Promise<DnsAnswer<string>> {
    return this.#ask(name, 'CNAME', (records) =>
      records.flatMap((record) => (record.type === 'CNAME' ? [plain(record.data)] : [])),
    )
  }

  #ask<T>(name: string, type: Asked, read: (records: readonly Answer[]) => readonly T[]): Promise<DnsAnswer<T>> {
    // What cannot be asked for does not exist (RFC 1035 §2.3.4).
    if (!askable(name)) return Promise.resolve({ kind: 'nxdomain', ttlMs: NEGATIVE_TTL_MS, secure: false })
    const key = `${type} ${name.toLowerCase()}`
    const cached = this.#cache.get(key)
    if (cached !== undefined && this.#clock.monotonicMs() < cached.untilMs) {
      // What is asked for stays; what nobody asks for any more goes first.
      this.#cache.delete(key)
      this.#cache.set(key, cached)
      return Promise.resolve(cached.answer as DnsAnswer<T>)
    }
    const asking = this.#asking.get(key)
    if (asking !== undefined) return asking as Promise<DnsAnswer<T>>
    const asked = this.#question(name, type, read)
      .then((answer) => {
        this.#keep(key, answer)
        return answer
      })
      .finally(() => this.#asking.delete(key))
    this.#asking.set(key, asked)
    return asked
  }

  async #question<T>(
    name: string,
    type: Asked,
    read: (records: readonly Answer[]) => readonly T[],
  ): Promise<DnsAnswer<T>> {
    let reason: 'servfail' | 'timeout' | 'refused' = 'timeout'
    for (let round = 0; round < this.#rounds; round++)
      for (const server of this.#servers()) {
        const packet = await exchange(server, name, type, this.#clock, this.#timeoutMs)
        if (packet === null) continue
        const { rcode = '', flag_ad = false } = packet as { rcode?: string; flag_ad?: boolean }
        const secure = flag_ad && this.#believed(server)
        if (rcode === 'NXDOMAIN') return { kind: 'nxdomain', ttlMs: negativeTtl(packet.authorities), secure }
        if (rcode !== 'NOERROR') {
          reason = rcode === 'REFUSED' ? 'refused' : 'servfail'
          continue
        }
        const answered = answersTo(packet, name, type)
        if (answered === null) {
          reason = 'servfail'
          continue
        }
        const { found, ttlMs, owner } = answered
        const records = read(found).slice(0, MAX_RECORDS[type])
        if (records.length === 0) return { kind: 'nodata', ttlMs: negativeTtl(packet.authorities), secure }
        return { kind: 'records', records, ttlMs: Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, ttlMs)), secure, owner }
      }
    return { kind: 'failed', reason, ttlMs: FAILED_TTL_MS }
  }

  /** RFC 7672 §2.1.1: the bit says something only when the way from the validating resolver is safe. */
  #believed(server: NameServer): boolean {
    const address = canonical(server.address)
    return this.#trusted.has(address) || (ipaddr.isValid(address) && ipaddr.parse(address).range() === 'loopback')
  }

  #keep(key: string, answer: DnsAnswer<unknown>): void {
    this.#cache.delete(key)
    if (this.#cache.size >= this.#maxCached) this.#cache.delete(this.#cache.keys().next().value!)
    this.#cache.set(key, { answer, untilMs: this.#clock.monotonicMs() + answer.ttlMs })
  }
}

/**
 * The records of what was asked for, or of the name that its aliases lead to; whatever else was sent along is left out.
 * @returns null when the aliases lead nowhere (a loop)
 */
function answersTo(
  packet: Packet,
  name: string,
  type: Asked,
): { found: readonly Answer[]; ttlMs: number; owner: string } | null {
  const answers = packet.answers ?? []
  const aliases = new Map(answers.flatMap((record) => (record.type === 'CNAME' ? [[plain(record.name), record]] : [])))
  let owner = plain(name)
  let ttlMs = MAX_TTL_MS
  for (let followed = 0, alias = aliases.get(owner); alias !== undefined; alias = aliases.get(owner)) {
    if (type === 'CNAME') break
    if (followed++ === MAX_ALIASES) return null
    ttlMs = Math.min(ttlMs, ttlOf(alias))
    owner = plain(alias.data)
  }
  const found = answers.filter((record) => record.type === type && plain(record.name) === owner)
  for (const record of found) ttlMs = Math.min(ttlMs, ttlOf(record))
  return { found, ttlMs, owner }
}

function ttlOf(record: Answer): number {
  return ('ttl' in record ? (record.ttl ?? 0) : 0) * 1000
}

function plain(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}

function canonical(address: string): string {
  return ipaddr.isValid(address) ? ipaddr.process(address).toString() : address
}

function askable(name: string): boolean {
  return name.length <= 253 && name.split('.').every((label) => label !== '' && Buffer.byteLength(label) <= 63)
}

function negativeTtl(authorities: readonly Answer[] | undefined): number {
  const soa = authorities?.find((record) => record.type === 'SOA')
  if (soa?.type !== 'SOA') return NEGATIVE_TTL_MS
  const seconds = Math.min(soa.ttl ?? 0, soa.data.minimum ?? 0)
  return Math.min(MAX_NEGATIVE_TTL_MS, Math.max(MIN_TTL_MS, seconds * 1000))
}
