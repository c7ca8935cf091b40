import { encodeWords } from '../encoded-words.ts'
import { fieldValue, findField, readFields } from '../header.ts'
import { mailDate } from '../received.ts'
import { isSevenBit, toSevenBit } from '../seven-bit.ts'

export type DsnRecipient = {
  readonly finalRecipient: string
  /** ORCPT as decoded: `rfc822;user@example`. */
  readonly originalRecipient: string | null
  readonly action: 'failed' | 'delayed' | 'relayed' | 'delivered' | 'expanded'
  readonly status: string
  /** Host that said so; empty: none was reached. */
  readonly remoteMta: string
  /** What it said, untrusted. */
  readonly diagnostic: string
  readonly lastAttemptMs: number
  /** For `delayed`: until when it is tried. */
  readonly retryUntilMs?: number
}

export type DsnOptions = {
  readonly hostname: string
  readonly nowMs: number
  readonly id: string
  readonly to: string
  readonly envelopeId: string | null
  readonly arrivalMs: number
  readonly originalHeader: Buffer | null
  /** Set when the whole original was asked for (RET=FULL, RFC 3461 §4.3). */
  readonly originalContent: Buffer | null
  readonly originalSubject: string
  readonly recipients: readonly DsnRecipient[]
}

export type ForwardOptions = {
  readonly hostname: string
  readonly nowMs: number
  readonly id: string
  readonly to: string
  readonly subject: string
  readonly raw: Buffer
}

const MAX_ENCLOSED_BYTES = 1_048_576
const LINE = 76
const TITLES = {
  failed: 'Your message was not delivered',
  delayed: 'Your message is delayed',
  relayed: 'Your message was passed on',
  delivered: 'Your message was delivered',
  expanded: 'Your message was delivered to a list',
}

/**
 * A delivery status notification (RFC 3464): a text for people, the fields for programs, and the original's header (or the
 * original). CRLF and 7-bit; what remote systems said is folded and has no control characters.
 */
export function composeDsn(options: DsnOptions): Buffer {
  const { hostname, id } = options
  const boundary = `dsn-${id}`
  const [first] = options.recipients
  const messageId = options.originalHeader === null ? '' : headerValue(options.originalHeader, 'message-id')
  const head = [
    `From: Mail Delivery System <MAILER-DAEMON@${hostname}>`,
    `To: <${options.to}>`,
    `Subject: ${TITLES[first?.action ?? 'failed']}`,
    `Date: ${mailDate(options.nowMs)}`,
    `Message-ID: <${id}@${hostname}>`,
    ...(messageId === '' ? [] : [`References: ${messageId}`]),
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
    `Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="${boundary}"`,
  ]
  const parts = [
    ['Content-Type: text/plain; charset=us-ascii', '', ...people(options)].join('\r\n'),
    ['Content-Type: message/delivery-status', '', ...programs(options)].join('\r\n'),
  ]
  const enclosed = enclose(options)
  const text = [...head, '', ...parts.flatMap((part) => [`--${boundary}`, part])].join('\r\n')
  return Buffer.concat([
    // UTF-8 can only come from the address of a sender that used SMTPUTF8.
    Buffer.from(`${text}\r\n`),
    ...(enclosed === null
      ? []
      : [
          Buffer.from(`--${boundary}\r\nContent-Type: ${enclosed.type}\r\n\r\n`, 'latin1'),
          enclosed.bytes,
          Buffer.from('\r\n'),
        ]),
    Buffer.from(`--${boundary}--\r\n`, 'latin1'),
  ])
}

/** Mail to postmaster or abuse, sent on as it came, as an attachment of a mail from us: nobody's alignment breaks. */
export function composeForward(options: ForwardOptions): Buffer {
  const { hostname, id } = options
  const boundary = `fwd-${id}`
  const seven = toSevenBit(options.raw).content
  // A signed 8-bit part cannot be made 7-bit, nor may other line ends be changed; then the whole travels as base64 and is a file, not a message.
  const asMessage = isSevenBit(seven) && !/(?<!\r)\n|\r(?!\n)/.test(seven.toString('latin1'))
  const enclosed = asMessage ? seven : Buffer.from(wrapped(options.raw.toString('base64')))
  const text = [
    `From: Postmaster <postmaster@${hostname}>`,
    `To: <${options.to}>`,
    `Subject: ${encodeWords(printable(options.subject, 200))}`,
    `Date: ${mailDate(options.nowMs)}`,
    `Message-ID: <${id}@${hostname}>`,
    'Auto-Submitted: auto-generated',
    'MIME-Version: 1.0',
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    'Content-Type: text/plain; charset=us-ascii',
    '',
    `This mail came to ${hostname}; it is enclosed as it arrived.`,
    '',
    `--${boundary}`,
    asMessage
      ? 'Content-Type: message/rfc822'
      : 'Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64',
    'Content-Disposition: attachment; filename="mail.eml"',
    '',
    '',
  ].join('\r\n')
  return Buffer.concat([Buffer.from(text, 'latin1'), enclosed, Buffer.from(`\r\n--${boundary}--\r\n`, 'latin1')])
}

