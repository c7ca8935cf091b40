import ipaddr from 'ipaddr.js'
import { isSpf, mergeSpf, parseSpf } from '../policy/spf-record.ts'
import { MAX_LOOK_UPS, type SpfWalk, walkSpf } from '../policy/spf-walk.ts'
import { spfTerms, type WantedRecord } from '../records/wanted.ts'
import { type Finding, finding, hasError } from './finding.ts'
import { judgeSpfForm, judgeSpfPresence, judgeSpfWalk } from './judge-spf.ts'
import { type Answered, asItIs, type Judge, type JudgeContext, notThere, toChange, valuesIn } from './judgement.ts'

/** Counts the look-ups of a record when no address of ours is known (RFC 5737: it belongs to nobody). */
const NOBODY = '192.0.2.1'

/** SPF: what stands there is kept, our hosts are put in where they lack, and look-ups are counted. */
export const spf: Judge = async (wanted, said, context) => {
  const values = valuesIn(said)
  const meant = values.filter((text) => /^["\s]*v\s*=\s*spf1/i.test(text))
  const besides = values.filter((text) => !meant.includes(text))
  const absent = judgeSpfPresence(wanted.name, values)
  if (absent?.code === 'spf-missing') return notThere(wanted, besides, [softened(absent, wanted)])
  if (absent !== null) return toChange(together(wanted, meant, context), meant, besides, [absent])
  const [text = ''] = values.filter(isSpf)
  const parsed = parseSpf(text)
  const glued = gluedStrings(said, text)
  if (glued !== null && (!parsed.ok || !(await covers(wanted, text, context))))
    return toChange(await merged(wanted, glued, context), [text], besides, [
      finding(
        'error',
        'split-without-space',
        wanted.name,
        'the record is split into strings without a space between two words, which then become one',
        'Put a space at the end of the first string, or enter the value as one.',
      ),
    ])
  const findings: Finding[] = parsed.ok ? [...judgeSpfForm(wanted.name, text, parsed.value)] : []
  const walks = await walksOf(wanted, text, context)
  findings.push(...judgeSpfWalk(wanted.name, walks.worst))
  if (!walks.all && !hasError(findings)) findings.push(notCovered(wanted, walks.uncovered))
  const ok = !hasError(findings) && walks.all
  if (ok && !findings.some(({ code }) => code === 'spf-capitals')) return asItIs(text, besides, findings)
  const value = await merged(wanted, corrected(text, walks.worst), context)
  if (ok) return { ...asItIs(value, besides, findings), action: 'change', replaces: [text] }
  return toChange(value, [text], besides, findings)
}

type Walks = { readonly worst: SpfWalk; readonly all: boolean; readonly uncovered: readonly string[] }

/** Walked for each of our addresses. Without any, the names must stand in the record. */
async function walksOf(wanted: WantedRecord, text: string, context: JudgeContext): Promise<Walks> {
  const addresses = [...context.addresses.values()].flat()
  const walk = (address: string): Promise<SpfWalk> =>
    walkSpf(
      wanted.name,
      text,
      { address, sender: `postmaster@${wanted.name}`, helo: context.facts.hostname },
      context.look,
    )
  if (addresses.length === 0) {
    const worst = await walk(NOBODY)
    const missing = termsFor(wanted, context).filter((term) => !text.toLowerCase().split(' ').includes(term))
    return { worst, all: missing.length === 0, uncovered: missing }
  }
  const walks = await Promise.all(addresses.map(walk))
  // Costs are the same whatever the address, save for macros.
  const worst = walks.reduce((a, b) => (b.lookUps + b.voidLookUps > a.lookUps + a.voidLookUps ? b : a))
  const uncovered = addresses.filter((_, i) => walks[i]!.result !== 'pass' && walks[i]!.result !== 'temperror')
  return { worst, all: uncovered.length === 0, uncovered }
}

async function covers(wanted: WantedRecord, text: string, context: JudgeContext): Promise<boolean> {
  return (await walksOf(wanted, text, context)).all
}

/** Our terms put in, by address instead of by name where names would need too many look-ups. */
async function merged(wanted: WantedRecord, text: string, context: JudgeContext): Promise<string> {
  const terms = termsFor(wanted, context)
  const walks = await walksOf(wanted, text, context)
  if (walks.all) return text
  const named = mergeSpf(text, terms)
  const addresses = [...context.addresses.values()].flat()
  if (addresses.length === 0 || walks.worst.lookUps + terms.length <= MAX_LOOK_UPS) return named
  return mergeSpf(
    text,
    addresses.map((address) => `${ipaddr.parse(address).kind() === 'ipv4' ? 'ip4' : 'ip6'}:${address}`),
  )
}

/** The mechanisms of the wanted record: those of the template. */
function termsFor(wanted: WantedRecord, { facts }: JudgeContext): readonly string[] {
  const words = wanted.value.split(' ').slice(1)
  const own = words.filter((word) => !/^(?:[-+~?]?all|redirect=.*)$/i.test(word))
  return own.length > 0 ? own : spfTerms(facts)
}

/** Without what makes it an error: the word that cannot be read, and the permission for everybody. */
function corrected(text: string, walk: SpfWalk): string {
  const bad = walk.unreadable?.term
  return text
    .split(' ')
    .filter((word) => word !== bad)
    .map((word) => (/^\+?all$/i.test(word) ? '~all' : word))
    .join(' ')
    .replace(/^v=spf1/i, 'v=spf1')
}

/** One record of several, or of one that was not recognised: every word of each, with our own. */
function together(wanted: WantedRecord, records: readonly string[], context: JudgeContext): string {
  const words = records.flatMap((text) =>
    text
      .replace(/["\\]/g, ' ')
      .replace(/^\s*v\s*=\s*spf1[;,]?/i, '')
      .split(/\s+/)
      .filter(Boolean),
  )
  const ends = words.filter((word) => /^[-~?]all$/i.test(word))
  const rest = [...new Set(words.filter((word) => !/^[-+~?]?all$/i.test(word)))]
  return mergeSpf(['v=spf1', ...rest, ends[0] ?? '~all'].join(' '), termsFor(wanted, context))
}

/** What stands between two strings as one word was meant as two. */
function gluedStrings(said: Answered, text: string): string | null {
  if (said.kind !== 'records') return null
  const strings = said.strings.find((one) => one.join('') === text)
  if (strings === undefined || strings.length < 2) return null
  const spaced = strings.map((one) => one.trim()).join(' ')
  return spaced !== text && parseSpf(spaced).ok ? spaced : null
}

function notCovered(wanted: WantedRecord, what: readonly string[]): Finding {
  return softened(
    finding(
      'error',
      'spf-not-covering',
      wanted.name,
      `the record does not let us send: ${what.join(', ')} ${what.length === 1 ? 'is' : 'are'} not in it`,
      'Replace it by the value given here, which keeps what is there.',
    ),
    wanted,
  )
}

/** What is only recommended is told as a warning while it lacks. */
function softened(one: Finding, wanted: WantedRecord): Finding {
  return wanted.need === 'required' ? one : { ...one, level: 'warning' }
}
