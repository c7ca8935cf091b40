import { type Address, parsePath } from '#mail'
import type { Notify, Priority } from '#queue'
import type { Reply } from './reply.ts'
import { readHold, readMtPriority } from './when-and-how-soon.ts'

/** MAIL as it was said (RFC 5321 §4.1.1.2, RFC 1870, RFC 6152, RFC 6531, RFC 3461, RFC 8689, RFC 4865, RFC 6710). */
export type MailCommand = {
  readonly reversePath: Address | null
  /** SIZE, 0 when not given. */
  readonly declaredBytes: number
  readonly smtpUtf8: boolean
  /** REQUIRETLS. */
  readonly requireTls?: true
  readonly ret?: 'full' | 'hdrs'
  readonly envelopeId?: string
  /** HOLDFOR or HOLDUNTIL: not to be sent before. */
  readonly releaseMs?: number
  /** MT-PRIORITY. */
  readonly priority?: Priority
}

export type RcptCommand = {
  readonly address: Address
  readonly notify?: readonly Notify[]
  readonly originalRecipient?: string
}

type Parameters = Map<string, string | null>
type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reply: Reply }

const NOTIFY_WORDS: ReadonlyMap<string, Notify> = new Map([
  ['NEVER', 'never'],
  ['SUCCESS', 'success'],
  ['FAILURE', 'failure'],
  ['DELAY', 'delay'],
])
/** RFC 3461 §4.4 and §4.2. */
const MAX_ENVID = 100
const MAX_ORCPT = 500

const refuse = (code: number, text: string) => ({ ok: false as const, reply: { code, text } })

/** Whether REQUIRETLS may be asked for: it is offered, it would be over TLS, or it is not known here at all. */
export type RequireTlsOffer = 'offered' | 'over-tls-only' | 'unknown'

/** @param nowMs null: FUTURERELEASE and MT-PRIORITY are not known here */
export function readMail(
  line: string,
  maxBytes: number,
  requireTls: RequireTlsOffer,
  nowMs: number | null,
): Parsed<MailCommand> {
  const split = splitPath(line, 'MAIL FROM:', '5.1.7')
  if (!split.ok) return split
  const path = parsePath(split.value.path)
  if (!path.ok) return refuse(501, `5.1.7 sender address: ${path.error.reason}`)
  const size = split.value.parameters.get('SIZE')
  const smtpUtf8 = split.value.parameters.has('SMTPUTF8')
  const command: { -readonly [K in keyof MailCommand]: MailCommand[K] } = {
    reversePath: path.value,
    declaredBytes: 0,
    smtpUtf8,
  }
  for (const [name, value] of split.value.parameters) {
    switch (name) {
      case 'SIZE':
        if (!/^[0-9]{1,20}$/.test(size ?? '')) return refuse(501, '5.5.4 SIZE takes a number of bytes')
        command.declaredBytes = Number(size)
        break
      case 'BODY':
        if (!/^(7BIT|8BITMIME)$/i.test(value ?? '')) return refuse(501, '5.5.4 BODY is 7BIT or 8BITMIME')
        break
      case 'SMTPUTF8':
        if (value !== null) return refuse(501, '5.5.4 SMTPUTF8 takes no value')
        break
      case 'REQUIRETLS':
        // RFC 8689 §4.2: it stands alone, and only on a connection that is secured itself.
        if (value !== null) return refuse(501, '5.5.4 REQUIRETLS takes no value')
        if (requireTls === 'unknown') return refuse(555, '5.5.4 MAIL parameter REQUIRETLS is not known here')
        if (requireTls === 'over-tls-only')
          return refuse(530, '5.7.10 REQUIRETLS needs TLS on this connection: STARTTLS first')
        command.requireTls = true
        break
      case 'AUTH': // RFC 4954 §5: to be taken; who sent it is known from the log-in.
        break
      case 'RET':
        if (!/^(FULL|HDRS)$/i.test(value ?? '')) return refuse(501, '5.5.4 RET is FULL or HDRS')
        command.ret = value!.toUpperCase() === 'FULL' ? 'full' : 'hdrs'
        break
      case 'ENVID': {
        const envelopeId = decodeXtext(value, MAX_ENVID)
        if (envelopeId === null) return refuse(501, '5.5.4 ENVID is not xtext of at most 100 characters')
        command.envelopeId = envelopeId
        break
      }
      case 'HOLDFOR':
      case 'HOLDUNTIL': {
        if (nowMs === null) return refuse(555, `5.5.4 MAIL parameter ${name} is not known here`)
        if (command.releaseMs !== undefined) return refuse(501, '5.5.4 HOLDFOR and HOLDUNTIL exclude each other')
        const release = readHold(name, value, nowMs)
        if (typeof release === 'string') return refuse(501, `5.5.4 ${release}`)
        command.releaseMs = release
        break
      }
      case 'MT-PRIORITY': {
        if (nowMs === null) return refuse(555, '5.5.4 MAIL parameter MT-PRIORITY is not known here')
        const priority = readMtPriority(value)
        if (priority === null) return refuse(501, '5.5.2 MT-PRIORITY takes a number from -9 to 9')
        command.priority = priority
        break
      }
      default:
        return refuse(555, `5.5.4 MAIL parameter ${name} is not known here`)
    }
  }
  if (command.declaredBytes > maxBytes)
    return refuse(552, `5.3.4 the message is larger than the ${maxBytes} bytes taken here`)
  if (path.value?.utf8 && !smtpUtf8)
    return refuse(553, '5.6.7 an address with characters beyond ASCII needs the SMTPUTF8 parameter')
  return { ok: true, value: command }
}

