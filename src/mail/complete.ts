import { isAscii, isUtf8 } from 'node:buffer'
import { failed, ok, type Result } from '#base'
import { parseAddress } from './address.ts'
import { emptyControl, isControlHeader, readControlHeaders } from './control-headers.ts'
import { encodeField, respellField } from './encode-field.ts'
import { decodeWords } from './encoded-words.ts'
import { fieldValue, foldField, MAX_LINE_OCTETS, readFields, splitMessage } from './header.ts'
import { normaliseLineEnds } from './line-ends.ts'
import { parseMailboxes } from './mailboxes.ts'
import { mailDate, type ReceivedOptions, receivedField } from './received.ts'
import { toSevenBit } from './seven-bit.ts'
import type { Address, CompletedMessage, ControlHeaders, HeaderField, MessageError } from './types.ts'

const MAX_HEADER_OCTETS = 256 * 1024
const MAX_FIELDS = 2000
const MAX_SUBJECT_CHARACTERS = 512
const MAX_FROM_ADDRESSES = 100
const MAX_REFUSAL_CHARACTERS = 480
const CRLF = Buffer.from('\r\n')

/** Removed: written by the receiving side only (Return-Path), or not for every reader's eyes (RFC 5322 §3.6.3). */
const REMOVED = new Set(['bcc', 'resent-bcc', 'return-path'])
/** At most one each (RFC 5322 §3.6, RFC 2045): receivers that see two choose differently, and large ones refuse the message. */
const SINGLE = new Set([
  'from',
  'sender',
  'reply-to',
  'to',
  'cc',
  'date',
  'message-id',
  'in-reply-to',
  'references',
  'subject',
  'mime-version',
  'content-type',
  'content-transfer-encoding',
])

export type CompleteOptions = ReceivedOptions & {
  /** The client asked for SMTPUTF8 (RFC 6531): raw UTF-8 in the header stays. */
  readonly smtpUtf8: boolean
}

/**
 * Makes a submitted message ready to be signed and sent (RFC 6409 §8). Line ends become CRLF; Date and Message-ID are added,
 * or replaced when they do not conform (§8.2, §8.3); Bcc and Return-Path go; control headers are read and go; Received is
 * put before. Raw UTF-8 in the header is encoded unless the client asked for SMTPUTF8; other 8-bit bytes and NUL there are
 * refused. The content is made 7-bit with lines ≤ 998 octets, signed and encrypted parts excepted. Signatures of others stay.
 * @param raw as sent, dot-stuffing already removed
 */
