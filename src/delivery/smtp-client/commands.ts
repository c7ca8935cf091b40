import type { Transaction } from './contract.ts'

type Recipient = Transaction['recipients'][number]

/** RFC 3461 §4.2: longer ones are left out rather than cut. */
const MAX_ORCPT_CHARS = 500
const MAX_ENVID_CHARS = 100
const UNSENDABLE = /[\x00-\x20\x7f<>]/
const QUOTED = /^"(?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\uffff]|\\[\x20-\x7e])*"@[^\x00-\x20\x7f<>]+$/
const NON_ASCII = /[^\x00-\x7f]/

/** True when the address can stand between angle brackets without ending the command (a quoted local part may hold spaces). */
export function sendable(address: string): boolean {
  return !UNSENDABLE.test(address) || QUOTED.test(address)
}

export function hasNonAscii(text: string): boolean {
  return NON_ASCII.test(text)
}

/** MAIL with the parameters the peer offered (RFC 1870, 3461, 6531, 8689); content is 7-bit, so BODY stays at its default. */
export function mailCommand(t: Transaction, offered: ReadonlySet<string>, smtpUtf8: boolean): string {
  let line = `MAIL FROM:<${t.reversePath}>`
  if (offered.has('SIZE')) line += ` SIZE=${t.size}`
  if (smtpUtf8) line += ' SMTPUTF8'
  if (t.requireTls !== undefined && offered.has('REQUIRETLS')) line += ' REQUIRETLS'
  if (offered.has('DSN')) {
    if (t.ret) line += ` RET=${t.ret.toUpperCase()}`
    const envid = t.envelopeId === null ? '' : xtext(t.envelopeId)
    if (envid !== '' && envid.length <= MAX_ENVID_CHARS) line += ` ENVID=${envid}`
  }
  return `${line}\r\n`
}

export function rcptCommand(recipient: Recipient, offered: ReadonlySet<string>, smtpUtf8: boolean): string {
  let line = `RCPT TO:<${recipient.address}>`
  if (offered.has('DSN')) {
    if (recipient.notify && recipient.notify.length > 0) line += ` NOTIFY=${recipient.notify.join(',').toUpperCase()}`
    const orcpt = recipient.originalRecipient === null ? '' : originalRecipient(recipient.originalRecipient, smtpUtf8)
    if (orcpt !== '' && orcpt.length <= MAX_ORCPT_CHARS) line += ` ORCPT=${orcpt}`
  }
  return `${line}\r\n`
}

/** `rfc822;user@example` → its wire form; `utf-8` (RFC 6533 §3) when the address is not ASCII. */
function originalRecipient(decoded: string, smtpUtf8: boolean): string {
  const semicolon = decoded.indexOf(';')
  if (semicolon < 1) return ''
  const type = decoded.slice(0, semicolon)
  const address = decoded.slice(semicolon + 1).trim()
  if (address === '' || !/^[a-z0-9-]+$/i.test(type)) return ''
  if (!hasNonAscii(address)) return `${type};${xtext(address)}`
  return `utf-8;${smtpUtf8 ? unitext(address) : escapedUnitext(address)}`
}

/** RFC 3461 §4: what is not a printable character, and `+` and `=`, as `+XX`. */
export function xtext(text: string): string {
  let out = ''
  for (const byte of Buffer.from(text, 'utf8')) {
    const plain = byte > 0x20 && byte < 0x7f && byte !== 0x2b && byte !== 0x3d
    out += plain ? String.fromCharCode(byte) : `+${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return out
}

function unitext(text: string): string {
  return text.replace(/[\x00-\x20\x7f\\+=]/g, embedded)
}

function escapedUnitext(text: string): string {
  return text.replace(/[^\x21-\x7e]|[\\+=]/gu, embedded)
}

function embedded(character: string): string {
  return `\\x{${character.codePointAt(0)!.toString(16).toUpperCase()}}`
}
