import { DMARC_POLICIES, isDmarc, parseDmarc } from '../policy/dmarc-record.ts'
import { type Finding, finding } from './finding.ts'
import { panelFault } from './judge-txt.ts'

/** @returns the one record that receivers take, or null when there is none they could take */
export function dmarcOf(values: readonly string[]): string | null {
  const records = values.filter(isDmarc)
  return records.length === 1 ? records[0]! : null
}

/**
 * What is wrong with a published DMARC record. Policies are never judged as too strong; what is there is not replaced.
 * @param values every TXT value at `_dmarc.<domain>`, at least one
 */
export function judgeDmarc(name: string, values: readonly string[], strictSpfFails: boolean): readonly Finding[] {
  const records = values.filter(isDmarc)
  if (records.length > 1)
    return [
      finding(
        'error',
        'dmarc-two',
        name,
        `${records.length} DMARC records stand here; receivers then use none (RFC 7489 §6.6.3)`,
        'Leave one of them, the stricter.',
      ),
    ]
  const [text] = records
  if (text === undefined) return [nearMiss(name, values)]
  const fault = panelFault(name, text, /^v=DMARC1/)
  if (fault !== null) return [fault]
  const record = parseDmarc(text)
  if (typeof record === 'string') {
    const missing = record.includes('p is missing')
    const semicolons = !missing && record.startsWith('its tags')
    return [
      finding(
        'error',
        missing ? 'dmarc-policy-missing' : semicolons ? 'semicolons-missing' : 'dmarc-policy-unknown',
        name,
        `the DMARC record cannot be used: ${record}`,
        'Write it as: v=DMARC1; p=none; rua=mailto:…',
      ),
    ]
  }
  const found: Finding[] = []
  if (DMARC_POLICIES.indexOf(record.subdomainPolicy) < DMARC_POLICIES.indexOf(record.policy))
    found.push(
      finding(
        'warning',
        'dmarc-subdomains-weaker',
        name,
        `sp=${record.subdomainPolicy} leaves subdomains weaker than p=${record.policy}: they can be used to fake mail`,
        'Take sp out, once nothing else is sent from subdomains.',
      ),
    )
  if (record.percent < 100)
    found.push(
      finding('note', 'dmarc-percent', name, `pct=${record.percent}: the policy holds for a part of the mail only`),
    )
  if (record.spfAlignment === 's' && strictSpfFails)
    found.push(
      finding(
        'warning',
        'dmarc-spf-strict',
        name,
        'aspf=s wants the return path in the domain itself; the bounce host is below it, so only DKIM passes DMARC',
        'Use aspf=r, or rely on DKIM alone.',
      ),
    )
  if (record.rua.length === 0)
    found.push(
      finding(
        'warning',
        'dmarc-no-reports',
        name,
        'the record asks nobody for reports, so nobody tells you what fails',
        'Add the rua given here; the rest stays as it is.',
      ),
    )
  for (const uri of record.rua)
    if (!/^(?:mailto:[^@\s]+@[^@\s]+|https?:\/\/\S+)$/i.test(uri))
      found.push(
        finding(
          'warning',
          'dmarc-reports-unreadable',
          name,
          `rua=${uri} is not an address that reports can be sent to`,
          `Write it as mailto:${/@/.test(uri) ? uri : 'you@example.com'}.`,
        ),
      )
  return found
}

function nearMiss(name: string, values: readonly string[]): Finding {
  for (const text of values) {
    const fault = panelFault(name, text, /^v=DMARC1/i)
    if (fault !== null) return fault
    if (/^v\s*=\s*DMARC1\s*(?:;|$)/i.test(text))
      return finding(
        'error',
        'dmarc-version',
        name,
        'the version must be written DMARC1, in capitals',
        'Write it as: v=DMARC1; p=…',
      )
    if (/^v\s*=\s*DMARC1\s+\S/i.test(text))
      return finding(
        'error',
        'semicolons-missing',
        name,
        'the tags are not separated by semicolons',
        'Enter the value as given here, with its semicolons.',
      )
    if (/^\s*p\s*=/i.test(text) || /DMARC1/i.test(text))
      return finding(
        'error',
        'dmarc-version',
        name,
        'the record does not begin with v=DMARC1',
        'Write it as: v=DMARC1; p=…',
      )
  }
  return finding(
    'error',
    'other-text',
    name,
    `what stands here is no DMARC record: ${JSON.stringify((values[0] ?? '').slice(0, 80))}`,
    'Put the record given here beside it.',
  )
}
