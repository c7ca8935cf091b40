// The relaxed canonicalisation of RFC 6376 §3.4.2 (header) and §3.4.4 (body). Only space and tab are white space: what
// Unicode calls a space (NBSP) is text, and bytes are kept whatever their charset.

import { WORDS_A_BLOCK, wordsOf, zeroOctets } from '../word-scan.ts'

const CR = 0x0d
const LF = 0x0a
const SPACE = 0x20
const TAB = 0x09

/** `name:value` without CRLF, of a field as a latin1 string (one character an octet). */
export function relaxedField(field: string): string {
  const colon = field.indexOf(':')
  return `${field
    .slice(0, colon)
    .toLowerCase()
    .replace(/[ \t]+$/, '')}:${relaxedValue(field, colon + 1)}`
}

function relaxedValue(field: string, from: number): string {
  let start = from
  while (start < field.length && isSpace(field.charCodeAt(start))) start++
  let end = field.length
  while (end > start && isSpace(field.charCodeAt(end - 1))) end--
  const value = field.slice(start, end)
  return FOLDS.test(value) ? value.replace(/[ \t\r\n]+/g, ' ') : value
}

const FOLDS = /[\t\r\n]| {2}/

function isSpace(c: number): boolean {
  return c === SPACE || c === TAB || c === CR || c === LF
}

/** The body as it is hashed; a view of the same memory when nothing folds. One pass over the bytes. */
export function relaxedBody(body: Uint8Array): Uint8Array {
  return relaxedLines(body, withoutBlankLines(body))
}

/** The same in pieces of whole lines of about `pieceBytes`, for bodies that would take too long at once. */
export function* relaxedPieces(body: Uint8Array, pieceBytes: number): Generator<Uint8Array> {
  const end = withoutBlankLines(body)
  for (let at = 0; at < end; ) {
    const lf = at + pieceBytes < end ? body.indexOf(LF, at + pieceBytes) : -1
    const pieceEnd = lf < 0 || lf + 1 > end ? end : lf + 1
    yield relaxedLines(body.subarray(at, pieceEnd), pieceEnd - at)
    at = pieceEnd
  }
}

function relaxedLines(body: Uint8Array, end: number): Uint8Array {
  const first = firstFold(body, end)
  if (first === end) {
    if (end === 0 || endsWithCrlf(body, end)) return body.subarray(0, end)
    const out = Buffer.allocUnsafe(end + 2)
    out.set(body.subarray(0, end))
    out[end] = CR
    out[end + 1] = LF
    return out
  }
  return fold(body, end, first)
}

/** Where the body ends without its trailing lines that are blank or of white space only. */
function withoutBlankLines(body: Uint8Array): number {
  let end = body.length
  for (;;) {
    let i = end
    if (endsWithCrlf(body, i)) i -= 2
    else if (i !== body.length) return end
    while (i > 0 && (body[i - 1] === SPACE || body[i - 1] === TAB)) i--
    // What is left must be the end of another line (or nothing) for this one to be blank.
    if (i > 0 && !endsWithCrlf(body, i)) return end
    if (i === end) return end
    end = i
  }
}

function endsWithCrlf(body: Uint8Array, end: number): boolean {
  return end >= 2 && body[end - 1] === LF && body[end - 2] === CR
}

/** The first octet that does not stay as it is: a tab, a space before another white space or before a line end. */
function firstFold(body: Uint8Array, bodyEnd: number): number {
  const tab = body.indexOf(TAB)
  const end = tab >= 0 && tab < bodyEnd ? tab : bodyEnd
  const { words, start } = wordsOf(body.subarray(0, end))
  let folds = 0
  let block = 0
  // The high bit of the lowest octet: the octet before the word is a space.
  let afterSpace = start > 0 && body[start - 1] === SPACE ? 0x80 : 0
  while (block < words.length && folds === 0) {
    const blockEnd = Math.min(words.length, block + WORDS_A_BLOCK)
    for (let i = block; i < blockEnd; i++) {
      const word = words[i]!
      const space = zeroOctets(word ^ 0x20202020)
      folds |= (space | zeroOctets(word ^ 0x0d0d0d0d)) & ((space << 8) | afterSpace)
      afterSpace = space >>> 24
    }
    if (folds === 0) block = blockEnd
  }
  const head = slowFirstFold(body, 0, Math.min(start, end), bodyEnd)
  if (head < Math.min(start, end)) return head
  // The block at fault or what lies behind the words; one octet earlier, for a pair at the seam.
  return slowFirstFold(body, Math.max(0, start + block * 4 - 1), end, bodyEnd)
}

function slowFirstFold(body: Uint8Array, from: number, end: number, bodyEnd: number): number {
  for (let i = from; i < end; i++) {
    if (body[i] !== SPACE) continue
    const next = i + 1 < bodyEnd ? body[i + 1]! : CR
    if (next === SPACE || next === TAB || next === CR) return i
  }
  return end
}

function fold(body: Uint8Array, end: number, first: number): Uint8Array {
  const out = Buffer.allocUnsafe(end + 2)
  out.set(body.subarray(0, first))
  let to = first
  for (let i = first; i < end; i++) {
    const c = body[i]!
    if (c > SPACE || (c !== SPACE && c !== TAB)) {
      out[to++] = c
      continue
    }
    while (i + 1 < end && (body[i + 1] === SPACE || body[i + 1] === TAB)) i++
    const endsLine = i + 1 === end || (body[i + 1] === CR && body[i + 2] === LF)
    if (!endsLine) out[to++] = SPACE
  }
  if (!endsWithCrlf(out, to) && to > 0) {
    out[to++] = CR
    out[to++] = LF
  }
  return out.subarray(0, to)
}
