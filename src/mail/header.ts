import type { HeaderField } from './types.ts'

// Header fields as bytes, RFC 5322 §2.2. Everything here expects CRLF line ends unless it says otherwise, keeps the bytes
// it was given, and walks its input once.

const CR = 0x0d
const LF = 0x0a
const SPACE = 0x20
const TAB = 0x09
const COLON = 0x3a
/** RFC 5322 §2.1.1, without the CRLF. */
export const MAX_LINE_OCTETS = 998
const FOLD_AT = 76

/** `header` ends with the CRLF of its last line; the blank line between belongs to neither. */
export type SplitMessage = { readonly header: Buffer; readonly body: Buffer }

/**
 * Splits at the first blank line; a message without one is all header.
 * @param tolerant takes a bare LF for a line end as well (for mail that came from elsewhere)
 */
export function splitMessage(raw: Buffer, tolerant = false): SplitMessage {
  if (raw[0] === CR && raw[1] === LF) return { header: raw.subarray(0, 0), body: raw.subarray(2) }
  if (!tolerant) {
    const end = raw.indexOf('\r\n\r\n', 0, 'latin1')
    if (end < 0) return { header: raw, body: raw.subarray(raw.length) }
    return { header: raw.subarray(0, end + 2), body: raw.subarray(end + 4) }
  }
  let lineStart = 0
  for (let lf = raw.indexOf(LF); lf >= 0; lf = raw.indexOf(LF, lf + 1)) {
    if (lf === lineStart || (lf === lineStart + 1 && raw[lineStart] === CR))
      return { header: raw.subarray(0, lineStart), body: raw.subarray(lf + 1) }
    lineStart = lf + 1
  }
  return { header: raw, body: raw.subarray(raw.length) }
}

/**
 * The fields of a header in order. A line that starts no field (no colon, or a name with characters RFC 5322 §3.6.8 does
 * not allow) becomes a field with an empty name, so that the caller decides. Spaces between name and colon are tolerated.
 */
export function readFields(header: Buffer): HeaderField[] {
  const fields: HeaderField[] = []
  let start = 0
  while (start < header.length) {
    let end = start
    do {
      const lf = header.indexOf(LF, end)
      end = lf < 0 ? header.length : lf + 1
    } while (end < header.length && isWsp(header[end]!))
    const raw = header.subarray(start, end)
    fields.push({ name: fieldName(raw), raw })
    start = end
  }
  return fields
}

function fieldName(raw: Buffer): string {
  let end = 0
  while (end < raw.length && raw[end]! > SPACE && raw[end]! < 0x7f && raw[end] !== COLON) end++
  let colon = end
  while (colon < raw.length && isWsp(raw[colon]!)) colon++
  return raw[colon] === COLON ? raw.toString('latin1', 0, end).toLowerCase() : ''
}

/** The value of a field, unfolded (RFC 5322 §2.2.3), read as UTF-8, without white space at its ends. */
export function fieldValue(field: HeaderField): string {
  const text = field.raw.toString('utf8', field.raw.indexOf(COLON) + 1)
  return text.replace(/\r?\n/g, '').trim()
}

export function findField(fields: readonly HeaderField[], name: string): HeaderField | undefined {
  return fields.find((field) => field.name === name)
}

/** The fields without those of the given names (lower case). */
export function removeFields(fields: readonly HeaderField[], names: ReadonlySet<string>): HeaderField[] {
  return fields.filter((field) => !names.has(field.name))
}

/** The message with a complete header block (CRLF at its end) before its header. */
export function prependFields(block: Uint8Array, content: Uint8Array): Buffer {
  return Buffer.concat([block, content])
}

/** A field from name and value, folded at white space so that lines stay within 76 octets where the value has places to fold. */
export function makeField(name: string, value: string): HeaderField {
  return { name: name.toLowerCase(), raw: foldField(Buffer.from(`${name}: ${value}\r\n`)) }
}

/**
 * Unfolds a field and folds it again at white space, without continuation lines of white space only (obsolete syntax that
 * some readers take for the end of the header). Where there is no place to fold a line stays longer than `limit`.
 */
export function foldField(raw: Buffer, limit = FOLD_AT): Buffer {
  const text = raw.toString('latin1', 0, raw.length).replace(/\r\n/g, '')
  const lines: string[] = []
  let start = 0
  // Never before the first character that is not white space after the colon: the first line must not be empty.
  let first = text.indexOf(':') + 1
  while (first < text.length && isWsp(text.charCodeAt(first))) first++
  let floor = first
  while (text.length - start > limit) {
    let at = lastWsp(text, start + limit, Math.max(floor, start + 1))
    if (at < 0) at = nextWsp(text, Math.max(floor, start + limit))
    if (at < 0) break
    lines.push(text.slice(start, at))
    start = at
    floor = at + 1
    // The next line must have something besides white space.
    while (floor < text.length && isWsp(text.charCodeAt(floor))) floor++
    if (floor >= text.length) {
      start = text.length
      break
    }
  }
  if (start < text.length) lines.push(text.slice(start))
  return Buffer.from(`${lines.join('\r\n')}\r\n`, 'latin1')
}

function lastWsp(text: string, from: number, floor: number): number {
  for (let i = Math.min(from, text.length - 1); i >= floor; i--) if (isWsp(text.charCodeAt(i))) return i
  return -1
}

function nextWsp(text: string, from: number): number {
  for (let i = from; i < text.length; i++) if (isWsp(text.charCodeAt(i))) return i
  return -1
}

function isWsp(c: number): boolean {
  return c === SPACE || c === TAB
}
