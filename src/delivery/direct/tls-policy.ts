import { createHash } from 'node:crypto'
import type { Config } from '#config'
import type { Demand } from '../contract.ts'
import { type Dane, type DaneHost, lookUpDane, tlsaText } from './dane.ts'
import type { MtaSts, StsInForce } from './mta-sts.ts'
import type { Resolver, TlsaRecord } from './resolver.ts'
import { stsAllows } from './sts-policy.ts'

/** What decided how a connection is secured, as shown to people. */
export type PolicySource =
  | 'default'
  | 'configured'
  | 'dane'
  | 'mta-sts'
  | 'mta-sts-testing'
  | 'requiretls'
  | 'tls-required-no'

/** What is asked of the connection to one MX host. From `encrypt` on, nothing goes in clear text. */
export type TlsPolicy = { readonly by: PolicySource } & (
  | { readonly level: 'off' }
  | { readonly level: 'opportunistic' }
  /** TLS, whatever the certificate. */
  | { readonly level: 'encrypt' }
  /** A certificate of an authority for one of the names. */
  | { readonly level: 'verify'; readonly names: readonly string[] }
  /** A certificate that matches a record; `names[0]` is where they stand. */
  | { readonly level: 'dane'; readonly records: readonly TlsaRecord[]; readonly names: readonly string[] }
  /** The host must not be used. `fault`: the result type in reports (RFC 8460 §4.3). */
  | {
      readonly level: 'refuse'
      readonly reason: string
      readonly detail: string
      readonly status: string
      readonly fault: string
    }
)

/** What was published for a domain, and what follows for each of its hosts. */
export type DomainTls = {
  /** The MX records were validated, so their names are genuine. */
  readonly mxSecure: boolean
  readonly sts: StsInForce | null
  /** By the name of the host. */
  readonly hosts: ReadonlyMap<string, { readonly policy: TlsPolicy; readonly dane: Dane }>
  /** Equal for destinations whose connections may be shared; empty when nothing but the default holds. */
  readonly key: string
}

export const NOTHING_PUBLISHED: DomainTls = { mxSecure: false, sts: null, hosts: new Map(), key: '' }

export type TlsPolicyParts = {
  readonly config: Pick<Config['delivery'], 'tls' | 'dane' | 'port'>
  readonly configured: Config['tls_policies']
  readonly resolver: Resolver
  /** Null: switched off. */
  readonly sts: MtaSts | null
}

const NONE: Dane = { kind: 'none', ttlMs: 300_000 }
/** RFC 3463 §3.8: security features not supported; cryptographic failure. */
export const NOT_OFFERED_STATUS = '4.7.4'
export const FAILED_STATUS = '4.7.5'

/**
 * The one place that decides how mail for a domain is secured. In order: what the configuration says of the domain, DANE
 * (RFC 7672), MTA-STS (RFC 8461; never instead of DANE, §2), the default.
 */
export class TlsPolicies {
  readonly #parts: TlsPolicyParts
  readonly #configured: ReadonlyMap<string, Config['tls_policies'][number]>

  constructor(parts: TlsPolicyParts) {
    this.#parts = parts
    this.#configured = new Map(parts.configured.map((entry) => [entry.domain.toLowerCase(), entry]))
  }

