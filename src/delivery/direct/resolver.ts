import { getServers } from 'node:dns'
import type { Answer, RecordType } from 'dns-packet'
import type { Clock } from '#base'
import { exchange, type NameServer } from './dns-exchange.ts'

/** What the DNS says. `secure`: the resolver validated it (AD); believe that only of a trusted resolver. */
export type DnsAnswer<T> =
  | { readonly kind: 'records'; readonly records: readonly T[]; readonly ttlMs: number; readonly secure: boolean }
  | { readonly kind: 'nodata' | 'nxdomain'; readonly ttlMs: number; readonly secure: boolean }
  | { readonly kind: 'failed'; readonly reason: 'servfail' | 'timeout' | 'refused'; readonly ttlMs: number }

export type MxRecord = { readonly exchange: string; readonly preference: number }

export type ResolverOptions = {
  /** `address`, `address:port` or `[v6]:port`; none: those of the system. */
  readonly servers: readonly string[]
  readonly clock: Clock
  readonly timeoutMs?: number
  readonly rounds?: number
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

type Cached = { readonly answer: DnsAnswer<unknown>; readonly untilMs: number }

/** A small caching resolver over the recursive servers: TTLs kept, equal questions asked once, bounded. */
export class Resolver {
  readonly #servers: readonly NameServer[]
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #rounds: number
  readonly #cache = new Map<string, Cached>()
  readonly #asking = new Map<string, Promise<DnsAnswer<unknown>>>()

  constructor(options: ResolverOptions) {
    this.#servers = (options.servers.length > 0 ? options.servers : getServers()).map(serverOf)
    this.#clock = options.clock
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS
    this.#rounds = options.rounds ?? ROUNDS
  }

  mx(name: string): Promise<DnsAnswer<MxRecord>> {
    return this.#ask(name, 'MX', (record) =>
      record.type === 'MX'
        ? {
            exchange: (record.data.exchange ?? '').toLowerCase().replace(/\.$/, ''),
            preference: record.data.preference ?? 0,
          }
        : null,
    )
  }

  addresses(name: string, family: 4 | 6): Promise<DnsAnswer<string>> {
    return this.#ask(name, family === 4 ? 'A' : 'AAAA', (record) =>
      record.type === 'A' || record.type === 'AAAA' ? record.data : null,
    )
  }

  txt(name: string): Promise<DnsAnswer<string>> {
    return this.#ask(name, 'TXT', (record) =>
      record.type === 'TXT' ? [record.data].flat().map(String).join('') : null,
    )
  }

  #ask<T>(name: string, type: RecordType, read: (record: Answer) => T | null): Promise<DnsAnswer<T>> {
    // What cannot be asked for does not exist (RFC 1035 §2.3.4).
    if (!askable(name)) return Promise.resolve({ kind: 'nxdomain', ttlMs: NEGATIVE_TTL_MS, secure: false })
    const key = `${type} ${name.toLowerCase()}`
    const cached = this.#cache.get(key)
    if (cached !== undefined && this.#clock.monotonicMs() < cached.untilMs)
      return Promise.resolve(cached.answer as DnsAnswer<T>)
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

  async #question<T>(name: string, type: RecordType, read: (record: Answer) => T | null): Promise<DnsAnswer<T>> {
    let reason: 'servfail' | 'timeout' | 'refused' = 'timeout'
    for (let round = 0; round < this.#rounds; round++)
      for (const server of this.#servers) {
        const packet = await exchange(server, name, type, this.#clock, this.#timeoutMs)
        if (packet === null) continue
        const { rcode = '', flag_ad: secure = false } = packet as { rcode?: string; flag_ad?: boolean }
        if (rcode === 'NXDOMAIN') return { kind: 'nxdomain', ttlMs: negativeTtl(packet.authorities), secure }
        if (rcode !== 'NOERROR') {
          reason = rcode === 'REFUSED' ? 'refused' : 'servfail'
          continue
        }
        const found = (packet.answers ?? []).filter((record) => record.type === type)
        const records = found.map(read).filter((record) => record !== null)
        if (records.length === 0) return { kind: 'nodata', ttlMs: negativeTtl(packet.authorities), secure }
        const ttlMs = Math.min(
          ...(packet.answers ?? []).map((record) => ('ttl' in record ? (record.ttl ?? 0) : 0) * 1000),
        )
        return { kind: 'records', records, ttlMs: Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, ttlMs)), secure }
      }
    return { kind: 'failed', reason, ttlMs: FAILED_TTL_MS }
  }

  #keep(key: string, answer: DnsAnswer<unknown>): void {
    if (this.#cache.size >= MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value!)
    this.#cache.delete(key)
    this.#cache.set(key, { answer, untilMs: this.#clock.monotonicMs() + answer.ttlMs })
  }
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

function serverOf(text: string): NameServer {
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(text)
  if (bracketed) return { address: bracketed[1]!, port: Number(bracketed[2] ?? 53) }
  const colon = text.indexOf(':')
  // One colon is a port, several are an IPv6 address.
  if (colon >= 0 && colon === text.lastIndexOf(':'))
    return { address: text.slice(0, colon), port: Number(text.slice(colon + 1)) }
  return { address: text, port: 53 }
}
