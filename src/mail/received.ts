import { isAscii } from 'node:buffer'
import { foldField } from './header.ts'

export type ReceivedOptions = {
  /** Our own host name. */
  readonly hostname: string
  /** Our id of the message. */
  readonly id: string
  readonly nowMs: number
  /** Null: who submitted is not shown. */
  readonly client: { readonly address: string; readonly name: string | null; readonly helo: string } | null
  /** RFC 3848 and RFC 6531: `ESMTPSA`, `UTF8SMTPSA`, `HTTP` … */
  readonly protocol: string
  /** Shown as `for <…>` where it is ASCII; null when there are several, since each would learn of the others. */
  readonly recipient: string | null
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** RFC 5322 §3.3 date-time in UTC. */
export function mailDate(ms: number): string {
  const at = new Date(ms)
  const two = (n: number): string => (n < 10 ? `0${n}` : String(n))
  const day = `${DAYS[at.getUTCDay()]}, ${two(at.getUTCDate())} ${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()}`
  return `${day} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} +0000`
}

/** The trace field, RFC 5321 §4.4, folded. What the client called itself is cut down to the characters of a host name. */
export function receivedField(options: ReceivedOptions): Buffer {
  const client = options.client
  const from =
    client === null
      ? ''
      : `from ${hostText(client.helo)} (${client.name === null ? '' : `${hostText(client.name)} `}[${literal(client.address)}])\r\n\t`
  const recipient =
    options.recipient === null || !isAscii(Buffer.from(options.recipient)) ? '' : `\r\n\tfor <${options.recipient}>`
  const text = `Received: ${from}by ${options.hostname} (Relevo) with ${options.protocol} id ${options.id}${recipient};\r\n\t${mailDate(options.nowMs)}\r\n`
  const raw = Buffer.from(text)
  return raw.length <= 900 ? raw : foldField(raw)
}

function hostText(text: string): string {
  return text.length <= 255 && /^[A-Za-z0-9._:[\]-]+$/.test(text) ? text : 'unknown'
}

function literal(address: string): string {
  const plain = hostText(address)
  return plain.includes(':') ? `IPv6:${plain}` : plain
}
