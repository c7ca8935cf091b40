import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII, domainToUnicode } from 'node:url'
import { failed, ok } from '#base'
import type { Address, ParsedAddress } from './types.ts'

// Limits in octets, RFC 5321 §4.5.3.1 (a path is 256 with its angle brackets) and RFC 1035 §2.3.4.
const MAX_LOCAL_OCTETS = 64
const MAX_DOMAIN_OCTETS = 255
const MAX_LABEL_OCTETS = 63
const MAX_ADDRESS_OCTETS = 254
/** Nothing longer is looked at: the longest address in its longest spelling (every character of the local part escaped) is shorter. */
const MAX_INPUT_CHARACTERS = 1000

const ATEXT = new Uint8Array(128)
for (const character of "!#$%&'*+-/=?^_`{|}~") ATEXT[character.charCodeAt(0)] = 1
const LDH = new Uint8Array(128)
LDH[0x2d] = 1
for (const [from, to] of ['09', 'AZ', 'az']) {
  for (let c = from!.charCodeAt(0); c <= to!.charCodeAt(0); c++) ATEXT[c] = LDH[c] = 1
}

export type AddressOptions = {
  /** `user@[192.0.2.1]`: refused unless allowed; a recipient at a literal would let a sender choose the host we connect to. */
  readonly allowLiteral?: boolean
}

/**
 * Reads one address as it stands in an SMTP path without its brackets: RFC 5321 §4.1.2 Mailbox, with the UTF-8 of
 * RFC 6531. No comments, display names, source routes, encoded words or ports; no single-label domain. Linear in the input.
 */
export function parseAddress(text: string, options: AddressOptions = {}): ParsedAddress {
  if (text.length === 0) return failed({ reason: 'the address is empty' })
  if (text.length > MAX_INPUT_CHARACTERS) return failed({ reason: 'the address is longer than 254 octets' })
  const local = text.charCodeAt(0) === 0x22 ? quotedLocal(text) : dotString(text)
  if (typeof local === 'string') return failed({ reason: local })
  if (!local.utf8 && /^=\?.*\?=$/.test(local.value))
    return failed({ reason: 'an encoded word is not an address: write the local part itself' })
  const domain = parseDomain(text.slice(local.end + 1), options.allowLiteral === true)
  if (!domain.ok) return domain
  const localText = quoteLocal(local.value)
  const octets = local.utf8 ? Buffer.byteLength(localText) : localText.length
  if (octets > MAX_LOCAL_OCTETS) return failed({ reason: 'the part before the @ is longer than 64 octets' })
  if (octets + 1 + domain.value.length > MAX_ADDRESS_OCTETS)
    return failed({ reason: 'the address is longer than 254 octets' })
  return ok({ local: local.value, domain: domain.value, text: `${localText}@${domain.value}`, utf8: local.utf8 })
}

/** Reads `<address>` or the null path `<>` (value null), RFC 5321 §4.1.2. Source routes are declined (§4.1.1.3 allows that). */
export function parsePath(
  text: string,
  options: AddressOptions = {},
): { readonly ok: true; readonly value: Address | null } | Extract<ParsedAddress, { ok: false }> {
  if (text === '<>') return ok(null)
  if (!text.startsWith('<') || !text.endsWith('>')) return failed({ reason: 'a path stands in angle brackets' })
  return parseAddress(text.slice(1, -1), options)
}

/** `local@domain`, the local part quoted where RFC 5321 §4.1.2 needs it. */
export function formatAddress(address: Pick<Address, 'local' | 'domain'>): string {
  return `${quoteLocal(address.local)}@${address.domain}`
}

/** What stood before the @: its value, where the @ is, whether it needs SMTPUTF8. A string is the reason it is wrong. */
type Local = { readonly value: string; readonly end: number; readonly utf8: boolean } | string

function dotString(text: string): Local {
  let utf8 = false
  let afterDot = true
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x40) {
      if (i === 0) return 'nothing stands before the @'
      if (afterDot) return 'the part before the @ ends with a dot'
      return { value: text.slice(0, i), end: i, utf8 }
    }
    if (c === 0x2e) {
      if (afterDot) return 'the part before the @ has an empty place between dots'
      afterDot = true
      continue
    }
    afterDot = false
    if (c < 0x80) {
      if (ATEXT[c] === 1) continue
      return wrongCharacter(c)
    }
    const units = utf8Units(text, i)
    if (units === 0) return 'the part before the @ has a character that must not stand in an address'
    i += units - 1
    utf8 = true
  }
  return 'the address has no @'
}

function quotedLocal(text: string): Local {
  let value = ''
  let utf8 = false
  for (let i = 1; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) {
      if (text.charCodeAt(i + 1) !== 0x40) return 'after the quoted part an @ is expected'
      if (value === '') return 'nothing stands between the quotes before the @'
      return { value, end: i + 1, utf8 }
    }
    if (c === 0x5c) {
      const next = text.charCodeAt(++i)
      if (!(next >= 0x20 && next < 0x7f)) return 'a backslash is followed by a character that cannot be quoted'
      value += text[i]
      continue
    }
    if (c < 0x20 || c === 0x7f) return wrongCharacter(c)
    const units = c < 0x80 ? 1 : utf8Units(text, i)
    if (units === 0) return 'the part before the @ has a character that must not stand in an address'
    value += text.slice(i, i + units)
    if (c >= 0x80) utf8 = true
    i += units - 1
  }
  return 'the quoted part before the @ does not end'
}

