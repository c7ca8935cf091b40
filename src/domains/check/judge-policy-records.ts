import { DMARC_POLICIES, isDmarc, parseDmarc, withReports } from '../policy/dmarc-record.ts'
import { readTags } from '../policy/tag-list.ts'
import { organisationOf } from '../records/wanted.ts'
import { finding, hasError } from './finding.ts'
import { judgeDkim } from './judge-dkim.ts'
import { dmarcOf, judgeDmarc } from './judge-dmarc.ts'
import { asItIs, type Judge, notThere, toChange, valuesIn } from './judgement.ts'

/** DKIM key records. */
export const dkim: Judge = (wanted, said, { facts }) => {
  const values = valuesIn(said)
  if (values.length === 0)
    return notThere(
      wanted,
      [],
      [finding('error', 'dkim-missing', wanted.name, 'the key is not published', 'Add the record given here.')],
    )
  const others = new Map(
    facts.keys.filter((key) => key.host !== wanted.name).map((key) => [key.selector, key.value] as const),
  )
  const findings = judgeDkim(wanted.name, wanted.value, values, others)
  if (!hasError(findings)) return asItIs(values[0]!, [], findings)
  return toChange(wanted.value, values, [], findings)
}

/** The DMARC record: what is there is kept, only what makes it void is repaired, and never to a weaker policy. */
export const dmarc: Judge = async (wanted, said, { facts, look }) => {
  const values = valuesIn(said)
  const { domain, bounceHost, reportAddress } = facts
  if (!values.some((text) => isDmarc(text) || /dmarc1|\bp\s*=/i.test(text))) {
    const parent = organisationOf(domain)
    if (parent !== domain) {
      const above = await look(`_dmarc.${parent}`, 'TXT')
      const text = above.kind === 'records' ? dmarcOf(above.values) : null
      const record = text === null ? null : parseDmarc(text)
      if (record !== null && typeof record !== 'string')
        return asItIs(`v=DMARC1; p=${record.subdomainPolicy}; rua=mailto:${reportAddress}`, values, [
          finding(
            'note',
            'dmarc-at-parent',
            wanted.name,
            `the record of ${parent} holds here: p=${record.subdomainPolicy}; a record of its own is not needed`,
          ),
        ])
    }
    return notThere(wanted, values, [
      values.length === 0
        ? finding('error', 'dmarc-missing', wanted.name, 'there is no DMARC record', 'Add the record given here.')
        : judgeDmarc(wanted.name, values, false)[0]!,
    ])
  }
  const records = values.filter((text) => /dmarc1|\bp\s*=/i.test(text))
  const besides = values.filter((text) => !records.includes(text))
  const findings = judgeDmarc(wanted.name, values, bounceHost !== '' && bounceHost !== domain)
  const text = dmarcOf(values)
  if (text !== null && !hasError(findings)) {
    if (!findings.some(({ code }) => code === 'dmarc-no-reports')) return asItIs(text, besides, findings)
    return { ...asItIs(withReports(text, reportAddress), besides, findings), action: 'change', replaces: [text] }
  }
  return toChange(repaired(records, reportAddress), records, besides, findings)
}

/** A record that works, as strict as the strictest that was meant, with the reports that were asked for. */
function repaired(records: readonly string[], reportAddress: string): string {
  const strictness = (text: string): number =>
    DMARC_POLICIES.indexOf((/\bp\s*=\s*(none|quarantine|reject)/i.exec(text)?.[1]?.toLowerCase() ?? 'none') as 'none')
  const strictest = [...records].sort((a, b) => strictness(b) - strictness(a))[0] ?? ''
  if (isDmarc(strictest) && typeof parseDmarc(strictest) !== 'string') return strictest
  const policy = DMARC_POLICIES[Math.max(0, strictness(strictest))]!
  const sp = /\bsp\s*=\s*(none|quarantine|reject)/i.exec(strictest)?.[1]?.toLowerCase()
  const rua = /\brua\s*=\s*((?:mailto:)?[^\s;"\\]+)/i.exec(strictest)?.[1] ?? `mailto:${reportAddress}`
  return [
    'v=DMARC1',
    `p=${policy}`,
    ...(sp === undefined ? [] : [`sp=${sp}`]),
    `rua=${rua.startsWith('mailto:') || rua.startsWith('http') ? rua : `mailto:${rua}`}`,
  ].join('; ')
}

/** `<domain>._report._dmarc.<receiver>` (RFC 7489 §7.1). */
export const reportAuthorisation: Judge = (wanted, said) => {
  const values = valuesIn(said)
  const text = values.find((value) => /^v\s*=\s*DMARC1\s*(?:;|$)/.test(value))
  if (text !== undefined)
    return asItIs(
      text,
      values.filter((value) => value !== text),
    )
  return notThere(wanted, values, [
    finding(
      'warning',
      'dmarc-reports-not-authorised',
      wanted.name,
      'the receiver of the reports has not agreed to take them, so none are sent there (RFC 7489 §7.1)',
      'Whoever runs that domain adds the record given here.',
    ),
  ])
}

/** TLSRPT and MTA-STS: looked at only where one stands. */
export const tlsReports = versioned('TLSRPTv1', 'rua', 'tls-rpt')
export const mtaSts = versioned('STSv1', 'id', 'mta-sts')

function versioned(version: string, needed: string, code: string): Judge {
  return (wanted, said) => {
    const values = valuesIn(said)
    const records = values.filter((text) => text.startsWith(`v=${version}`))
    const besides = values.filter((text) => !records.includes(text))
    const [text] = records
    if (text === undefined) return notThere(wanted, besides, [])
    if (records.length > 1)
      return toChange(wanted.value, records, besides, [
        finding(
          'error',
          `${code}-two`,
          wanted.name,
          `${records.length} such records stand here; senders then use none`,
          'Leave one of them.',
        ),
      ])
    const tags = readTags(text)
    if (tags?.get('v') === version && (tags.get(needed) ?? '') !== '') return asItIs(text, besides)
    return toChange(wanted.value, records, besides, [
      finding('error', `${code}-unreadable`, wanted.name, 'the record cannot be read', 'Enter the value given here.'),
    ])
  }
}