function people(options: DsnOptions): string[] {
  const subject = printable(options.originalSubject, 120)
  const lines = [`This is the mail system at ${options.hostname}.`, '']
  for (const recipient of options.recipients) {
    const what = {
      failed: 'could not be delivered and will not be tried again',
      delayed: 'has not been delivered yet; it is still being tried',
      relayed: 'was passed on to a host that sends no confirmations',
      delivered: 'was delivered',
      expanded: 'was delivered to a list, whose members are not reported on',
    }[recipient.action]
    lines.push(
      ...wrapWords(
        `Your message${subject === '' ? '' : ` "${subject}"`} to <${written(recipient.finalRecipient)}> ${what}.`,
      ),
      '',
    )
    if (recipient.retryUntilMs !== undefined)
      lines.push(`It is tried until ${mailDate(recipient.retryUntilMs)}. You need not send it again.`, '')
    if (recipient.diagnostic === '') continue
    const alone = recipient.action === 'failed' || recipient.action === 'delayed' ? 'The reason' : 'The report'
    const who = recipient.remoteMta === '' ? alone : `The host ${printable(recipient.remoteMta, 255)} said`
    lines.push(...wrapWords(`${who}: ${printable(recipient.diagnostic, 1000)}`).map((line) => `    ${line}`), '')
  }
  return lines
}

/** RFC 3464 §2.2 and §2.3. */
function programs(options: DsnOptions): string[] {
  const lines = [
    ...(options.envelopeId === null ? [] : [fold('Original-Envelope-Id', printable(options.envelopeId, 100))]),
    `Reporting-MTA: dns; ${options.hostname}`,
    `Arrival-Date: ${mailDate(options.arrivalMs)}`,
  ]
  for (const recipient of options.recipients) {
    const type = /[^\x20-\x7e]/.test(recipient.finalRecipient) ? 'utf-8' : 'rfc822'
    lines.push(
      '',
      ...(recipient.originalRecipient === null
        ? []
        : [fold('Original-Recipient', printable(recipient.originalRecipient, 500))]),
      `Final-Recipient: ${type}; ${written(recipient.finalRecipient)}`,
      `Action: ${recipient.action}`,
      `Status: ${recipient.status}`,
      ...(recipient.remoteMta === '' ? [] : [`Remote-MTA: dns; ${printable(recipient.remoteMta, 255)}`]),
      ...(recipient.diagnostic === ''
        ? []
        : [fold('Diagnostic-Code', `smtp; ${printable(recipient.diagnostic, 1000)}`)]),
      `Last-Attempt-Date: ${mailDate(recipient.lastAttemptMs)}`,
      ...(recipient.retryUntilMs === undefined ? [] : [`Will-Retry-Until: ${mailDate(recipient.retryUntilMs)}`]),
    )
  }
  return [...lines, '']
}

function enclose({ originalHeader, originalContent }: DsnOptions): { type: string; bytes: Buffer } | null {
  if (originalContent !== null && originalContent.length <= MAX_ENCLOSED_BYTES && isSevenBit(originalContent))
    return { type: 'message/rfc822', bytes: originalContent }
  if (originalHeader === null || !isSevenBit(originalHeader)) return null
  return { type: 'text/rfc822-headers', bytes: originalHeader.subarray(0, MAX_ENCLOSED_BYTES) }
}

function headerValue(header: Buffer, name: string): string {
  const field = findField(readFields(header), name)
  return field === undefined ? '' : printable(fieldValue(field), 500)
}

/** One line of printable ASCII. */
function printable(text: string, limit: number): string {
  return text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, limit)
}

/** An address in ASCII; other characters as RFC 6533 §3 writes them. */
function written(address: string): string {
  const escaped = address.replace(/[^\x00-\x7f]/gu, (char) => `\\x{${char.codePointAt(0)!.toString(16).toUpperCase()}}`)
  return printable(escaped, 900)
}

/** Folded at spaces (RFC 5322 §2.2.3), and hard where there are none. */
function fold(name: string, value: string): string {
  return wrapWords(`${name}: ${value}`).join('\r\n ')
}

function wrapWords(text: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > LINE) {
      lines.push(line)
      line = ''
    }
    let left = line === '' ? word : `${line} ${word}`
    while (left.length > 900) {
      lines.push(left.slice(0, 900))
      left = left.slice(900)
    }
    line = left
  }
  return line === '' ? lines : [...lines, line]
}

function wrapped(base64: string): string {
  return (base64.match(/.{1,76}/g) ?? []).join('\r\n')
}
