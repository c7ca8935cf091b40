import MailComposer from 'nodemailer/lib/mail-composer'
import { Fault } from '#base'
import { type Address, parseAddress, parseMailboxes } from '#mail'
import type { QueueRequest } from './http-request.ts'

/** Written by us or by the fields of the request; what is set beside them would contradict them. */
const FORBIDDEN_HEADERS = new Set([
  'from',
  'to',
  'cc',
  'bcc',
  'sender',
  'reply-to',
  'subject',
  'date',
  'message-id',
  'received',
  'return-path',
  'mime-version',
  'dkim-signature',
  'arc-seal',
  'arc-message-signature',
  'arc-authentication-results',
  'authentication-results',
])
const LINE_BREAK = /[\r\n\0]/
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

export type NamedAddress = { readonly name: string; readonly address: Address }
export type InvalidAddress = { readonly text: string; readonly reason: string }
type MailboxField = QueueRequest['to']

/** What the request says, read and checked. */
export type Composition = {
  readonly from: NamedAddress
  readonly recipients: readonly Address[]
  readonly invalid: readonly InvalidAddress[]
  readonly content: Buffer
  readonly smtpUtf8: boolean
}

/**
 * Composes the MIME message of a request. Invalid recipients are named and left out of the envelope and the header;
 * everything else that is wrong throws a Fault with its field and remedy.
 */
export async function compose(request: QueueRequest): Promise<Composition> {
  refuseLineBreaks(request)
  if (request.text === undefined && request.html === undefined)
    throw invalid('text', 'the message has neither text nor html', 'Give at least one of them.')
  const from = oneAddress('from', request.from)
  const to = addresses(request.to)
  const cc = addresses(request.cc)
  const bcc = addresses(request.bcc)
  const replyTo = addresses(request.reply_to)
  if (replyTo.invalid[0] !== undefined)
    throw invalid(
      'reply_to',
      `${JSON.stringify(replyTo.invalid[0].text)}: ${replyTo.invalid[0].reason}`,
      'Give a full address.',
    )
  const byText = new Map([...to.valid, ...cc.valid, ...bcc.valid].map(({ address }) => [address.text, address]))
  const composer = new MailComposer({
    from: header(from),
    to: to.valid.map(header),
    cc: cc.valid.map(header),
    replyTo: replyTo.valid.map(header),
    subject: request.subject,
    ...(request.text === undefined ? {} : { text: request.text }),
    ...(request.html === undefined ? {} : { html: request.html }),
    headers: headersOf(request.headers),
    attachments: (request.attachments ?? []).map((attachment, index) => ({
      filename: attachment.filename,
      content: bytesOf(attachment.content, index),
      ...(attachment.content_type === undefined ? {} : { contentType: attachment.content_type }),
      ...(attachment.cid === undefined ? {} : { cid: attachment.cid }),
    })),
    // Nothing in a request may make this server read a file or fetch an address.
    disableFileAccess: true,
    disableUrlAccess: true,
    newline: 'windows',
  })
  const content = await composer.compile().build()
  const everybody = [from, ...to.valid, ...cc.valid, ...bcc.valid, ...replyTo.valid]
  return {
    from,
    recipients: [...byText.values()],
    invalid: [...to.invalid, ...cc.invalid, ...bcc.invalid],
    content,
    smtpUtf8: everybody.some(({ address }) => address.utf8),
  }
}

function header({ name, address }: NamedAddress): { name: string; address: string } {
  return { name, address: address.text }
}

function oneAddress(field: string, value: QueueRequest['from']): NamedAddress {
  const { valid, invalid: wrong } = addresses(value)
  if (wrong[0] !== undefined)
    throw invalid(
      field,
      `${field} ${JSON.stringify(wrong[0].text)}: ${wrong[0].reason}`,
      'Give an address of your sending domain.',
    )
  if (valid.length !== 1) throw invalid(field, `${field} has ${valid.length} addresses`, 'Give exactly one.')
  return valid[0]!
}

function addresses(field: MailboxField | undefined): { valid: NamedAddress[]; invalid: InvalidAddress[] } {
  const valid: NamedAddress[] = []
  const wrong: InvalidAddress[] = []
  const add = (text: string, name: string): void => {
    const parsed = parseAddress(text)
    if (parsed.ok) valid.push({ name, address: parsed.value })
    else wrong.push({ text, reason: parsed.error.reason })
  }
  for (const entry of field === undefined ? [] : Array.isArray(field) ? field : [field]) {
    if (typeof entry !== 'string') {
      add(entry.email.trim(), entry.name ?? '')
      continue
    }
    const list = parseMailboxes(entry)
    if (!list.ok) wrong.push({ text: entry, reason: list.error })
    else for (const one of list.value) add(one.address, one.name)
  }
  return { valid, invalid: wrong }
}

function headersOf(headers: QueueRequest['headers'] = {}): { key: string; value: string }[] {
  return Object.entries(headers).map(([key, value]) => {
    const field = `headers.${key}`
    const name = key.toLowerCase()
    if (!/^[a-z0-9-]{1,76}$/.test(name))
      throw invalid(
        field,
        `${JSON.stringify(key)} is not the name of a header field`,
        'Use letters, digits and hyphens.',
      )
    if (FORBIDDEN_HEADERS.has(name) || /^(content-|resent-|x-relevo-)/.test(name))
      throw invalid(
        field,
        `the header field ${key} cannot be set here`,
        'Use the field of the request that stands for it.',
      )
    return { key, value }
  })
}

function bytesOf(content: string, index: number): Buffer {
  const compact = content.replace(/\s+/g, '')
  if (!BASE64.test(compact) || compact.length % 4 === 1)
    throw invalid(
      `attachments.${index}.content`,
      'the content is not base64',
      'Encode the bytes of the file in base64.',
    )
  return Buffer.from(compact, 'base64')
}

/** In every string but the texts themselves: a line break there would begin another header field. */
function refuseLineBreaks(request: QueueRequest): void {
  const { text: _text, html: _html, attachments = [], ...rest } = request
  const walk = (value: unknown, field: string): void => {
    if (typeof value === 'string') {
      if (LINE_BREAK.test(value)) throw invalid(field, `${field} has a line break or NUL`, 'Write it on one line.')
    } else if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) {
        const at = field === '' ? key : `${field}.${key}`
        if (LINE_BREAK.test(key)) throw invalid(field, `a name in ${field} has a line break`, 'Write it on one line.')
        walk(inner, at)
      }
  }
  walk(rest, '')
  walk(
    attachments.map(({ content: _content, ...named }) => named),
    'attachments',
  )
}

function invalid(field: string, message: string, remedy: string): Fault {
  return new Fault(message, { code: 'invalid-request', field, remedy })
}
