import type { HeaderField } from './types.ts'

/** Fields that hold addresses (RFC 5322 §3.6.2, §3.6.3, §3.6.6). */
const ADDRESS_FIELDS = new Set([
  ...['from', 'sender', 'reply-to', 'to', 'cc', 'bcc'],
  ...['resent-from', 'resent-sender', 'resent-reply-to', 'resent-to', 'resent-cc', 'resent-bcc'],
])
const BARE_NAME = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}$/

/**
 * Bare names as local programs write them (`root`, `root (Cron Daemon)`, `Ops <ops>`) become addresses; all else, groups and
 * what cannot be read included, stays as it is. Linear.
 *
 * @param value the value of an address field, unfolded
 * @param address gives the whole address of a bare name
 */
export function qualifyAddresses(value: string, address: (name: string) => string): string {
  return splitList(value)
    .map((element) => qualifyOne(element, address))
    .join(',')
}

/** The address fields of a header with their bare names made whole; others keep their bytes. */
export function qualifyFields(fields: readonly HeaderField[], address: (name: string) => string): HeaderField[] {
  return fields.map((field) => {
    if (!ADDRESS_FIELDS.has(field.name)) return field
    const colon = field.raw.indexOf(0x3a)
    const value = field.raw.toString('latin1', colon + 1)
    const whole = qualifyAddresses(value, address)
    if (whole === value) return field
    return { name: field.name, raw: Buffer.concat([field.raw.subarray(0, colon + 1), Buffer.from(whole, 'latin1')]) }
  })
}

function qualifyOne(element: string, address: (name: string) => string): string {
  const spans = plainSpans(element)
  const open = spans.indexOf('<')
  if (open >= 0) {
    const close = spans.indexOf('>', open)
    const name = close < 0 ? '' : element.slice(open + 1, close).trim()
    return BARE_NAME.test(name) ? `${element.slice(0, open + 1)}${address(name)}${element.slice(close)}` : element
  }
  const name = spans.replaceAll('\0', ' ').trim()
  if (!BARE_NAME.test(name)) return element
  const at = element.indexOf(name)
  return element.slice(0, at) + address(name) + element.slice(at + name.length)
}

/** The text with what stands in quotes and comments replaced by NUL, in the same places. */
function plainSpans(text: string): string {
  let plain = ''
  let depth = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const c = text[at]!
    const hidden = quoted || depth > 0
    if (c === '\\' && hidden && at + 1 < text.length) {
      plain += '\0\0'
      at += 1
      continue
    }
    if (c === '"' && depth === 0) quoted = !quoted
    else if (c === '(' && !quoted) depth += 1
    else if (c === ')' && depth > 0) depth -= 1
    plain += hidden || c === '"' || c === '(' ? '\0' : c
  }
  return plain
}

/** At commas outside quotes, comments, angle brackets; a group stays in one piece with its first member. */
function splitList(value: string): string[] {
  const plain = plainSpans(value)
  const elements: string[] = []
  let start = 0
  let angle = false
  for (let at = 0; at < plain.length; at++) {
    if (plain[at] === '<') angle = true
    else if (plain[at] === '>') angle = false
    else if (plain[at] === ',' && !angle) {
      elements.push(value.slice(start, at))
      start = at + 1
    }
  }
  elements.push(value.slice(start))
  return elements
}
