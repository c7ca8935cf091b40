import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { PeerCertificate, TLSSocket } from 'node:tls'
import type { Verdict } from './contract.ts'

/**
 * RFC 9525 §6: one of the names stands among the subject alternative names; the common name counts for nothing, a wildcard for
 * one whole label.
 */
export function nameMismatch(certificate: PeerCertificate, names: readonly string[]): Error | undefined {
  const parsed = new X509Certificate(certificate.raw)
  const rule = { subject: 'never', wildcards: true, partialWildcards: false } as const
  const fits = names.some((name) =>
    isIP(name) === 0 ? parsed.checkHost(name, rule) !== undefined : parsed.checkIP(name) !== undefined,
  )
  if (fits) return undefined
  const error: NodeJS.ErrnoException = new Error(
    `the certificate is for ${(parsed.subjectAltName ?? 'no name').slice(0, 200)}, not for ${names.join(' or ')}`,
  )
  error.code = 'ERR_TLS_CERT_ALTNAME_INVALID'
  return error
}

const EXPIRED = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'])

/** What OpenSSL found of the chain, and `nameMismatch` of the name. */
export function pkixVerdict(secure: TLSSocket): Verdict {
  if (secure.authorized) return { trusted: true }
  // An error whatever its declared type: its code, or the words of the one that was thrown.
  const error = secure.authorizationError as unknown as string | (Error & { code?: string }) | null
  const code = typeof error === 'string' ? error : (error?.code ?? '')
  const peer = secure.getPeerX509Certificate()
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return {
      trusted: false,
      fault: 'certificate-host-mismatch',
      detail: `the certificate is for ${(peer?.subjectAltName ?? 'no name').slice(0, 200)}`,
    }
  if (EXPIRED.has(code))
    return {
      trusted: false,
      fault: 'certificate-expired',
      detail: `the certificate is valid from ${peer?.validFrom ?? '?'} to ${peer?.validTo ?? '?'}`,
    }
  return {
    trusted: false,
    fault: 'certificate-not-trusted',
    detail: `the certificate of ${(peer?.issuer ?? 'nobody').replaceAll('\n', ', ').slice(0, 150)} is not trusted (${code || 'no certificate'})`,
  }
}
