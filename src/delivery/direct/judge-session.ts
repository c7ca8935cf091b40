import type { ConnectFailure, SmtpConnection, Verdict } from '../smtp-client/contract.ts'
import { tlsaText } from './dane.ts'
import { stsAllows } from './sts-policy.ts'
import type { DomainTls, TlsPolicy } from './tls-policy.ts'
import type { TlsResult } from './tls-results.ts'

type Reported = Pick<TlsResult, 'policyType' | 'policy'>
type Session = Pick<TlsResult, 'result' | 'reason'>

/** Under which policy a session with this host is reported: what the recipient's domain published, not what we made of it. */
export function reportedPolicy(tls: DomainTls, host: string): Reported {
  const dane = tls.hosts.get(host)?.dane ?? { kind: 'none' as const }
  if (dane.kind === 'records' || dane.kind === 'unusable')
    return { policyType: 'tlsa', policy: { strings: dane.records.map(tlsaText), mx: [] } }
  if (dane.kind === 'failed') return { policyType: 'tlsa', policy: { strings: [], mx: [] } }
  if (tls.sts === null) return { policyType: 'no-policy-found', policy: { strings: [], mx: [] } }
  const { mode, maxAgeMs, mx } = tls.sts.policy
  const strings = [
    'version: STSv1',
    `mode: ${mode}`,
    ...mx.map((one) => `mx: ${one}`),
    `max_age: ${Math.round(maxAgeMs / 1000)}`,
  ]
  return { policyType: 'sts', policy: { strings, mx } }
}

/** What RFC 8460 §4.3 calls a session that came about, by the published policy, whether or not it was enforced. */
export function judgeSession(
  tls: DomainTls,
  connection: Pick<SmtpConnection, 'host' | 'tls' | 'certificate'>,
): Session {
  const { host, certificate } = connection
  const published = tls.hosts.get(host)
  if (connection.tls === '') return { result: 'starttls-not-supported', reason: 'tls-not-offered' }
  // Of DANE a session that stands is one that matched; without a policy any TLS is a success.
  if (published?.dane.kind !== 'none' || tls.sts === null) return { result: 'success', reason: '' }
  if (!stsAllows(tls.sts.policy, host)) return { result: 'validation-failure', reason: 'sts-mx-not-listed' }
  return ofCertificate(certificate)
}

function ofCertificate(certificate: Verdict | null): Session {
  if (certificate === null || certificate.trusted) return { result: 'success', reason: '' }
  return { result: certificate.fault, reason: certificate.detail }
}

/** The same of one that did not; null when TLS had no part in it. */
export function judgeFailure(failure: Pick<ConnectFailure, 'stage' | 'reason' | 'fault' | 'detail'>): Session | null {
  if (failure.stage !== 'starttls') return null
  if (failure.reason === 'tls-not-offered') return { result: 'starttls-not-supported', reason: failure.reason }
  return { result: failure.fault ?? 'validation-failure', reason: failure.detail ?? failure.reason }
}

/** The same of a host that was not even tried. */
export function judgeRefusal(policy: Extract<TlsPolicy, { level: 'refuse' }>): Session {
  return { result: policy.fault, reason: policy.detail }
}
