import { failed, ok, type Result } from '#base'
import { formatAddress, parseAddress } from './address.ts'
import { encodeWords } from './encoded-words.ts'

/** One entry of an address list, RFC 5322 §3.4: the display name with quotes and escapes removed, the address not yet checked. */
export type Mailbox = { readonly name: string; readonly address: string; readonly group: string | null }

const MAX_COMMENT_DEPTH = 20
const ATOM_TEXT = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*$/

/**
 * The mailboxes of an address-list value (unfolded). One pass, no recursion; a list other readers could understand
 * differently (text after the brackets, an unquoted @ in a name) is refused. The error is a sentence.
 */
export function parseMailboxes(value: string): Result<readonly Mailbox[], string> {
  const found: Mailbox[] = []
  let group: string | null = null
  let name = ''
  let bare = ''
  let angle: string | null = null

  function finish(): string | null {
    if (angle !== null) {
      if (bare.includes('@') && bare.replace(/"(?:[^"\\]|\\.)*"/g, '').includes('@'))
        return 'a display name with an @ must stand in quotes'
      found.push({ name: tidy(name), address: angle.trim(), group })
    } else if (bare.trim() !== '') found.push({ name: '', address: bare.trim(), group })
    name = bare = ''
    angle = null
    return null
  }

  for (let i = 0; i < value.length; i++) {
    const c = value[i]!
    if (c === '(') {
      i = endOfComment(value, i)
      if (i < 0) return failed('a comment does not end or is nested too deep')
      continue
    }
    if (c === ',' || (c === ';' && group !== null)) {
      const wrong = finish()
      if (wrong !== null) return failed(wrong)
      if (c === ';') group = null
      continue
    }
    if (c === ' ' || c === '\t') {
      name += ' '
      bare += ' '
      continue
    }
    if (angle !== null) return failed('there is text after the closing angle bracket')
    if (c === '"') {
      const end = endOfQuotes(value, i)
      if (end < 0) return failed('a quoted string does not end')
      name += value.slice(i + 1, end).replace(/\\(.)/gs, '$1')
      bare += value.slice(i, end + 1)
      i = end
    } else if (c === '<') {
      const end = endOfAngle(value, i)
      if (end < 0) return failed('an opening angle bracket is never closed')
      angle = value.slice(i + 1, end)
      i = end
    } else if (c === ':' && group === null && tidy(bare) !== '' && !bare.includes('@')) {
      group = tidy(name)
      name = bare = ''
    } else {
      name += c
      bare += c
    }
  }
  if (group !== null) return failed('a group of addresses does not end with a semicolon')
  const wrong = finish()
  return wrong === null ? ok(found) : failed(wrong)
}

/**
 * The list written again in ASCII: display names as encoded words, domains as A-labels. For lists with raw UTF-8 only,
 * since comments are dropped. The error is a sentence.
 */
export function encodeMailboxes(mailboxes: readonly Mailbox[]): Result<string, string> {
  let text = ''
  let group: string | null = null
  for (const mailbox of mailboxes) {
    const parsed = parseAddress(mailbox.address, { allowLiteral: true })
    if (!parsed.ok) return failed(`${JSON.stringify(mailbox.address)} is not an address: ${parsed.error.reason}`)
    if (parsed.value.utf8) return failed(`the address ${JSON.stringify(mailbox.address)} needs SMTPUTF8`)
    if (group !== null && mailbox.group !== group) text += ';'
    if (text !== '') text += group !== null && mailbox.group !== group ? ' ' : ', '
    if (mailbox.group !== null && mailbox.group !== group) text += `${phrase(mailbox.group)}: `
    group = mailbox.group
    const address = formatAddress(parsed.value)
    text += mailbox.name === '' ? address : `${phrase(mailbox.name)} <${address}>`
  }
  return ok(group === null ? text : `${text};`)
}

function phrase(name: string): string {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) >= 0x80) return encodeWords(name)
  return ATOM_TEXT.test(name) ? name : `"${name.replace(/["\\]/g, '\\$&')}"`
}

function tidy(text: string): string {
  return text.replace(/[ \t]+/g, ' ').trim()
}

/** Index of the closing parenthesis, -1 when there is none. */
function endOfComment(value: string, open: number): number {
  let depth = 0
  for (let i = open; i < value.length; i++) {
    const c = value[i]
    if (c === '\\') i++
    else if (c === '(' && ++depth > MAX_COMMENT_DEPTH) return -1
    else if (c === ')' && --depth === 0) return i
  }
  return -1
}

function endOfQuotes(value: string, open: number): number {
  for (let i = open + 1; i < value.length; i++) {
    if (value[i] === '\\') i++
    else if (value[i] === '"') return i
  }
  return -1
}

function endOfAngle(value: string, open: number): number {
  for (let i = open + 1; i < value.length; i++) {
    const c = value[i]
    if (c === '"') {
      i = endOfQuotes(value, i)
      if (i < 0) return -1
    } else if (c === '>') return i
    else if (c === '<') return -1
  }
  return -1
}
