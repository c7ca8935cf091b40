import { isAscii, isUtf8 } from 'node:buffer'
import { encodePartField } from './encode-field.ts'
import { fieldValue, findField, foldField, MAX_LINE_OCTETS, makeField, readFields, splitMessage } from './header.ts'
import { parameterOf } from './parameters.ts'
import { countEscapes, encodeBase64, encodeQuotedPrintable, rewrapBase64 } from './transfer-encoding.ts'
import type { HeaderField } from './types.ts'

const LF = 0x0a
const CR = 0x0d
const DASH = 0x2d
const MAX_DEPTH = 16
const MAX_PARTS = 2000
const CRLF = Buffer.from('\r\n')
/** Changing a byte of these breaks a signature or an encryption (RFC 1847, RFC 8551 §3.1). */
const UNTOUCHABLE = new Set([
  'multipart/signed',
  'multipart/encrypted',
  'application/pkcs7-mime',
  'application/x-pkcs7-mime',
])
/** Above this share of octets to escape, base64 is the shorter form. */
const BASE64_ABOVE = 1 / 6

export type SevenBit = {
  /** The same Buffer when there was nothing to do. */
  readonly content: Buffer
  /** A part that must not be changed has 8-bit octets or lines over 998: the next host must offer 8BITMIME, or the mail bounces (5.6.3). */
  readonly untouchable8bit: boolean
}

/** A piece still to be written: bytes as they are, or an entity (header, blank line, body) to look into. */
type Piece = { readonly bytes: Buffer; readonly depth: number; readonly type: string }
const AS_IS = -1

/**
 * The content in 7-bit form with lines ≤ 998 octets, to be done before signing (RFC 6376 §5.3). Leaf parts with 8-bit
 * octets, NUL or long lines become quoted-printable or base64. Fields of the message's own header stay as they are but for
 * the MIME ones; those of parts are encoded. Iterative, at most 16 levels and 2,000 parts; what lies deeper is untouchable.
 * @param content with CRLF line ends
 */
export function toSevenBit(content: Buffer): SevenBit {
  if (isSevenBit(content)) return { content, untouchable8bit: false }
  const converted = convert(content, '7bit')
  // RFC 2045 §6.4: what encloses 8-bit parts must go on to say 8bit; that is known only at the end.
  return converted.untouchable8bit ? convert(content, null) : converted
}

/** @param containerEncoding what multiparts and enclosed messages are to say, null: what they said */
function convert(content: Buffer, containerEncoding: '7bit' | null): SevenBit {
  const out: Buffer[] = []
  const todo: Piece[] = [{ bytes: content, depth: 0, type: 'text/plain' }]
  let untouchable8bit = false
  let parts = 0
  for (let piece = todo.pop(); piece !== undefined; piece = todo.pop()) {
    if (piece.depth === AS_IS) {
      out.push(piece.bytes)
      continue
    }
    const entity = openEntity(piece)
    if (piece.depth === 0 ? isSevenBit(entity.body) : isSevenBit(piece.bytes)) {
      out.push(piece.bytes)
      continue
    }
    const inner = entity.isContainer && piece.depth < MAX_DEPTH ? piecesOf(entity, piece.depth + 1) : null
    parts += inner?.length ?? 1
    if (inner !== null && parts <= MAX_PARTS) {
      out.push(...headerOf(entity, piece.depth, containerEncoding))
      for (let i = inner.length - 1; i >= 0; i--) todo.push(inner[i]!)
    } else if (entity.isContainer || UNTOUCHABLE.has(entity.type) || !isKnownEncoding(entity.encoding)) {
      untouchable8bit = true
      out.push(piece.bytes)
    } else if (isSevenBit(entity.body)) out.push(...headerOf(entity, piece.depth, null), entity.body)
    else {
      const encoded = encodeLeaf(entity)
      out.push(...headerOf(entity, piece.depth, encoded.encoding), encoded.body)
    }
  }
  return { content: Buffer.concat(out), untouchable8bit }
}

/** Whether bytes are 7-bit without NUL and in lines of at most 998 octets; native searches only. */
export function isSevenBit(bytes: Buffer): boolean {
  return isAscii(bytes) && !bytes.includes(0) && !hasLongLine(bytes)
}

function hasLongLine(bytes: Buffer): boolean {
  // Leap as far as a line may reach and look back for its end: about one look for each thousand octets.
  for (let start = 0; bytes.length - start > MAX_LINE_OCTETS; ) {
    const end = bytes.lastIndexOf(LF, start + MAX_LINE_OCTETS + 1)
    if (end < start) return bytes.length - start > MAX_LINE_OCTETS + 2 || bytes[bytes.length - 1] !== LF
    start = end + 1
  }
  return false
}

type Entity = {
  readonly fields: readonly HeaderField[]
  readonly separator: Buffer
  readonly body: Buffer
  /** Lower case, without parameters. */
  readonly type: string
  readonly contentType: string
  readonly hasType: boolean
  readonly encoding: string
  readonly isContainer: boolean
}