export function completeMessage(raw: Buffer, options: CompleteOptions): Result<CompletedMessage, MessageError> {
  const { header, body } = splitMessage(normaliseLineEnds(raw))
  if (header.length > MAX_HEADER_OCTETS)
    return refuse(null, 'the header is larger than 256 KiB: make it smaller', 552, '5.3.4')
  if (header.includes(0)) return refuse(null, 'the header has a NUL byte: remove it')
  const all = readFields(header)
  if (all.length > MAX_FIELDS) return refuse(null, 'the header has more than 2000 fields: use fewer', 552, '5.3.4')

  const kept: HeaderField[] = []
  const singles = new Map<string, HeaderField>()
  let controls: HeaderField[] | null = null
  let receivedCount = 1
  const tlsRequired: string[] = []
  for (const [index, field] of all.entries()) {
    if (field.name === '') {
      if (index === 0 && field.raw.toString('latin1', 0, 5) === 'From ') continue // the first line of an mbox file
      return refuse(
        null,
        `line ${lineNumber(all, index)} of the header is not a field: a name, a colon and a value are needed`,
      )
    }
    if (REMOVED.has(field.name)) continue
    if (isControlHeader(field.name)) {
      controls ??= []
      controls.push(field)
      continue
    }
    if (field.name === 'received') receivedCount++
    const tidy = tidyField(field, options.smtpUtf8)
    if (!tidy.ok) return tidy
    if (field.name === 'tls-required') tlsRequired.push(fieldValue(tidy.value).toLowerCase())
    if (SINGLE.has(field.name)) {
      const before = singles.get(field.name)
      if (before !== undefined) {
        if (fieldValue(before) === fieldValue(tidy.value)) continue
        return refuse(nameOf(field), 'stands there twice with different values: leave one')
      }
      singles.set(field.name, tidy.value)
    }
    kept.push(tidy.value)
  }

  const from = readFrom(singles)
  if (!from.ok) return from
  let control: ControlHeaders = emptyControl()
  if (controls !== null) {
    const read = readControlHeaders(controls)
    if (!read.ok) return read
    control = read.value
  }

  const date = singles.get('date')
  const messageId = singles.get('message-id')
  const dateStands = date !== undefined && isDate(fieldValue(date))
  const messageIdStands = messageId !== undefined && isMessageId(fieldValue(messageId))
  const messageIdHeader = messageIdStands ? fieldValue(messageId) : `<${options.id}@${from.value.domain}>`
  const parts: Buffer[] = [receivedField(options)]
  for (const field of kept) {
    if ((field === date && !dateStands) || (field === messageId && !messageIdStands)) continue
    parts.push(field.raw)
  }
  if (!dateStands) parts.push(Buffer.from(`Date: ${mailDate(options.nowMs)}\r\n`))
  if (!messageIdStands) parts.push(Buffer.from(`Message-ID: ${messageIdHeader}\r\n`, 'latin1'))
  parts.push(CRLF, body)
  if (body.length > 0 && body[body.length - 1] !== 0x0a) parts.push(CRLF)

  const { content } = toSevenBit(Buffer.concat(parts))
  // RFC 5321 §4.5.2, RFC 5322 §4: readers drop it or end there, and see another message than was checked here. What is left
  // of them stands in a signed part, which is not re-encoded.
  if (content.includes(0)) return refuse(null, 'a signed or enclosed part has a NUL byte: encode that part in base64')
  return ok({
    content,
    control,
    messageIdHeader,
    headerFrom: from.value,
    subject: readSubject(singles.get('subject')),
    receivedCount,
    // Said more than once it is no clear word: then nothing is made weaker for it.
    tlsOptional: tlsRequired.length === 1 && tlsRequired[0] === 'no',
  })
}

type Refusal = { readonly ok: false; readonly error: MessageError }

/** What a refusal says stands in an SMTP reply: ASCII, and within a line of 512 octets (RFC 5321 §4.5.3.1.5). */
function refuse(field: string | null, text: string, code: MessageError['code'] = 554, enhanced = '5.6.0'): Refusal {
  const message = (field === null ? text : `${field}: ${text}`).replace(/[^\x20-\x7e]/g, '?')
  return failed({ code, enhanced, field, message: message.slice(0, MAX_REFUSAL_CHARACTERS) })
}

function nameOf(field: HeaderField): string {
  return field.raw.toString('latin1', 0, Math.min(field.name.length, 100))
}

/** Number of the line a field begins at, from 1. */
function lineNumber(fields: readonly HeaderField[], index: number): number {
  let line = 1
  for (const field of fields.slice(0, index)) for (const byte of field.raw) if (byte === 0x0a) line++
  return line
}

/** The field in a form that may leave: ASCII unless SMTPUTF8, no space before the colon, lines ≤ 998, no line of white space only. */
function tidyField(field: HeaderField, smtpUtf8: boolean): Result<HeaderField, MessageError> {
  let tidy = field
  if (!isAscii(tidy.raw)) {
    if (!smtpUtf8) {
      const encoded = encodeField(tidy)
      if (!encoded.ok) return refuse(nameOf(field), encoded.error)
      tidy = encoded.value
    } else if (!isUtf8(tidy.raw)) return refuse(nameOf(field), 'has bytes that are not UTF-8: send UTF-8')
  }
  if (tidy.raw[tidy.name.length] !== 0x3a) {
    const colon = tidy.raw.indexOf(0x3a)
    tidy = { name: tidy.name, raw: Buffer.concat([tidy.raw.subarray(0, tidy.name.length), tidy.raw.subarray(colon)]) }
  }
  if (tidy.raw[tidy.raw.length - 1] !== 0x0a) tidy = { name: tidy.name, raw: Buffer.concat([tidy.raw, CRLF]) }
  const shape = linesOf(tidy.raw)
  if (shape.hasEmptyLine || shape.longest > MAX_LINE_OCTETS) {
    tidy = { name: tidy.name, raw: foldField(tidy.raw) }
    if (linesOf(tidy.raw).longest > MAX_LINE_OCTETS) tidy = respellField(tidy) ?? tidy
    if (linesOf(tidy.raw).longest > MAX_LINE_OCTETS)
      return refuse(nameOf(field), 'has more than 998 octets without a space to fold at (RFC 5322 2.1.1): shorten it')
  }
  return ok(tidy)
}