  /** @param hosts those that will be tried, with what the look-up of their addresses said */
  async decide(
    domain: string,
    mxSecure: boolean,
    hosts: readonly DaneHost[],
  ): Promise<{ readonly tls: DomainTls; readonly ttlMs: number }> {
    const { config, sts: mtaSts, resolver } = this.#parts
    const own = this.#configuredFor(domain)
    const asked = own === null ? config.tls !== 'off' : own.policy === 'required' || own.policy === 'dane'
    const wantsDane = asked && mxSecure && (config.dane || own?.policy === 'dane')
    const [sts, ...found] = await Promise.all([
      asked && mtaSts !== null && own?.policy !== 'dane' ? mtaSts.inForce(domain) : null,
      ...hosts.map((host) => (wantsDane ? lookUpDane(resolver, host, config.port) : NONE)),
    ])
    const decided = new Map(
      hosts.map((host, i) => {
        const dane = found[i]!
        return [host.name, { policy: this.#policyOf(domain, host.name, own, dane, sts), dane }] as const
      }),
    )
    const tls = { mxSecure, sts, hosts: decided, key: keyOf(decided) }
    return { tls, ttlMs: Math.min(...found.map((dane) => dane.ttlMs), NONE.ttlMs) }
  }

  #policyOf(
    domain: string,
    host: string,
    own: Config['tls_policies'][number] | null,
    dane: Dane,
    sts: StsInForce | null,
  ): TlsPolicy {
    if (own?.policy === 'none') return { by: 'configured', level: 'off' }
    if (own?.policy === 'opportunistic') return { by: 'configured', level: 'opportunistic' }
    if (own?.policy === 'verify')
      return { by: 'configured', level: 'verify', names: own.names.length > 0 ? own.names : [host] }
    const published = byDane(dane, domain) ?? bySts(sts, host)
    if (published !== null && published.level !== 'opportunistic') return published
    if (own?.policy === 'dane')
      return refusal(
        'configured',
        'dane-required',
        `no TLSA record that can be used was found for ${host}`,
        'dane-required',
      )
    if (own?.policy === 'required' || this.#parts.config.tls === 'require')
      return { by: own === null ? 'default' : 'configured', level: 'encrypt' }
    return published ?? { by: 'default', level: this.#parts.config.tls === 'off' ? 'off' : 'opportunistic' }
  }

  /** The entry of the domain itself, or of the nearest domain above it that is written with `*.`. */
  #configuredFor(domain: string): Config['tls_policies'][number] | null {
    const exact = this.#configured.get(domain)
    if (exact !== undefined || this.#configured.size === 0) return exact ?? null
    for (let at = domain.indexOf('.'); at >= 0; at = domain.indexOf('.', at + 1)) {
      const above = this.#configured.get(`*${domain.slice(at)}`)
      if (above !== undefined) return above
    }
    return null
  }
}

function byDane(dane: Dane, domain: string): TlsPolicy | null {
  switch (dane.kind) {
    case 'none':
      return null
    case 'failed':
      // RFC 7672 §2.1.2: what cannot be looked up may be there, so the host is passed over.
      return refusal(
        'dane',
        'dane-lookup-failed',
        `the TLSA records cannot be looked up (${dane.reason})`,
        'dnssec-invalid',
      )
    case 'unusable':
      return { by: 'dane', level: 'encrypt' }
    case 'records':
      // RFC 7672 §3.2.2: the name where the records stand, and the domain that was asked for its MX.
      return { by: 'dane', level: 'dane', records: dane.records, names: [dane.base, domain] }
  }
}

function bySts(sts: StsInForce | null, host: string): TlsPolicy | null {
  if (sts === null) return null
  if (sts.policy.mode === 'testing') return { by: 'mta-sts-testing', level: 'opportunistic' }
  if (stsAllows(sts.policy, host)) return { by: 'mta-sts', level: 'verify', names: [host] }
  return refusal(
    'mta-sts',
    'sts-mx-not-listed',
    `${host} is not a host of the MTA-STS policy (${sts.id})`,
    'validation-failure',
  )
}

function refusal(by: PolicySource, reason: string, detail: string, fault: string): TlsPolicy {
  return { by, level: 'refuse', reason, detail, status: FAILED_STATUS, fault }
}

/**
 * What a message asks for itself, laid over the policy of the host. REQUIRETLS (RFC 8689 §4.2.1): the name of the host is genuine
 * by DNSSEC or MTA-STS, and the certificate is for it. `TLS-Required: no` (§5): what the domain published is left aside, what the
 * administrator wrote is not.
 */
export function policyFor(tls: DomainTls, host: string, demand: Demand): TlsPolicy {
  const policy = tls.hosts.get(host)?.policy ?? { by: 'default', level: 'opportunistic' }
  const published = policy.by === 'dane' || policy.by === 'mta-sts' || policy.by === 'mta-sts-testing'
  if (demand === 'no-tls-needed') return published ? { by: 'tls-required-no', level: 'opportunistic' } : policy
  if (demand !== 'must' || policy.level === 'dane' || policy.level === 'verify' || policy.level === 'refuse')
    return policy
  const listed = tls.sts !== null && stsAllows(tls.sts.policy, host)
  if (tls.mxSecure || listed) return { by: 'requiretls', level: 'verify', names: [host] }
  return refusal(
    'requiretls',
    'requiretls-unproven-host',
    `the message asks for REQUIRETLS, and neither DNSSEC nor MTA-STS proves that ${host} is a host of the domain`,
    'validation-failure',
  )
}

/** For people: `dane`, `mta-sts enforce`, `configured verify` … */
export function policyText(policy: TlsPolicy): string {
  return policy.level === policy.by ? policy.by : `${policy.by} ${policy.level}`
}

/** Hosts that are used by the same rules share connections, whatever the domain. */
function keyOf(hosts: ReadonlyMap<string, { readonly policy: TlsPolicy }>): string {
  const parts = [...hosts].flatMap(([name, { policy }]) => {
    if (policy.by === 'default' && policy.level === 'opportunistic') return []
    const anchored = policy.level === 'dane' && policy.records.some(({ usage }) => usage === 2)
    // Under usage 3 no name is looked at.
    const names = policy.level === 'verify' || anchored ? policy.names : []
    const records = policy.level === 'dane' ? policy.records.map(tlsaText).sort() : []
    return [[name, policy.by, policy.level, ...names, ...records].join(' ')]
  })
  return parts.length === 0 ? '' : createHash('sha256').update(parts.sort().join('\n')).digest('base64url')
}
