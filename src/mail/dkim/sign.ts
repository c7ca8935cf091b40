import { createHash, hash, type KeyObject, sign } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DkimKey } from '../types.ts'
import { relaxedBody, relaxedField, relaxedPieces } from './relaxed.ts'

/**
 * Signed when present, and once more than present (RFC 6376 §8.15): a field of the name put in on the way breaks the
 * signature. The list fields must be among them for one-click unsubscribe (RFC 8058 §4).
 */
const OVERSIGNED = [
  'from',
  'sender',
  'reply-to',
  'to',
  'cc',
  'subject',
  'date',
  'message-id',
  'in-reply-to',
  'references',
  'mime-version',
  'content-type',
  'content-transfer-encoding',
  'list-id',
  'list-unsubscribe',
  'list-unsubscribe-post',
  'feedback-id',
] as const
const PLACE = new Map<string, number>(OVERSIGNED.map((name, place) => [name, place]))
const LONGEST_NAME = Math.max(...OVERSIGNED.map((name) => name.length))
const LINE = 72
const PIECE_BYTES = 1_048_576

/**
 * Signs a message: relaxed/relaxed, one DKIM-Signature for each key (RFC 6376, RFC 8463), body hashed once. The asymmetric
 * operations run on the thread pool.
 * @param content complete, CRLF line ends; sign last, since any change after breaks the signature
 * @param options.nowMs becomes `t=`; there is no `x=`, as mail may wait for days
 * @returns the header block to put before the content, ended by CRLF; empty without keys
 */
export async function signMessage(
  content: Uint8Array,
  keys: readonly DkimKey[],
  options: { readonly nowMs: number },
): Promise<Buffer> {
  if (keys.length === 0) return Buffer.alloc(0)
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  const { header, bodyStart } = headerOf(bytes)
  const bodyHash = await hashOfBody(bytes.subarray(bodyStart))
  const { names, text } = signedFields(header)
  const tail = `t=${Math.floor(options.nowMs / 1000)};\r\n\th=${names};\r\n\tbh=${bodyHash};\r\n\tb=`
  const fields = await Promise.all(keys.map((key) => signatureField(key, tail, text)))
  return Buffer.from(fields.join(''), 'latin1')
}

/** Large bodies let others have their turn: a gigabyte a second is still 30 ms for 30 MB. */
async function hashOfBody(body: Buffer): Promise<string> {
  if (body.length <= PIECE_BYTES) return hash('sha256', relaxedBody(body), 'base64')
  const digest = createHash('sha256')
  for (const piece of relaxedPieces(body, PIECE_BYTES)) {
    digest.update(piece)
    await nextTurn()
  }
  return digest.digest('base64')
}

async function signatureField(key: DkimKey, tail: string, text: string): Promise<string> {
  const field = `DKIM-Signature: v=1; a=${key.algorithm}; c=relaxed/relaxed;\r\n\td=${key.domain}; s=${key.selector}; ${tail}`
  const data = Buffer.from(text + relaxedField(field), 'latin1')
  // RFC 8463 §3: Ed25519 signs the SHA-256 hash, not the text.
  const signature =
    key.algorithm === 'rsa-sha256'
      ? await signOnPool('sha256', data, key.key)
      : await signOnPool(null, hash('sha256', data, 'buffer'), key.key)
  return `${field}${foldBase64(signature.toString('base64'))}\r\n`
}

function signOnPool(digest: string | null, data: Buffer, key: KeyObject): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(digest, data, key, (error, signature) => (error === null ? resolve(signature) : reject(error)))
  })
}

function foldBase64(text: string): string {
  let folded = text.slice(0, LINE)
  for (let at = LINE; at < text.length; at += LINE) folded += `\r\n\t${text.slice(at, at + LINE)}`
  return folded
}

function headerOf(bytes: Buffer): { readonly header: string; readonly bodyStart: number } {
  if (bytes[0] === 0x0d && bytes[1] === 0x0a) return { header: '', bodyStart: 2 }
  const end = bytes.indexOf('\r\n\r\n', 0, 'latin1')
  if (end < 0) return { header: bytes.toString('latin1'), bodyStart: bytes.length }
  return { header: bytes.toString('latin1', 0, end + 2), bodyStart: end + 4 }
}

/**
 * The value of `h=`, folded, and the canonical fields it names, each with CRLF. Fields of one name count from the bottom
 * up (§5.4.2); the last mention of each name has no field and stands for its absence.
 */
function signedFields(header: string): { readonly names: string; readonly text: string } {
  const found: string[][] = OVERSIGNED.map(() => [])
  for (let start = 0; start < header.length; ) {
    let end = nextLine(header, start)
    while (end < header.length && isWsp(header.charCodeAt(end))) end = nextLine(header, end)
    const colon = header.indexOf(':', start)
    // A name longer than any of ours needs no look-up; the slack is for obsolete white space before the colon.
    if (colon > start && colon < end && colon - start <= LONGEST_NAME + 16) {
      const name = header
        .slice(start, colon)
        .toLowerCase()
        .replace(/[ \t]+$/, '')
      const place = PLACE.get(name)
      if (place !== undefined) found[place]!.push(header.slice(start, end))
    }
    start = end
  }
  let names = ''
  let text = ''
  let column = 2
  for (let place = 0; place < OVERSIGNED.length; place++) {
    const name = OVERSIGNED[place]!
    const fields = found[place]!
    for (let i = fields.length; i >= 0; i--) {
      if (names !== '') {
        names += ':'
        column += 1
      }
      if (column + name.length > LINE) {
        names += '\r\n\t'
        column = 1
      }
      names += name
      column += name.length
      if (i > 0) text += `${relaxedField(fields[i - 1]!)}\r\n`
    }
  }
  return { names, text }
}

function nextLine(header: string, from: number): number {
  const lf = header.indexOf('\n', from)
  return lf < 0 ? header.length : lf + 1
}

function isWsp(c: number): boolean {
  return c === 0x20 || c === 0x09
}
