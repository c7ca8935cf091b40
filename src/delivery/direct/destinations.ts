import { createHash } from 'node:crypto'
import type { Clock } from '#base'
import { checkAddress, isOwnAddress } from '../checked-address.ts'
import type { Destination } from '../contract.ts'
import type { DnsAnswer, MxRecord, Resolver } from './resolver.ts'
import type { TlsPolicies } from './tls-policy.ts'

/** Where mail for a domain goes, or why it cannot go anywhere (for ever, or now). */
export type Resolved =
  | { readonly kind: 'destination'; readonly destination: Destination }
  | { readonly kind: 'refused'; readonly status: string; readonly reason: string }
  | { readonly kind: 'deferred'; readonly reason: string }

export type DestinationsOptions = {
  readonly resolver: Resolver
  readonly clock: Clock
  /** Our own name: an MX of that name is ourselves. */
  readonly hostname: string
  readonly families: 'both' | 'ipv4' | 'ipv6'
  readonly allowNetworks: readonly string[]
  readonly maxHosts: number
  readonly tlsPolicies: TlsPolicies
  mailboxProviderOf(domain: string, mxHosts: readonly string[]): string
}

type Host = { readonly name: string; readonly preference: number }
type Found = {
  readonly addresses: string[]
  readonly failed: string | null
  readonly special: string | null
  readonly own: boolean
  readonly ttlMs: number
  /** Every answer was validated. */
  readonly secure: boolean
  /** The end of the aliases of its name. */
  readonly owner: string
}
type Fresh = { readonly resolved: Resolved; readonly ttlMs: number }

const MAX_CACHED = 50_000
/** What the DNS allows is kept within these; a failure, and an answer that one family of addresses is missing from, for these. */
const MAX_TTL_MS = 300_000
const MIN_TTL_MS = 5000
const FAILED_TTL_MS = 5000
const PARTLY_TTL_MS = 60_000
/** Hosts without an address cost a question each: of so many names for each host wanted, no more are looked at. */
const LOOKED_PER_HOST = 2
/** A longer list of names stands as its digest. */
const MAX_SITE_CHARACTERS = 250

/** RFC 5321 §5: the MX hosts of a domain by preference, with addresses that may be connected to. */
export class Destinations {
  readonly #options: DestinationsOptions
  readonly #cache = new Map<string, { readonly resolved: Resolved; readonly untilMs: number }>()
  readonly #asking = new Map<string, Promise<Resolved>>()

  constructor(options: DestinationsOptions) {
    this.#options = options
  }

  /** What is known already, without asking. */
  known(domain: string): Resolved | undefined {
    const cached = this.#cache.get(domain)
    return cached !== undefined && this.#options.clock.monotonicMs() < cached.untilMs ? cached.resolved : undefined
  }

  resolve(domain: string): Promise<Resolved> {
    const known = this.known(domain)
    if (known !== undefined) return Promise.resolve(known)
    let asking = this.#asking.get(domain)
    if (asking === undefined) {
      asking = this.#resolve(domain).finally(() => this.#asking.delete(domain))
      this.#asking.set(domain, asking)
    }
    return asking
  }

  async #resolve(domain: string): Promise<Resolved> {
    const mx = await this.#options.resolver.mx(domain)
    const { resolved, ttlMs } = await this.#fromMx(domain, mx)
    const allowedMs = Math.max(MIN_TTL_MS, Math.min(MAX_TTL_MS, mx.ttlMs, ttlMs))
    const keptMs = resolved.kind === 'deferred' ? FAILED_TTL_MS : allowedMs
    this.#cache.delete(domain)
    if (this.#cache.size >= MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value!)
    this.#cache.set(domain, { resolved, untilMs: this.#options.clock.monotonicMs() + keptMs })
    return resolved
  }

