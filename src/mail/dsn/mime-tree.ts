// A tolerant reader of the MIME structure of mail from strangers: LF or CRLF, missing ends, lying types. Bounded in
// depth, parts and bytes, and iterative, so that no mail costs more than its own length.

export type Part = {
  /** Field names in small letters; the first of each name counts, all values unfolded. */
  readonly headers: ReadonlyMap<string, string>
  readonly type: string
  readonly parameters: ReadonlyMap<string, string>
  /** Decoded from base64 or quoted-printable, as Latin-1 or UTF-8. */
  readonly text: string
  readonly depth: number
  /** Lies inside an enclosed message: it speaks of that one, not of this. */
  readonly enclosed: boolean
}

const MAX_PARTS = 100
const MAX_DEPTH = 10
const MAX_BYTES = 2_097_152
const MAX_HEADERS = 500
const MAX_HEAD = 262_144
const MAX_VALUE = 4000

/** All parts in order: containers first, then what they hold. The first is the mail itself. */
export function readParts(raw: Uint8Array): readonly Part[] {
  // Some hand over mail with white space before its first field.
  const source = withLineFeeds(raw.subarray(0, MAX_BYTES)).replace(/^\s{1,1000}(?=\S)/, '')
  const parts: Part[] = []
  const waiting: { text: string; depth: number; enclosed: boolean }[] = [{ text: source, depth: 0, enclosed: false }]
  while (waiting.length > 0 && parts.length < MAX_PARTS) {
    const { text, depth, enclosed } = waiting.shift()!
    const { headers, body } = splitHead(text)
    const { value: type, parameters } = readType(headers.get('content-type') ?? '')
    const boundary = parameters.get('boundary')
    const decoded = decodeBody(body, headers.get('content-transfer-encoding') ?? '', parameters.get('charset') ?? '')
    parts.push({ headers, type, parameters, text: decoded, depth, enclosed })
    if (depth >= MAX_DEPTH) continue
    const inner: string[] =
      type.startsWith('multipart/') && boundary
        ? splitMultipart(body, boundary)
        : type === 'message/rfc822' || type === 'message/global'
          ? [decoded]
          : []
    const within = enclosed || !type.startsWith('multipart/')
    waiting.unshift(...inner.slice(0, MAX_PARTS).map((one) => ({ text: one, depth: depth + 1, enclosed: within })))
  }
  return parts
}

/** CRLF and lone CR as LF; byte by byte, since replacing in a text of nothing but CR is slow. */
function withLineFeeds(raw: Uint8Array): string {
  const bytes = Buffer.allocUnsafe(raw.length)
  let length = 0
  for (let i = 0; i < raw.length; i++) {
    const byte = raw[i]!
    if (byte === 13) {
      if (raw[i + 1] !== 10) bytes[length++] = 10
    } else bytes[length++] = byte
  }
  return bytes.toString('latin1', 0, length)
}

/** The head of a message or of a block of fields. */
export function readHeaders(text: string): ReadonlyMap<string, string> {
  return splitHead(`${text}\n\n`).headers
}

function splitHead(text: string): { headers: Map<string, string>; body: string } {
  const headers = new Map<string, string>()
  let at = 0
  // The field that folded lines belong to; `-`: one whose value is not kept; empty before the first.
  let name = ''
  while (at < text.length && at < MAX_HEAD && headers.size < MAX_HEADERS) {
    const end = text.indexOf('\n', at)
    const line = text.slice(at, end < 0 ? text.length : end)
    if (line === '') {
      at = end < 0 ? text.length : end + 1
      return { headers, body: text.slice(at) }
    }
    const colon = line.indexOf(':')
    if ((line[0] === ' ' || line[0] === '\t') && name !== '') {
      const value = headers.get(name) ?? ''
      if (name !== '-' && value.length < MAX_VALUE) headers.set(name, `${value} ${line.trim()}`.slice(0, MAX_VALUE))
    } else if (colon > 0 && !/\s/.test(line.slice(0, colon).trimEnd())) {
      name = line.slice(0, colon).trimEnd().toLowerCase()
      if (headers.has(name)) name = '-'
      else headers.set(name, line.slice(colon + 1, colon + 1 + MAX_VALUE).trim())
    } else if (line.startsWith('From ') || line.startsWith('>From ')) name = '-'
    else return { headers, body: text.slice(at) }
    at = end < 0 ? text.length : end + 1
  }
  return { headers, body: text.slice(at) }
}

function readType(value: string): { value: string; parameters: Map<string, string> } {
  const parameters = new Map<string, string>()
  const [type = '', ...rest] = value.split(';')
  for (const one of rest) {
    const equals = one.indexOf('=')
    if (equals < 0) continue
    const text = one.slice(equals + 1).trim()
    parameters.set(
      one.slice(0, equals).trim().toLowerCase(),
      text.startsWith('"') ? text.slice(1).replace(/".*$/s, '') : text.split(/\s/, 1)[0]!,
    )
  }
  return { value: type.trim().toLowerCase(), parameters }
}

/** Relays that rewrite the header lose the boundary; then the first line that could be one is. */
function splitMultipart(body: string, boundary: string): string[] {
  const parts = splitAt(body, boundary)
  if (parts.length > 0) return parts
  const other = /^--([^\s]{1,200})\ncontent-[a-z-]{1,40}:/im.exec(body)?.[1]
  return other === undefined ? parts : splitAt(body, other)
}

function splitAt(body: string, boundary: string): string[] {
  const parts: string[] = []
  const mark = `--${boundary}`
  let from = -1
  let at = nextMark(body, mark, 0)
  while (at >= 0) {
    const start = body[at] === '\n' ? at + 1 : at
    if (from >= 0) parts.push(body.slice(from, at))
    const lineEnd = body.indexOf('\n', start)
    if (body.startsWith('--', start + mark.length) || lineEnd < 0) return parts
    from = lineEnd + 1
    at = nextMark(body, mark, from)
    if (parts.length >= MAX_PARTS) return parts
  }
  if (from >= 0) parts.push(body.slice(from))
  return parts
}

/** Where the next boundary line begins, or the line feed before it; another boundary may begin with the same text. */
function nextMark(body: string, mark: string, from: number): number {
  let at = body.startsWith(mark, from) ? from : body.indexOf(`\n${mark}`, from)
  while (at >= 0) {
    const end = (body[at] === '\n' ? at + 1 : at) + mark.length
    const after = body[end]
    if (after === undefined || /\s/.test(after) || body.startsWith('--', end)) return at
    at = body.indexOf(`\n${mark}`, end)
  }
  return -1
}

function decodeBody(body: string, encoding: string, charset: string): string {
  let bytes: Buffer
  switch (encoding.trim().toLowerCase()) {
    case 'base64':
      bytes = Buffer.from(body, 'base64')
      break
    case 'quoted-printable':
      bytes = Buffer.from(
        body
          .replace(/=[ \t]*\n/g, '')
          .replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
        'latin1',
      )
      break
    default:
      bytes = Buffer.from(body, 'latin1')
  }
  return decodeText(bytes, charset).replaceAll('\r\n', '\n')
}

function decodeText(bytes: Buffer, charset: string): string {
  const label = charset.trim().toLowerCase()
  if (label === '' || label === 'us-ascii' || label === 'iso-8859-1' || label === 'utf-8') {
    const text = bytes.toString('utf8')
    return text.includes('\ufffd') ? bytes.toString('latin1') : text
  }
  try {
    return new TextDecoder(label).decode(bytes)
  } catch {
    return bytes.toString('latin1')
  }
}
