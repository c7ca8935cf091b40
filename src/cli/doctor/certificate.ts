import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { messageOf } from '#base'
import { bad, type Check, good, type Patient } from './check.ts'

const DAY_MS = 86_400_000
/** As long before its end as the alert comes. */
const SOON_DAYS = 21

/** The certificate that the listeners show. */
export function certificate({ config, nowMs }: Patient): Check[] {
  const { certificate_file: certFile, key_file: keyFile } = config.tls
  if (certFile === '')
    return [
      bad(
        'tls',
        config.mode === 'live' ? 'fail' : 'warn',
        'there is no certificate, so nobody can log in',
        'Set tls.certificate_file and tls.key_file.',
      ),
    ]
  try {
    const leaf = new X509Certificate(readFileSync(certFile))
    const found: Check[] = []
    const days = Math.floor((Date.parse(leaf.validTo) - nowMs) / DAY_MS)
    if (days < 0)
      found.push(
        bad(
          'tls',
          'fail',
          `${certFile} ended on ${leaf.validTo}`,
          'Get a new certificate, then: systemctl reload relevo',
        ),
      )
    else if (days < SOON_DAYS)
      found.push(bad('tls', 'warn', `${certFile} ends in ${days} days`, 'Renew it, then: systemctl reload relevo'))
    if (Date.parse(leaf.validFrom) > nowMs)
      found.push(
        bad('tls', 'fail', `${certFile} is valid only from ${leaf.validFrom}`, 'Check the clock of this machine.'),
      )
    if (leaf.checkHost(config.hostname) === undefined)
      found.push(
        bad(
          'tls',
          'fail',
          `${certFile} is not for ${config.hostname} (${leaf.subjectAltName ?? leaf.subject})`,
          `Get one for ${config.hostname}, or correct hostname.`,
        ),
      )
    if (!leaf.checkPrivateKey(createPrivateKey(readFileSync(keyFile))))
      found.push(
        bad('tls', 'fail', `${keyFile} is not the key of ${certFile}`, 'Put the two files of one certificate there.'),
      )
    return found.length > 0
      ? found
      : [good('tls', `the certificate is for ${config.hostname} and valid for ${days} more days`)]
  } catch (error) {
    return [
      bad(
        'tls',
        'fail',
        `the certificate cannot be read: ${messageOf(error)}`,
        'Check tls.certificate_file and tls.key_file, and who may read them.',
      ),
    ]
  }
}
