import { isAscii, isUtf8 } from 'node:buffer'
import { failed, ok, type Result } from '#base'
import { decodeWords, encodeWords } from './encoded-words.ts'
import { fieldValue, foldField, makeField } from './header.ts'
import { encodeMailboxes, parseMailboxes } from './mailboxes.ts'
import { splitParameters, unquote } from './parameters.ts'
import type { HeaderField } from './types.ts'

const ADDRESSES = new Set([
  ...['from', 'sender', 'reply-to', 'to', 'cc'].flatMap((name) => [name, `resent-${name}`]),
  'disposition-notification-to',
  'return-receipt-to',
  'errors-to',
])
const PARAMETERS = new Set(['content-type', 'content-disposition'])
/** Structured fields without a place for an encoded word (RFC 2047 §5). */
const ASCII_ONLY = new Set([
  'date',
  'message-id',
  'in-reply-to',
  'references',
  'received',
  'mime-version',
  'content-transfer-encoding',
  'content-id',
  'content-location',
  'dkim-signature',
  'authentication-results',
  'auto-submitted',
  'list-unsubscribe',
  'list-unsubscribe-post',
  'list-help',
  'list-post',
  'list-subscribe',
  'list-archive',
  'resent-date',
  'resent-message-id',
])
/** Free text, for people only: other spellings of it mean the same (RFC 2047 §5). Of an unknown field nobody knows. */
const TEXT = new Set(['subject', 'comments', 'content-description'])
/** Characters of an RFC 2231 segment on one line. */
const SEGMENT = 60

/**
 * A field with raw 8-bit bytes written again in ASCII: encoded words in text and display names (RFC 2047), A-labels in
 * addresses, RFC 2231 in parameters. The error is a sentence with the remedy.
 */
export function encodeField(field: HeaderField): Result<HeaderField, string> {
  if (!isUtf8(field.raw)) return failed('has bytes that are not UTF-8: encode the text as RFC 2047 says or send UTF-8')
  const name = field.raw.toString('latin1', 0, field.name.length)
  const value = fieldValue(field)
  if (ASCII_ONLY.has(field.name) || field.name.startsWith('arc-'))
    return failed('must be ASCII: percent-encode or leave out the other characters')
  if (PARAMETERS.has(field.name)) return ok(makeField(name, encodeParameters(value)))
  if (!ADDRESSES.has(field.name)) return ok(makeField(name, encodeWords(decodeWords(value))))
  const mailboxes = parseMailboxes(value)
  if (!mailboxes.ok) return failed(`${mailboxes.error}: correct the list of addresses`)
  const text = encodeMailboxes(mailboxes.value)
  return text.ok ? ok(makeField(name, text.value)) : failed(text.error)
}

/** A field without a place to fold in another spelling that has some; null when its kind has none. */
export function respellField(field: HeaderField): HeaderField | null {
  if (!ADDRESSES.has(field.name) && !TEXT.has(field.name)) return null
  const respelled = encodeField(field)
  return respelled.ok ? respelled.value : null
}

/** As `encodeField`, where refusing is no choice (headers of MIME parts): what is not UTF-8 is read as ISO-8859-1. */
export function encodePartField(field: HeaderField): HeaderField {
  if (isAscii(field.raw)) return field
  const raw = isUtf8(field.raw) ? field.raw : Buffer.from(field.raw.toString('latin1', 0, field.raw.length))
  if (field.name !== '') {
    const encoded = encodeField({ name: field.name, raw })
    if (encoded.ok) return encoded.value
  }
  // A structured field of a part that cannot be encoded: the bytes carry no meaning there, question marks keep its shape.
  return {
    name: field.name,
    raw: foldField(Buffer.from(raw.toString('utf8', 0, raw.length).replace(/[^\0-\x7f]/g, '?'))),
  }
}

/** `type; name="ü"` → `type; name*=utf-8''%C3%BC`, in segments when long (RFC 2231 §3, §4). Other text becomes ASCII with `?`. */
function encodeParameters(value: string): string {
  return splitParameters(value)
    .map((part) => (isAsciiText(part) ? part.trim() : encodeParameter(part.trim())))
    .filter((part) => part !== '')
    .join('; ')
}

function encodeParameter(part: string): string {
  const equals = part.indexOf('=')
  const name = part.slice(0, Math.max(0, equals)).trim()
  if (name === '' || name.endsWith('*') || !isAsciiText(name)) return part.replace(/[^\0-\x7f]/g, '?')
  const text = unquote(part.slice(equals + 1).trim())
  const encoded = `utf-8''${percentEncode(text)}`
  if (encoded.length <= SEGMENT) return `${name}*=${encoded}`
  const segments: string[] = []
  for (let start = 0; start < encoded.length; ) {
    let end = Math.min(encoded.length, start + SEGMENT)
    // Not within `%XX`.
    if (end < encoded.length) while (encoded[end - 1] === '%' || encoded[end - 2] === '%') end--
    segments.push(`${name}*${segments.length}*=${encoded.slice(start, end)}`)
    start = end
  }
  return segments.join('; ')
}

function percentEncode(text: string): string {
  let out = ''
  for (const byte of Buffer.from(text)) {
    const c = String.fromCharCode(byte)
    out += /[A-Za-z0-9._-]/.test(c) ? c : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return out
}

function isAsciiText(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false
  return true
}
