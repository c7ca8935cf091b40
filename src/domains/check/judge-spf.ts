import { isSpf, type SpfRecord, type SpfTerm } from '../policy/spf-record.ts'
import { MAX_LOOK_UPS, MAX_VOID_LOOK_UPS, type SpfWalk } from '../policy/spf-walk.ts'
import { type Finding, finding } from './finding.ts'
import { panelFault } from './judge-txt.ts'

/** Longer ones may not fit one UDP answer beside others (RFC 7208 §3.4). */
const LONG_OCTETS = 450

/** No SPF record among the values, or several: what was meant. Null: there is exactly one. */
export function judgeSpfPresence(name: string, values: readonly string[]): Finding | null {
  const records = values.filter(isSpf)
  if (records.length === 1) return null
  if (records.length > 1)
    return finding(
      'error',
      'spf-two',
      name,
      `${records.length} SPF records stand here: that is an error to every receiver (RFC 7208 §4.5)`,
      'Leave one, the one given here, and remove the others.',
    )
  for (const text of values) {
    if (!/v\s*=\s*spf1/i.test(text)) continue
    const fault = panelFault(name, text, /^v=spf1/i)
    if (fault !== null) return fault
    return finding(
      'error',
      'spf-version',
      name,
      `${JSON.stringify(text.slice(0, 40))} does not begin with "v=spf1 ": receivers do not take it for SPF`,
      'Enter the value as given here.',
    )
  }
  return finding('error', 'spf-missing', name, 'there is no SPF record', 'Add the one given here.')
}

/** How the record is written. */
export function judgeSpfForm(name: string, text: string, { terms }: SpfRecord): readonly Finding[] {
  const found: Finding[] = []
  if (!text.startsWith('v=spf1'))
    found.push(
      finding(
        'warning',
        'spf-capitals',
        name,
        `the version is written ${text.slice(0, 6)}; some receivers take only v=spf1`,
        'Write v=spf1 in small letters.',
      ),
    )
  const all = terms.findIndex((term) => term.kind === 'mechanism' && term.name === 'all')
  const ending = terms[all]
  if (ending?.kind === 'mechanism' && ending.qualifier === '+')
    found.push(
      finding(
        'error',
        'spf-everybody',
        name,
        `${ending.text} lets everybody send in your name`,
        'End the record with ~all or -all.',
      ),
    )
  if (ending?.kind === 'mechanism' && ending.qualifier === '?')
    found.push(
      finding('warning', 'spf-neutral', name, '?all says nothing about others', 'End the record with ~all or -all.'),
    )
  const redirect = terms.some((term) => term.kind === 'redirect')
  if (all < 0 && !redirect)
    found.push(
      finding(
        'warning',
        'spf-open-end',
        name,
        'the record does not say what others get (no all)',
        'End it with ~all or -all.',
      ),
    )
  const behind = all < 0 ? [] : terms.slice(all + 1).filter((term) => term.kind === 'mechanism')
  if (behind.length > 0)
    found.push(
      finding(
        'warning',
        'spf-behind-all',
        name,
        `${wordsOf(behind)} stands behind ${terms[all]!.text} and is never looked at`,
        `Put it before ${terms[all]!.text}.`,
      ),
    )
  if (terms.some((term) => term.kind === 'mechanism' && term.name === 'ptr'))
    found.push(
      finding(
        'warning',
        'spf-ptr',
        name,
        'ptr is slow, unreliable and should not be used (RFC 7208 §5.5)',
        'Name the hosts by a: or ip4: instead.',
      ),
    )
  if (text.length > LONG_OCTETS)
    found.push(finding('note', 'spf-long', name, `the record has ${text.length} octets; shorter ones are safer`))
  return found
}

/** What evaluating it showed. */
export function judgeSpfWalk(name: string, walk: SpfWalk): readonly Finding[] {
  const found: Finding[] = []
  const everybody = 'that is an error to every receiver'
  if (walk.loop !== null)
    found.push(
      finding(
        'error',
        'spf-loop',
        name,
        `it includes itself: ${walk.loop.join(' → ')}; ${everybody}`,
        'Take the include out that leads back.',
      ),
    )
  if (walk.unreadable !== null) {
    const { domain, term, reason } = walk.unreadable
    const where = domain === name ? '' : ` in the record of ${domain}`
    found.push(
      finding(
        'error',
        'spf-syntax',
        name,
        `${JSON.stringify(term)}${where}: ${reason}; ${everybody}`,
        domain === name ? 'Correct that word.' : `Take the include of ${domain} out, or ask its owner.`,
      ),
    )
  }
  if (walk.leadsNowhere.length > 0 && walk.loop === null)
    found.push(
      finding(
        'error',
        'spf-include-nowhere',
        name,
        `it includes ${walk.leadsNowhere.join(', ')}, where no single SPF record stands; ${everybody}`,
        'Take that include out, or correct its name.',
      ),
    )
  if (walk.lookUps > MAX_LOOK_UPS && walk.loop === null)
    found.push(
      finding(
        'error',
        'spf-too-many-look-ups',
        name,
        `it needs ${walk.lookUps} look-ups; ${MAX_LOOK_UPS} are allowed`,
        'Take out what is no longer used, or name addresses by ip4: and ip6: instead.',
      ),
    )
  if (walk.voidLookUps > MAX_VOID_LOOK_UPS)
    found.push(
      finding(
        'error',
        'spf-void-look-ups',
        name,
        `${walk.voidLookUps} of its look-ups find nothing; ${MAX_VOID_LOOK_UPS} are allowed`,
        'Take out the names that no longer exist.',
      ),
    )
  return found
}

function wordsOf(terms: readonly SpfTerm[]): string {
  return terms.map((term) => term.text).join(' ')
}
