// Content transfer encodings, RFC 2045 §6.7 and §6.8, from bytes to bytes.

const CR = 0x0d
const LF = 0x0a
const SPACE = 0x20
const TAB = 0x09
const EQUALS = 0x3d
const LINE = 76
const HEX = Buffer.from('0123456789ABCDEF')
const BASE64_OCTETS_A_LINE = 57

/** Base64 in lines of 76, each ended by CRLF but the last one, unless `endWithCrlf`. */
export function encodeBase64(bytes: Buffer, endWithCrlf: boolean): Buffer {
  const lines: string[] = []
  for (let at = 0; at < bytes.length; at += BASE64_OCTETS_A_LINE)
    lines.push(bytes.toString('base64', at, Math.min(bytes.length, at + BASE64_OCTETS_A_LINE)))
  return Buffer.from(lines.join('\r\n') + (endWithCrlf ? '\r\n' : ''), 'latin1')
}

/** Base64 text again in lines of 76; what is not of its alphabet goes, as every reader would ignore it (§6.8). */
export function rewrapBase64(text: Buffer, endWithCrlf: boolean): Buffer {
  const plain = text.toString('latin1', 0, text.length).replace(/[^A-Za-z0-9+/=]+/g, '')
  const lines: string[] = []
  for (let at = 0; at < plain.length; at += LINE) lines.push(plain.slice(at, at + LINE))
  return Buffer.from(lines.join('\r\n') + (endWithCrlf ? '\r\n' : ''), 'latin1')
}

/** 1: escaped wherever it stands; 0: written as it is, but for white space at line ends. */
const ESCAPED = new Uint8Array(256)
for (let c = 0; c < 256; c++)
  ESCAPED[c] = c >= 0x7f || c === EQUALS || (c < SPACE && c !== TAB && c !== CR && c !== LF) ? 1 : 0
/** 1: written as it is without a second look. */
const PLAIN = new Uint8Array(256)
for (let c = SPACE + 1; c < 0x7f; c++) PLAIN[c] = c === EQUALS ? 0 : 1

/** How many octets of a text quoted-printable would have to escape (white space at line ends not counted). */
export function countEscapes(bytes: Buffer): number {
  const length = bytes.length // read once: in the condition it costs more than all else in the loop
  let count = 0
  for (let i = 0; i < length; i++) count += ESCAPED[bytes[i]!]!
  return count
}

function isHex(c: number | undefined): boolean {
  return c !== undefined && ((c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x46) || (c >= 0x61 && c <= 0x66))
}

/**
 * Quoted-printable; CRLF stays a line end, everything the encoding does not allow as it stands is escaped, lines are ≤ 76.
 * @param already the text claims to be quoted-printable: its escapes and soft line ends stay, only what breaks the rules changes
 */
export function encodeQuotedPrintable(bytes: Buffer, already: boolean): Buffer {
  // The worst case: each octet escaped, and a soft line end (3 octets) for every 73 octets written.
  const out = Buffer.allocUnsafe(Math.ceil(sizeEscaped(bytes) * (1 + 3 / 72)) + 16)
  const length = bytes.length
  let to = 0
  let column = 0
  for (let i = 0; i < length; i++) {
    const c = bytes[i]!
    if (PLAIN[c] === 1 && column < LINE - 1) {
      out[to++] = c
      column++
      continue
    }
    if (c === CR && bytes[i + 1] === LF) {
      out[to++] = CR
      out[to++] = LF
      i++
      column = 0
      continue
    }
    if (already && c === EQUALS && bytes[i + 1] === CR && bytes[i + 2] === LF) {
      out[to++] = EQUALS
      continue
    }
    const kept = already && c === EQUALS && isHex(bytes[i + 1]) && isHex(bytes[i + 2])
    const escaped = !kept && (ESCAPED[c] === 1 || c === CR || c === LF || endsLine(bytes, i))
    const size = kept || escaped ? 3 : 1
    // One column is left for the soft line end's `=`, or for the one that may stand there already.
    if (column + size > LINE - 1) {
      out[to++] = EQUALS
      out[to++] = CR
      out[to++] = LF
      column = 0
    }
    if (kept) {
      out[to++] = EQUALS
      out[to++] = bytes[i + 1]!
      out[to++] = bytes[i + 2]!
      i += 2
    } else if (escaped) {
      out[to++] = EQUALS
      out[to++] = HEX[c >> 4]!
      out[to++] = HEX[c & 15]!
    } else out[to++] = c
    column += size
  }
  return out.subarray(0, to)
}

/** White space just before a line end or at the end of all: it would be lost on the way (§6.7 rule 3). */
function endsLine(bytes: Buffer, i: number): boolean {
  const c = bytes[i]
  if (c !== SPACE && c !== TAB) return false
  const next = bytes[i + 1]
  return next === undefined || (next === CR && bytes[i + 2] === LF)
}

/** What escaping can come to: a line end stands for the white space before it, or is escaped itself. */
function sizeEscaped(bytes: Buffer): number {
  const length = bytes.length
  let escapes = 1
  for (let i = 0; i < length; i++) escapes += ESCAPED[bytes[i]!]! | (bytes[i] === CR || bytes[i] === LF ? 1 : 0)
  return length + 2 * escapes
}
