import { readTags } from '../policy/tag-list.ts'
import { type Finding, finding } from './finding.ts'
import { inPieces, panelFault } from './judge-txt.ts'

const STRING_OCTETS = 255
/** How far two keys must agree to be one that was cut. */
const SAME_START = 40

/**
 * Compares what stands at a selector with the key record (RFC 6376 §3.6.1).
 * @param others selector → value of our other keys, to recognise a value at the wrong selector
 * @returns empty: as it must be
 */
export function judgeDkim(
  name: string,
  wanted: string,
  values: readonly string[],
  others: ReadonlyMap<string, string>,
): readonly Finding[] {
  if (values.length > 1) {
    if (inPieces(values, wanted))
      return [
        finding(
          'error',
          'txt-in-pieces',
          name,
          `the value is cut into ${values.length} records; a receiver takes one of them`,
          'Remove them and enter the value as one record (of several strings, where the panel asks for strings).',
        ),
      ]
    return [
      finding(
        'error',
        'dkim-two-records',
        name,
        `${values.length} TXT records stand here; which one a receiver takes is undefined`,
        'Leave only the one given here.',
      ),
    ]
  }
  const [text = ''] = values
  const fault = panelFault(name, text, /^v\s*=\s*DKIM1/i)
  if (fault !== null) return [fault]
  if (/\bp=/.test(text) && !text.includes(';'))
    return [
      finding(
        'error',
        'semicolons-missing',
        name,
        'the tags are not separated by semicolons',
        'Enter the value as given here, with its semicolons.',
      ),
    ]
  const tags = readTags(text)
  const p = tags?.get('p')
  if (tags === null || p === undefined)
    return [
      finding('error', 'dkim-unreadable', name, 'this is not a DKIM key record', 'Replace it by the value given here.'),
    ]
  return judgeTags(name, text, tags, p, wanted, others)
}

function judgeTags(
  name: string,
  text: string,
  tags: ReadonlyMap<string, string>,
  p: string,
  wanted: string,
  others: ReadonlyMap<string, string>,
): readonly Finding[] {
  const replace = 'Replace it by the value given here.'
  const version = tags.get('v')
  if (version !== undefined && version !== 'DKIM1')
    return [
      finding('error', 'dkim-version', name, `the version is ${JSON.stringify(version)}; it must be DKIM1`, replace),
    ]
  if (p === '') return [finding('error', 'dkim-revoked', name, 'p= is empty: the key is declared revoked', replace)]
  const bare = p.replace(/\s+/g, '')
  const key = keyOf(wanted)
  if (bare !== key) return [differs(name, text, bare, key, others, replace)]
  const algorithm = (tags.get('k') ?? 'rsa').toLowerCase()
  const wantedAlgorithm = readTags(wanted)?.get('k') ?? 'rsa'
  if (algorithm !== wantedAlgorithm)
    return [
      finding('error', 'dkim-key-type', name, `k is ${algorithm}; the key is of type ${wantedAlgorithm}`, replace),
    ]
  if (
    tags.has('h') &&
    !(tags.get('h') ?? '')
      .toLowerCase()
      .split(/\s*:\s*/)
      .includes('sha256')
  )
    return [
      finding('error', 'dkim-hash', name, `h=${tags.get('h')} does not allow sha256, with which we sign`, replace),
    ]
  if (tags.has('s') && !(tags.get('s') ?? '').split(/\s*:\s*/).some((one) => one === '*' || one === 'email'))
    return [finding('error', 'dkim-service', name, `s=${tags.get('s')} does not allow the key for mail`, replace)]
  const notes: Finding[] = []
  if ((tags.get('t') ?? '').split(/\s*:\s*/).includes('y'))
    notes.push(
      finding(
        'warning',
        'dkim-testing',
        name,
        't=y says that signing is only tested: some receivers then ignore it',
        'Take t=y out.',
      ),
    )
  if (bare !== p)
    notes.push(finding('note', 'spaces-in-key', name, 'the key has spaces in it; they are allowed and ignored'))
  return notes
}

function differs(
  name: string,
  text: string,
  bare: string,
  key: string,
  others: ReadonlyMap<string, string>,
  replace: string,
): Finding {
  for (const [selector, value] of others)
    if (keyOf(value) === bare)
      return finding('error', 'wrong-selector', name, `this is the key of the selector ${selector}`, replace)
  if (bare.toLowerCase() === key.toLowerCase())
    return finding(
      'error',
      'case-changed',
      name,
      'capitals and small letters of the key were changed; they matter',
      'Paste the value again exactly as given here.',
    )
  if (bare.length >= SAME_START && key.startsWith(bare)) {
    const at255 = text.length === STRING_OCTETS
    return finding(
      'error',
      'key-truncated',
      name,
      `the key is cut off after ${bare.length} of ${key.length} characters${at255 ? ': the panel keeps 255 octets only' : ''}`,
      at255
        ? 'Enter it as two strings: relevo dns records --format bind shows them.'
        : 'Paste the value again exactly as given here.',
    )
  }
  return finding('error', 'key-differs', name, 'another key stands here than the one that signs', replace)
}

function keyOf(value: string): string {
  return (readTags(value)?.get('p') ?? '').replace(/\s+/g, '')
}
