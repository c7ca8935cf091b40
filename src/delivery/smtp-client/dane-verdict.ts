import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { certificateOf, matches, tlsaText } from '../direct/dane.ts'
import type { TlsaRecord } from '../direct/resolver.ts'
import { pkixVerdict } from './certificate-verdict.ts'
import type { Verdict } from './contract.ts'

/** Certificates looked at of the chain that a peer shows. */
const MAX_DEPTH = 10
const MAX_LEARNED = 1000
/** Trust anchors that a record names by its digest only, by the record: met in the chain of a handshake. */
const learned = new Map<string, string>()
const lists = new Map<string, readonly string[]>()
const NONE: readonly string[] = []

/** The anchors that are known for these records. The same list object for the same anchors, so that contexts are kept. */
export function trustAnchors(records: readonly TlsaRecord[]): readonly string[] {
  const known = records
    .filter(({ usage }) => usage === 2)
    .flatMap((record) => certificateOf(record)?.toString() ?? learned.get(tlsaText(record)) ?? [])
  if (known.length === 0) return NONE
  const key = known.join('')
  let list = lists.get(key)
  if (list === undefined) {
    if (lists.size >= MAX_LEARNED) lists.delete(lists.keys().next().value!)
    list = known
    lists.set(key, list)
  }
  return list
}

/**
 * Holds the peer's certificate against TLSA records (RFC 7672 §3.1). Usage 3: the certificate itself, whatever its name and dates.
 * Usage 2: OpenSSL found a chain to the anchor, valid now, for one of the names.
 * @returns `learned`: an anchor known by its digest alone was in the chain; the next handshake can be held against it
 */
export function daneVerdict(secure: TLSSocket, records: readonly TlsaRecord[]): Verdict | 'learned' {
  const chain = chainOf(secure)
  const leaf = chain[0]
  if (leaf === undefined)
    return { trusted: false, fault: 'validation-failure', detail: 'the host showed no certificate' }
  if (records.some((record) => record.usage === 3 && fits(record, leaf))) return { trusted: true }
  const anchored = records.filter(({ usage }) => usage === 2)
  if (anchored.length > 0 && secure.authorized) return { trusted: true }
  const known = trustAnchors(records)
  for (const record of anchored) {
    const anchor = chain.slice(1).find((one) => fits(record, one))
    if (anchor === undefined) continue
    if (known.includes(anchor.toString())) return pkixVerdict(secure)
    if (learned.size >= MAX_LEARNED) learned.delete(learned.keys().next().value!)
    learned.set(tlsaText(record), anchor.toString())
    return 'learned'
  }
  // An anchor given whole by the DNS stands behind the chain shown: then its verdict says more than "no match".
  const chained = known.length > 0 && !secure.authorized ? pkixVerdict(secure) : null
  if (chained?.trusted === false && chained.fault !== 'certificate-not-trusted') return chained
  const shown = records.map(tlsaText).join('; ').slice(0, 300)
  return { trusted: false, fault: 'validation-failure', detail: `the certificate matches no TLSA record (${shown})` }
}

function chainOf(secure: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = []
  let next = secure.getPeerX509Certificate()
  while (next !== undefined && chain.length < MAX_DEPTH) {
    chain.push(next)
    next = next.issuerCertificate
  }
  return chain
}

/** A key of a kind that cannot be written out matches nothing. */
function fits(record: TlsaRecord, certificate: X509Certificate): boolean {
  try {
    return matches(record, certificate)
  } catch {
    return false
  }
}