  async #fromMx(domain: string, mx: DnsAnswer<MxRecord>): Promise<Fresh> {
    const { ttlMs } = mx
    if (mx.kind === 'failed') return { ttlMs, resolved: { kind: 'deferred', reason: `dns-${mx.reason}` } }
    // RFC 3463 §3.2: bad destination system address
    if (mx.kind === 'nxdomain')
      return { ttlMs, resolved: { kind: 'refused', status: '5.1.2', reason: 'domain-not-found' } }
    if (mx.kind !== 'records') return this.#fromHosts(domain, [{ name: domain, preference: 0 }], true, mx.secure)
    const named = mx.records.filter((record) => record.exchange !== '')
    // RFC 7505 §3: the one record "." says that the domain takes no mail.
    if (named.length === 0) return { ttlMs, resolved: { kind: 'refused', status: '5.1.10', reason: 'null-mx' } }
    const hosts = ordered(named.map(({ exchange, preference }) => ({ name: exchange, preference })))
    return this.#fromHosts(domain, hosts, false, mx.secure)
  }

  async #fromHosts(domain: string, hosts: readonly Host[], implicit: boolean, mxSecure: boolean): Promise<Fresh> {
    const { hostname, maxHosts, mailboxProviderOf, tlsPolicies } = this.#options
    let ttlMs = MAX_TTL_MS
    const usable: (Destination['hosts'][number] & Pick<Found, 'secure' | 'owner'>)[] = []
    let failed: string | null = null
    let special: string | null = null
    let ours = false
    let left = maxHosts
    const looked = hosts.slice(0, maxHosts * LOOKED_PER_HOST)
    for (const host of looked) {
      if (left <= 0) break
      const found: Found =
        host.name === hostname.toLowerCase()
          ? { addresses: [], failed: null, special: null, own: true, ttlMs, secure: false, owner: host.name }
          : await this.#addressesOf(host.name)
      ttlMs = Math.min(ttlMs, found.ttlMs)
      // RFC 5321 §5.1: hosts that are not preferred over ourselves would bring the message back.
      if (found.own) {
        ours = true
        while ((usable.at(-1)?.preference ?? -1) >= host.preference) usable.pop()
        break
      }
      failed ??= found.failed
      special ??= found.special
      if (found.addresses.length === 0) continue
      const addresses = found.addresses.slice(0, left)
      left -= addresses.length
      usable.push({ ...host, addresses, secure: found.secure, owner: found.owner })
    }
    if (usable.length > 0) {
      const names = hosts.map((host) => host.name)
      const site = implicit ? domain : siteOf(names)
      const mailboxProvider = mailboxProviderOf(domain, names)
      const decided = await tlsPolicies.decide(domain, mxSecure, usable)
      const destination = { domain, hosts: usable, site, mailboxProvider, tls: decided.tls }
      return { ttlMs: Math.min(ttlMs, decided.ttlMs), resolved: { kind: 'destination', destination } }
    }
    const fully = looked.length === hosts.length
    return { ttlMs, resolved: withoutHosts({ failed, ours, special, fully, implicit }) }
  }

  async #addressesOf(name: string): Promise<Found> {
    const { families, resolver, allowNetworks } = this.#options
    const wanted: readonly (4 | 6)[] = families === 'ipv4' ? [4] : families === 'ipv6' ? [6] : [4, 6]
    const answers = await Promise.all(wanted.map((family) => resolver.addresses(name, family)))
    let special: string | null = null
    let own = false
    const addresses: string[] = []
    for (const answer of answers) {
      if (answer.kind !== 'records') continue
      for (const address of shuffled(answer.records)) {
        const checked = checkAddress(address, allowNetworks)
        if (checked.ok) {
          // An address of ours that is not merely allowed by name is this host under another name.
          if (isOwnAddress(address) && checkAddress(address, []).ok) own = true
          else addresses.push(address)
        } else special ??= checked.error.reason
      }
    }
    const failed = answers.find((answer) => answer.kind === 'failed')
    const ttlMs = Math.min(...answers.map((answer) => (answer.kind === 'failed' ? PARTLY_TTL_MS : answer.ttlMs)))
    const heard = answers.filter((answer) => answer.kind !== 'failed')
    const found = heard.find((answer) => answer.kind === 'records')
    return {
      ...{ addresses, special, own, ttlMs, failed: failed === undefined ? null : `dns-${failed.reason}` },
      secure: heard.length > 0 && heard.every((answer) => answer.secure),
      owner: found?.owner ?? name,
    }
  }
}

/** Why there is no host to connect to. */
function withoutHosts(found: {
  readonly failed: string | null
  readonly ours: boolean
  readonly special: string | null
  /** All hosts were looked at. */
  readonly fully: boolean
  readonly implicit: boolean
}): Resolved {
  // A better host whose address is not known now may still turn up.
  if (found.failed !== null) return { kind: 'deferred', reason: found.failed }
  // RFC 3463 §3.5: routing loop detected
  if (found.ours) return { kind: 'refused', status: '5.4.6', reason: 'mail-loop' }
  // RFC 3463 §3.5: unable to route
  if (found.special !== null) return { kind: 'refused', status: '5.4.4', reason: `special-address-${found.special}` }
  if (!found.fully) return { kind: 'deferred', reason: 'mx-without-address' }
  return found.implicit
    ? { kind: 'refused', status: '5.1.2', reason: 'domain-takes-no-mail' }
    : { kind: 'refused', status: '5.4.4', reason: 'mx-without-address' }
}

/** The same for all domains behind the same hosts. */
function siteOf(names: readonly string[]): string {
  const all = [...new Set(names)].sort().join(',')
  return all.length <= MAX_SITE_CHARACTERS ? all : createHash('sha256').update(all).digest('base64url')
}

/** By preference, in random order among equals (RFC 5321 §5.1). */
function ordered(hosts: readonly Host[]): readonly Host[] {
  return shuffled(hosts).sort((a, b) => a.preference - b.preference)
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((item) => ({ item, draw: Math.random() }))
    .sort((a, b) => a.draw - b.draw)
    .map(({ item }) => item)
}