function linesOf(raw: Buffer): { readonly longest: number; readonly hasEmptyLine: boolean } {
  const end = raw.indexOf(0x0a)
  if (end === raw.length - 1) return { longest: end - 1, hasEmptyLine: false }
  let longest = end - 1
  let hasEmptyLine = false
  for (let start = end + 1; start < raw.length; ) {
    const lf = raw.indexOf(0x0a, start)
    longest = Math.max(longest, lf - 1 - start)
    let text = start
    while (raw[text] === 0x20 || raw[text] === 0x09) text++
    if (text === lf - 1) hasEmptyLine = true
    start = lf + 1
  }
  return { longest, hasEmptyLine }
}

/** The author: From must be there with one address, or with several and a Sender (RFC 5322 §3.6.2). */
function readFrom(singles: ReadonlyMap<string, HeaderField>): Result<Address, MessageError> {
  const field = singles.get('from')
  if (field === undefined) return refuse('From', 'is missing: add it with an address of your sending domain')
  const authors = readAddresses(field)
  if (!authors.ok) return authors
  const sender = singles.get('sender')
  if (sender !== undefined) {
    const senders = readAddresses(sender)
    if (!senders.ok) return senders
    if (senders.value.length > 1) return refuse('Sender', 'has several addresses: leave one')
  } else if (authors.value.length > 1)
    return refuse('From', 'has several addresses and there is no Sender: leave one, or add a Sender with one')
  return ok(authors.value[0]!)
}

function readAddresses(field: HeaderField): Result<readonly Address[], MessageError> {
  const name = nameOf(field)
  const list = parseMailboxes(fieldValue(field))
  if (!list.ok) return refuse(name, `cannot be read: ${list.error}`)
  if (list.value.length === 0) return refuse(name, 'has no address: write one of your sending domain')
  if (list.value.length > MAX_FROM_ADDRESSES) return refuse(name, 'has more than 100 addresses: leave fewer')
  const addresses: Address[] = []
  for (const mailbox of list.value) {
    if (mailbox.group !== null) return refuse(name, 'has a group of addresses: write a single address')
    const parsed = parseAddress(mailbox.address)
    if (!parsed.ok)
      return refuse(name, `${JSON.stringify(mailbox.address.slice(0, 254))} is not an address: ${parsed.error.reason}`)
    addresses.push(parsed.value)
  }
  return ok(addresses)
}

const DATE =
  /^(?:[A-Za-z]{3},? {0,3})?[0-9]{1,2} {1,3}[A-Za-z]{3} {1,3}[0-9]{4} {1,3}[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})? {1,3}(?:[+-][0-9]{4}|[A-Za-z]{1,5})(?: {0,3}\([^()]*\))?$/

function isDate(value: string): boolean {
  return value.length <= 100 && DATE.test(value) && Number.isFinite(Date.parse(value.replace(/ *\(.*$/, '')))
}

function isMessageId(value: string): boolean {
  return value.length <= 900 && /^<[^\s<>@]+@[^\s<>@]+>$/.test(value)
}

function readSubject(field: HeaderField | undefined): string {
  if (field === undefined) return ''
  return decodeWords(fieldValue(field))
    .replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
    .trim()
    .slice(0, MAX_SUBJECT_CHARACTERS)
    .toWellFormed()
}