export function readRcpt(line: string, smtpUtf8: boolean, allowPostmaster: string | null): Parsed<RcptCommand> {
  const split = splitPath(line, 'RCPT TO:', '5.1.3')
  if (!split.ok) return split
  // RFC 5321 §4.1.1.3: the only recipient without a domain.
  const bare = allowPostmaster !== null && /^<postmaster>$/i.test(split.value.path)
  const path = parsePath(bare ? `<postmaster@${allowPostmaster}>` : split.value.path)
  if (!path.ok) return refuse(501, `5.1.3 recipient address: ${path.error.reason}`)
  if (path.value === null) return refuse(501, '5.1.3 recipient address: the address is empty')
  if (path.value.utf8 && !smtpUtf8)
    return refuse(553, '5.6.7 an address with characters beyond ASCII needs the SMTPUTF8 parameter')
  const command: { -readonly [K in keyof RcptCommand]: RcptCommand[K] } = { address: path.value }
  for (const [name, value] of split.value.parameters) {
    switch (name) {
      case 'NOTIFY': {
        const words = (value ?? '').toUpperCase().split(',', 5)
        const notify = words.map((word) => NOTIFY_WORDS.get(word))
        if (notify.includes(undefined) || new Set(notify).size !== notify.length)
          return refuse(501, '5.5.4 NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY')
        if (notify.includes('never') && notify.length > 1)
          return refuse(501, '5.5.4 NOTIFY=NEVER stands alone (RFC 3461 4.1)')
        command.notify = notify as Notify[]
        break
      }
      case 'ORCPT': {
        const semicolon = (value ?? '').indexOf(';')
        const type = (value ?? '').slice(0, semicolon)
        const address = decodeXtext((value ?? '').slice(semicolon + 1), MAX_ORCPT)
        if (semicolon < 1 || !/^[A-Za-z0-9-]{1,40}$/.test(type) || address === null)
          return refuse(501, '5.5.4 ORCPT is an address type, a semicolon and xtext')
        command.originalRecipient = `${type.toLowerCase()};${address}`
        break
      }
      default:
        return refuse(555, `5.5.4 RCPT parameter ${name} is not known here`)
    }
  }
  return { ok: true, value: command }
}

function splitPath(
  line: string,
  verb: string,
  enhanced: string,
): Parsed<{ readonly path: string; readonly parameters: Parameters }> {
  const syntax = refuse(501, `5.5.4 syntax: ${verb}<address>`)
  if (line.slice(0, verb.length).toUpperCase() !== verb) return syntax
  let start = verb.length
  while (line[start] === ' ') start++
  if (line[start] !== '<') return syntax
  const end = pathEnd(line, start + 1)
  if (end < 0) return refuse(501, `${enhanced} the address does not end with >`)
  const rest = line.slice(end + 1)
  if (rest !== '' && !rest.startsWith(' ')) return syntax
  const parameters: Parameters = new Map()
  for (const word of rest.split(' ')) {
    if (word === '') continue
    const equals = word.indexOf('=')
    const name = (equals < 0 ? word : word.slice(0, equals)).toUpperCase()
    if (!/^[A-Z0-9][A-Z0-9-]{0,39}$/.test(name)) return refuse(501, '5.5.4 a parameter is not of the form NAME=value')
    if (parameters.has(name)) return refuse(501, `5.5.4 the parameter ${name} is given twice`)
    parameters.set(name, equals < 0 ? null : word.slice(equals + 1))
  }
  return { ok: true, value: { path: line.slice(start, end + 1), parameters } }
}

/** The closing bracket that is not within a quoted local part. */
function pathEnd(line: string, from: number): number {
  let quoted = false
  for (let i = from; i < line.length; i++) {
    const character = line[i]
    if (quoted && character === '\\') i++
    else if (character === '"') quoted = !quoted
    else if (character === '>' && !quoted) return i
  }
  return -1
}

/** RFC 3461 §4: `+XX` in capital hexadecimal, everything else printable ASCII without `+` and `=`. Null when it is not xtext. */
function decodeXtext(value: string | null, maxLength: number): string | null {
  if (value === null || value === '' || value.length > maxLength * 3) return null
  if (!/^(?:[!-*,-<>-~]|\+[0-9A-F]{2})+$/.test(value)) return null
  const decoded = value.replace(/\+([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return decoded.length <= maxLength && /^[ -~]+$/.test(decoded) ? decoded : null
}
