import { isIPv4, isIPv6 } from 'node:net'
import { failed, ok, type Result } from '#base'

export type Qualifier = '+' | '-' | '~' | '?'
export type Mechanism = 'all' | 'include' | 'a' | 'mx' | 'ptr' | 'ip4' | 'ip6' | 'exists'

export type SpfTerm =
  | {
      readonly kind: 'mechanism'
      readonly text: string
      readonly qualifier: Qualifier
      readonly name: Mechanism
      /** Domain or address, as written; empty: the domain itself. */
      readonly argument: string
      readonly prefix4: number
      readonly prefix6: number
    }
  | { readonly kind: 'redirect' | 'exp' | 'unknown-modifier'; readonly text: string; readonly argument: string }

export type SpfRecord = { readonly terms: readonly SpfTerm[] }

/** Mechanisms and modifiers that ask the DNS (RFC 7208 §4.6.4). */
const LOOKING_UP = new Set<string>(['include', 'a', 'mx', 'ptr', 'exists'])
const MECHANISM = /^([-+~?]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?::([^\s]*?))?(?:\/(\d{1,3}))?(?:\/\/(\d{1,3}))?$/i
const MODIFIER = /^([a-z][a-z0-9._-]*)=(\S*)$/i

/** RFC 7208 §4.5: the version, then a space or the end. */
export function isSpf(text: string): boolean {
  return /^v=spf1(?: |$)/i.test(text)
}

/**
 * Reads an SPF record (RFC 7208 §4.6.1, §12).
 * @returns the term that is wrong, when one is: the whole record is then an error to every receiver
 */
export function parseSpf(text: string): Result<SpfRecord, { readonly term: string; readonly reason: string }> {
  const terms: SpfTerm[] = []
  const seen = new Set<string>()
  for (const word of text.slice('v=spf1'.length).split(' ')) {
    if (word === '') continue
    const term = parseTerm(word)
    if (typeof term === 'string') return failed({ term: word, reason: term })
    if (term.kind === 'redirect' || term.kind === 'exp') {
      if (seen.has(term.kind)) return failed({ term: word, reason: `${term.kind}= stands twice` })
      seen.add(term.kind)
    }
    terms.push(term)
  }
  return ok({ terms })
}

function parseTerm(word: string): SpfTerm | string {
  if (!/^[\x21-\x7e]+$/.test(word)) return 'it has a character that must not stand there'
  const mechanism = /^[-+~?]?(?:ip6)(?=[:/]|$)/i.test(word) ? ip6(word) : MECHANISM.exec(word)
  if (mechanism) return readMechanism(word, mechanism)
  const [, name = '', argument = ''] = MODIFIER.exec(word) ?? []
  if (name === '') return 'it is no mechanism that SPF knows'
  const lower = name.toLowerCase()
  if (lower !== 'redirect' && lower !== 'exp') return { kind: 'unknown-modifier', text: word, argument }
  return isDomainSpec(argument) ? { kind: lower, text: word, argument } : `${lower}= needs a domain name`
}

/** An IPv6 address has colons of its own. */
function ip6(word: string): readonly (string | undefined)[] | null {
  const found = /^([-+~?]?)(ip6):([0-9a-f:.]+)(?:\/(\d{1,3}))?$/i.exec(word)
  return found === null ? [word, '', 'ip6', ''] : [...found.slice(0, 4), undefined, found[4]]
}

function readMechanism(word: string, parts: readonly (string | undefined)[]): SpfTerm | string {
  const [, qualifier = '', rawName = '', argument = '', first, second] = parts
  const name = rawName.toLowerCase() as Mechanism
  const colon = word.includes(':')
  const made = (prefix4: number, prefix6: number): SpfTerm => ({
    kind: 'mechanism',
    text: word,
    qualifier: (qualifier || '+') as Qualifier,
    name,
    argument,
    prefix4,
    prefix6,
  })
  const prefixes = first !== undefined || second !== undefined
  switch (name) {
    case 'all':
      return colon || prefixes ? 'all stands alone' : made(32, 128)
    case 'include':
    case 'exists':
      if (prefixes) return `${name} takes no prefix length`
      return isDomainSpec(argument) ? made(32, 128) : `${name} needs a domain name`
    case 'ip4': {
      const bits = Number(first ?? 32)
      if (second !== undefined || !isIPv4(argument)) return 'ip4 needs an IPv4 address'
      return bits <= 32 ? made(bits, 128) : 'the prefix length is more than 32'
    }
    case 'ip6': {
      const bits = Number(second ?? 128)
      if (!isIPv6(argument)) return 'ip6 needs an IPv6 address'
      return bits <= 128 ? made(32, bits) : 'the prefix length is more than 128'
    }
    default: {
      if (colon && !isDomainSpec(argument)) return `${name}: needs a domain name`
      const [four, six] = [Number(first ?? 32), Number(second ?? 128)]
      if (name === 'ptr' && prefixes) return 'ptr takes no prefix length'
      return four <= 32 && six <= 128 ? made(four, six) : 'the prefix length is too large'
    }
  }
}

/** A host name, or one with macros (RFC 7208 §7.1); it ends in a label that is no number, or in a macro. */
function isDomainSpec(text: string): boolean {
  if (text === '') return false
  if (/%(?!\{[slodiphcrtv]\d{0,3}r?[-.+,/_=]*\}|%|_|-)/i.test(text)) return false
  if (text.includes('%{')) return /(?:\}|\.[a-z0-9-]*[a-z-][a-z0-9-]*\.?)$/i.test(text)
  return /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)+\.?$/i.test(text) && !/\.\d+\.?$/.test(text)
}

export function looksUp(term: SpfTerm): boolean {
  return term.kind === 'redirect' || (term.kind === 'mechanism' && LOOKING_UP.has(term.name))
}

/**
 * The record with terms put in before whatever decides for the rest (`all`, `redirect=`); those that stand already are
 * not put twice. Nothing of the record is taken away.
 */
export function mergeSpf(existing: string, terms: readonly string[]): string {
  const words = existing.split(' ').filter(Boolean)
  const have = new Set(words.map((word) => word.toLowerCase().replace(/^\+/, '')))
  const missing = terms.filter((term) => !have.has(term.toLowerCase()))
  const end = words.findIndex((word, i) => i > 0 && /^(?:[-+~?]?all$|redirect=)/i.test(word))
  return (end < 0 ? [...words, ...missing] : [...words.slice(0, end), ...missing, ...words.slice(end)]).join(' ')
}
