import { createHash, X509Certificate } from 'node:crypto'
import { certificate, type DnsEntry, type Script } from '#world'

type Tlsa = NonNullable<DnsEntry['TLSA']>[number]

/** The certificate that a scripted host of this name and behaviour shows. */
export async function shownBy(name: string, behaviour: Script): Promise<X509Certificate> {
  const { cert } = await certificate(behaviour.names ?? [name, '127.0.0.1'], behaviour.certificate)
  return new X509Certificate(cert)
}

/** A TLSA record that matches the certificate. */
export function tlsa(usage: number, selector: number, matchingType: number, shown: X509Certificate): Tlsa {
  const chosen = selector === 0 ? shown.raw : shown.publicKey.export({ type: 'spki', format: 'der' })
  const hash = matchingType === 1 ? 'sha256' : 'sha512'
  const data = matchingType === 0 ? chosen : createHash(hash).update(chosen).digest()
  return { usage, selector, matchingType, certificate: data }
}

/** One that matches nothing. */
export const WRONG: Tlsa = { usage: 3, selector: 1, matchingType: 1, certificate: Buffer.alloc(32, 7) }

/** What a domain with MTA-STS publishes in the DNS; its policy host is the world's, at 127.0.0.1. */
export function stsZones(domain: string, id = '20260101'): Record<string, DnsEntry> {
  return {
    [`_mta-sts.${domain}`]: { TXT: [`v=STSv1; id=${id};`], ttl: 1 },
    [`mta-sts.${domain}`]: { A: ['127.0.0.1'] },
  }
}

export function stsText(mode: string, mx: readonly string[], maxAgeSeconds = 604_800): string {
  return ['version: STSv1', `mode: ${mode}`, ...mx.map((one) => `mx: ${one}`), `max_age: ${maxAgeSeconds}`, ''].join(
    '\r\n',
  )
}