function openEntity(piece: Piece): Entity {
  const { header, body } = splitMessage(piece.bytes)
  const fields = readFields(header)
  const typeField = findField(fields, 'content-type')
  const contentType = typeField === undefined ? piece.type : fieldValue(typeField)
  const type = contentType.split(/[;(\s]/, 1)[0]!.toLowerCase()
  const encodingField = findField(fields, 'content-transfer-encoding')
  const encoding =
    encodingField === undefined
      ? '7bit'
      : fieldValue(encodingField)
          .split(/[;(\s]/, 1)[0]!
          .toLowerCase()
  const isContainer = (type.startsWith('multipart/') && !UNTOUCHABLE.has(type)) || isMessage(type)
  const separator = header.length < piece.bytes.length ? CRLF : piece.bytes.subarray(0, 0)
  return { fields, separator, body, type, contentType, hasType: typeField !== undefined, encoding, isContainer }
}

function isMessage(type: string): boolean {
  return type === 'message/rfc822' || type === 'message/global'
}

function isKnownEncoding(encoding: string): boolean {
  return ['7bit', '8bit', 'binary', 'quoted-printable', 'base64', ''].includes(encoding)
}

/** The pieces of a multipart body or an enclosed message, in order; null when it cannot be taken apart. */
function piecesOf(entity: Entity, depth: number): Piece[] | null {
  if (isMessage(entity.type)) {
    // RFC 2046 §5.2.1 allows no encoding here; where one is used nevertheless the body is no message yet.
    if (!['7bit', '8bit', 'binary', ''].includes(entity.encoding)) return null
    return [{ bytes: entity.body, depth, type: 'text/plain' }]
  }
  const boundary = parameterOf(entity.contentType, 'boundary')
  if (boundary === null || boundary === '' || boundary.length > 200) return null
  const pieces: Piece[] = []
  const type = entity.type === 'multipart/digest' ? 'message/rfc822' : 'text/plain'
  const body = entity.body
  let partStart = -1
  for (const delimiter of delimitersOf(body, boundary)) {
    const before = body.subarray(Math.max(partStart, 0), Math.max(delimiter.start, partStart, 0))
    // A preamble is for nobody's eyes (RFC 2046 §5.1.1): left out when it is not 7-bit.
    if (partStart >= 0) pieces.push({ bytes: before, depth, type })
    else if (isSevenBit(before)) pieces.push({ bytes: before, depth: AS_IS, type })
    pieces.push({ bytes: body.subarray(Math.max(delimiter.start, partStart, 0), delimiter.end), depth: AS_IS, type })
    if (pieces.length > MAX_PARTS) return null
    partStart = delimiter.end
    if (delimiter.closes) {
      const epilogue = body.subarray(delimiter.end)
      if (isSevenBit(epilogue)) pieces.push({ bytes: epilogue, depth: AS_IS, type })
      return pieces
    }
  }
  if (partStart < 0) return null
  pieces.push({ bytes: body.subarray(partStart), depth, type })
  return pieces
}

type Delimiter = { readonly start: number; readonly end: number; readonly closes: boolean }

/** The delimiter lines of a boundary: `start` at the CRLF before (it belongs to the delimiter), `end` behind the line. */
function* delimitersOf(body: Buffer, boundary: string): Generator<Delimiter> {
  const mark = Buffer.from(`--${boundary}`, 'utf8')
  for (let at = body.indexOf(mark); at >= 0; at = body.indexOf(mark, at + mark.length)) {
    if (at > 0 && body[at - 1] !== LF) continue
    let i = at + mark.length
    const closes = body[i] === DASH && body[i + 1] === DASH
    if (closes) i += 2
    while (body[i] === 0x20 || body[i] === 0x09) i++
    if (i < body.length && !(body[i] === CR && body[i + 1] === LF)) continue
    yield { start: at === 0 ? 0 : at - 2, end: Math.min(body.length, i + 2), closes }
  }
}

/**
 * The header of an entity as it will be written, with its blank line.
 * @param encoding the Content-Transfer-Encoding it must say, null: leave it
 */
function headerOf(entity: Entity, depth: number, encoding: string | null): Buffer[] {
  const out: Buffer[] = []
  for (const field of entity.fields) {
    if (encoding !== null && field.name === 'content-transfer-encoding') continue
    if (depth === 0) out.push(field.raw)
    else {
      const ascii = encodePartField(field)
      out.push(isSevenBit(ascii.raw) ? ascii.raw : foldField(ascii.raw))
    }
  }
  if (encoding === null) return [...out, entity.separator]
  if (depth === 0 && findField(entity.fields, 'mime-version') === undefined)
    out.push(makeField('MIME-Version', '1.0').raw)
  if (!entity.hasType && entity.type === 'text/plain' && !isAscii(entity.body)) {
    // RFC 1428: bytes of which nobody said what they are.
    const charset = isUtf8(entity.body) ? 'utf-8' : 'unknown-8bit'
    out.push(makeField('Content-Type', `text/plain; charset=${charset}`).raw)
  }
  // RFC 2045 §6.4: a multipart or message says 7bit, which is also what it says without the field.
  if (encoding !== '7bit') out.push(makeField('Content-Transfer-Encoding', encoding).raw)
  return [...out, entity.separator]
}

function encodeLeaf(entity: Entity): { readonly body: Buffer; readonly encoding: string } {
  const body = entity.body
  const endWithCrlf = body[body.length - 1] === LF
  if (entity.encoding === 'base64') return { body: rewrapBase64(body, endWithCrlf), encoding: 'base64' }
  if (entity.encoding === 'quoted-printable')
    return { body: encodeQuotedPrintable(body, true), encoding: 'quoted-printable' }
  const isText = entity.type.startsWith('text/') || entity.type.startsWith('message/')
  if (isText && countEscapes(body) <= body.length * BASE64_ABOVE)
    return { body: encodeQuotedPrintable(body, false), encoding: 'quoted-printable' }
  return { body: encodeBase64(body, endWithCrlf), encoding: 'base64' }
}
