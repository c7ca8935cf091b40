import { EX, Fault } from '#base'
import { fieldValue, findField, makeField, parseMailboxes, qualifyFields, readFields, splitMessage } from '#mail'

/** What local programs need to know of the server (`XORIGIN`, `XBARE` of its EHLO answer). */
export type Names = {
  readonly origin: string
  /** Where mail to a bare name goes; empty: to the name at the origin. */
  readonly bareRecipients: string
}

export type Outgoing = {
  readonly sender: string
  readonly recipients: readonly string[]
  readonly content: Buffer
}

/** Each behind its prefix: `#` for none. */
const RECIPIENT_FIELDS: ReadonlySet<string> = new Set(['#to', '#cc', '#bcc'])

/**
 * The message of a local program as it is handed in: CRLF line ends, a header, bare names made whole, From where it had none,
 * Bcc removed, its recipients read where -t asks for it (of Resent- fields alone where there are any, RFC 5322 §3.6.6).
 */
export function prepare(
  input: Buffer,
  call: {
    readonly sender: string | null
    readonly fullName: string | null
    readonly recipientsFromHeader: boolean
    readonly recipients: readonly string[]
    readonly dotEnds: boolean
  },
  names: Names,
  user: string,
): Outgoing {
  const whole = withHeader(crlf(call.dotEnds ? untilDot(input) : input))
  const { header, body } = splitMessage(whole)
  const read = readFields(header).filter((field) => !field.raw.subarray(0, 5).equals(Buffer.from('From ')))
  const sent = qualifyFields(read, (name) => `${name}@${names.origin}`)
  const lists = call.recipients.map((text): readonly [string, string] => ['recipient', text])
  if (call.recipientsFromHeader) {
    const resent = read.some(({ name }) => name.startsWith('resent-') && RECIPIENT_FIELDS.has(`#${name.slice(7)}`))
    const wanted = resent ? 'resent-' : ''
    for (const field of read)
      if (field.name.startsWith(wanted) && RECIPIENT_FIELDS.has(`#${field.name.slice(wanted.length)}`))
        lists.push([field.name, fieldValue(field)])
  }
  const recipients = lists
    .flatMap(([where, text]) => addressesOf(where, text))
    .map((address) => {
      if (address.includes('@')) return address
      return names.bareRecipients === '' ? `${address}@${names.origin}` : names.bareRecipients
    })
  const sender = call.sender ?? user
  const address = sender === '' || sender.includes('@') ? sender : `${sender}@${names.origin}`
  if (findField(sent, 'from') === undefined) {
    const shown = address === '' ? `MAILER-DAEMON@${names.origin}` : address
    const name = (call.fullName ?? '').replace(/["\\\r\n]/g, '')
    sent.unshift(makeField('From', name === '' ? shown : `"${name}" <${shown}>`))
  }
  const kept = sent.filter(({ name }) => name !== 'bcc' && name !== 'resent-bcc')
  return {
    sender: address,
    recipients: [...new Set(recipients)],
    content: Buffer.concat([...kept.map(({ raw }) => raw), Buffer.from('\r\n'), body]),
  }
}

function addressesOf(where: string, text: string): readonly string[] {
  const parsed = parseMailboxes(text)
  if (parsed.ok) return parsed.value.map(({ address }) => address)
  throw new Fault(`${where}: ${parsed.error}`, {
    code: 'bad-address',
    field: where,
    exitCode: EX.DATAERR,
    remedy: 'The message was not taken: correct the address',
  })
}

/** Up to the line with a single dot. */
function untilDot(input: Buffer): Buffer {
  if (/^\.\r?\n/.test(input.toString('latin1', 0, 3))) return input.subarray(0, 0)
  for (const end of ['\n.\n', '\n.\r\n']) {
    const at = input.indexOf(end, 0, 'latin1')
    if (at >= 0) return input.subarray(0, at + 1)
  }
  return input
}

function crlf(input: Buffer): Buffer {
  return Buffer.from(input.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1')
}

/** A text without a header gets the blank line that says so. */
function withHeader(content: Buffer): Buffer {
  const [first = ''] = content.toString('latin1', 0, 998).split('\r\n', 1)
  if (/^([!-9;-~]+[ \t]*:|From )/.test(first) || first === '') return content
  return Buffer.concat([Buffer.from('\r\n'), content])
}
