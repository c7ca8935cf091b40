import { createHash, X509Certificate } from 'node:crypto'
import type { Resolver, TlsaRecord } from './resolver.ts'

/** What the TLSA records of an MX host ask for (RFC 7672 §2.2). */
export type Dane =
  /** Nothing that can be believed was published: DANE says nothing about this host. */
  | { readonly kind: 'none'; readonly ttlMs: number }
  /** The answer could not be had, or was not genuine: the host must not be used now (RFC 7672 §2.1.2). */
  | { readonly kind: 'failed'; readonly reason: string; readonly ttlMs: number }
  /** Records, none of which can be used: TLS, whatever the certificate (RFC 7672 §2.2). */
  | { readonly kind: 'unusable'; readonly records: readonly TlsaRecord[]; readonly ttlMs: number }
  /** `base`: where they stand; a certificate under usage 2 is for it. */
  | {
      readonly kind: 'records'
      readonly base: string
      readonly records: readonly TlsaRecord[]
      readonly ttlMs: number
    }

/** An MX host, with what the look-up of its addresses said. */
export type DaneHost = {
  readonly name: string
  /** All answers about its addresses were validated. */
  readonly secure: boolean
  /** Where the aliases of its name lead. */
  readonly owner: string
}

const NONE_TTL_MS = 300_000
const HASHES: Readonly<Record<number, { readonly name: string; readonly bytes: number }>> = {
  1: { name: 'sha256', bytes: 32 },
  2: { name: 'sha512', bytes: 64 },
}

/** The records for the host at this port. Asks nothing when they could not be believed. */
export async function lookUpDane(resolver: Resolver, host: DaneHost, port: number): Promise<Dane> {
  let ttlMs = NONE_TTL_MS
  for (const base of await basesOf(resolver, host)) {
    const answer = await resolver.tlsa(`_${port}._tcp.${base}`)
    ttlMs = Math.min(ttlMs, answer.ttlMs)
    if (answer.kind === 'failed') return { kind: 'failed', reason: `tlsa-${answer.reason}`, ttlMs }
    if (answer.kind !== 'records' || !answer.secure) continue
    const records = answer.records.filter(isUsable)
    return records.length === 0
      ? { kind: 'unusable', records: answer.records, ttlMs }
      : { kind: 'records', base, records, ttlMs }
  }
  return { kind: 'none', ttlMs }
}

/**
 * RFC 7672 §2.2.2: the end of the aliases first and the name itself second, when both were validated. Where the alias is genuine
 * and what it leads to is not signed, the name itself alone.
 */
async function basesOf(resolver: Resolver, host: DaneHost): Promise<readonly string[]> {
  if (host.secure) return host.owner === host.name ? [host.name] : [host.owner, host.name]
  if (host.owner === host.name) return []
  const alias = await resolver.alias(host.name)
  return alias.kind === 'records' && alias.secure ? [host.name] : []
}

/** RFC 7672 §3.1: usages 2 and 3; what has a number or a length that is not known is passed over. */
function isUsable({ usage, selector, matchingType, data }: TlsaRecord): boolean {
  if ((usage !== 2 && usage !== 3) || (selector !== 0 && selector !== 1)) return false
  if (matchingType === 0) return data.length > 0
  return HASHES[matchingType]?.bytes === data.length
}

/** The certificate is the one that the record names (RFC 6698 §2.1). */
export function matches({ selector, matchingType, data }: TlsaRecord, certificate: X509Certificate): boolean {
  const chosen = selector === 0 ? certificate.raw : certificate.publicKey.export({ type: 'spki', format: 'der' })
  const hash = HASHES[matchingType]
  return (hash === undefined ? chosen : createHash(hash.name).update(chosen).digest()).equals(data)
}

/** A whole certificate as the record holds it (selector 0, matching type 0); null when it holds none. */
export function certificateOf({ selector, matchingType, data }: TlsaRecord): X509Certificate | null {
  if (selector !== 0 || matchingType !== 0) return null
  try {
    return new X509Certificate(data)
  } catch {
    return null
  }
}

/** As in a zone file: `3 1 1 ab…`. */
export function tlsaText({ usage, selector, matchingType, data }: TlsaRecord): string {
  return `${usage} ${selector} ${matchingType} ${data.toString('hex')}`
}