function wrongCharacter(c: number): string {
  if (c < 0x20 || c === 0x7f) return 'the address has a control character'
  if (c === 0x28 || c === 0x29) return 'comments are not part of an address'
  if (c === 0x3c || c === 0x3e) return 'angle brackets are not part of an address'
  if (c === 0x20) return 'the address has a space'
  return `${JSON.stringify(String.fromCharCode(c))} must be quoted before the @`
}

/** UTF-16 units of the non-ASCII character at `i`; 0 for halves of pairs, controls, separators, spaces and marks that hide or reorder text. */
function utf8Units(text: string, i: number): number {
  const point = text.codePointAt(i)!
  if (point >= 0xd800 && point <= 0xdfff) return 0
  if (point <= 0xa0 || point === 0xad || point === 0xfeff || point === 0x3000) return 0
  if ((point >= 0x2000 && point <= 0x200f) || (point >= 0x2028 && point <= 0x202f)) return 0
  if (point >= 0x205f && point <= 0x206f) return 0
  if ((point & 0xfffe) === 0xfffe || (point >= 0xfff0 && point <= 0xfffd)) return 0
  return point > 0xffff ? 2 : 1
}

/** Dot-string where it can be one, else a quoted string. */
function quoteLocal(local: string): string {
  let afterDot = true
  let plain = local.length > 0
  for (let i = 0; plain && i < local.length; i++) {
    const c = local.charCodeAt(i)
    if (c === 0x2e) {
      plain = !afterDot
      afterDot = true
    } else {
      plain = c >= 0x80 || ATEXT[c] === 1
      afterDot = false
    }
  }
  return plain && !afterDot ? local : `"${local.replace(/["\\]/g, '\\$&')}"`
}

type ParsedDomain = { readonly ok: true; readonly value: string } | Extract<ParsedAddress, { ok: false }>

function parseDomain(text: string, allowLiteral: boolean): ParsedDomain {
  if (text === '') return failed({ reason: 'nothing stands after the @' })
  if (text.startsWith('[')) return parseLiteral(text, allowLiteral)
  let ascii = true
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c >= 0x80) ascii = false
    else if (LDH[c] !== 1 && c !== 0x2e) return failed({ reason: wrongInDomain(c) })
  }
  const name = ascii ? text.toLowerCase() : aLabels(text)
  if (name === null) return failed({ reason: 'the domain is not a valid internationalised name in its normal form' })
  return checkLabels(name)
}

function wrongInDomain(c: number): string {
  if (c < 0x20 || c === 0x7f) return 'the address has a control character'
  if (c === 0x40) return 'the address has more than one @'
  if (c === 0x3a) return 'a port is not part of an address'
  if (c === 0x28 || c === 0x29) return 'comments are not part of an address'
  return `the domain must not have ${JSON.stringify(String.fromCharCode(c))}`
}

/** RFC 5890: only the name's own normal form is taken, so that two spellings that look alike never become one address. */
function aLabels(text: string): string | null {
  if (text.length > MAX_DOMAIN_OCTETS || !text.isWellFormed()) return null
  const ascii = domainToASCII(text)
  if (ascii === '' || domainToUnicode(ascii) !== text.normalize('NFC').toLowerCase()) return null
  return ascii
}

function checkLabels(name: string): ParsedDomain {
  if (name.length > MAX_DOMAIN_OCTETS) return failed({ reason: 'the domain is longer than 255 octets' })
  const labels = name.split('.')
  for (const label of labels) {
    if (label === '') return failed({ reason: 'the domain has an empty place between dots' })
    if (label.length > MAX_LABEL_OCTETS) return failed({ reason: 'a part of the domain is longer than 63 octets' })
    if (label.startsWith('-') || label.endsWith('-'))
      return failed({ reason: 'a part of the domain starts or ends with a hyphen' })
  }
  if (labels.length === 1)
    return failed({ reason: 'the domain has no dot: a full domain such as example.com is needed' })
  // RFC 3696 §2: the last label of a host name is never all digits; `user@192.0.2.1` is a literal without brackets.
  if (/^[0-9]+$/.test(labels.at(-1)!)) return failed({ reason: 'the domain ends with a number' })
  return ok(name)
}

function parseLiteral(text: string, allowed: boolean): ParsedDomain {
  if (!allowed) return failed({ reason: 'an address literal is not accepted here: a domain is needed' })
  const inner = text.endsWith(']') ? text.slice(1, -1) : ''
  if (isIPv4(inner)) return ok(text)
  const six = inner.slice(5)
  if (inner.slice(0, 5).toLowerCase() === 'ipv6:' && isIPv6(six) && !six.includes('%'))
    return ok(`[IPv6:${six.toLowerCase()}]`)
  return failed({ reason: 'the address literal is not an IP address in brackets' })
}
