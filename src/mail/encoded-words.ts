// RFC 2047 encoded words, both ways. Reading knows the charsets of TextDecoder; what it cannot read stays as it stands.

/** RFC 2047 §2: an encoded word is at most 75 characters; this many octets of text fit in base64 with `=?utf-8?B?…?=`. */
const MAX_WORD_OCTETS = 45
const WORD = /=\?([A-Za-z0-9_.:()-]{1,40})(?:\*[A-Za-z0-9-]{1,20})?\?([BbQq])\?([^? \t]{0,2000})\?=/g
/** Texts are read up to this length; a header value of megabytes is nobody's subject. */
const MAX_READ_CHARACTERS = 16_384

/** The words of a text, each ≤ 75 characters, separated by one space; characters are never split between words. */
export function encodeWords(text: string): string {
  const words: string[] = []
  let chunk = ''
  let octets = 0
  for (const character of text) {
    const size = Buffer.byteLength(character)
    if (octets + size > MAX_WORD_OCTETS) {
      words.push(word(chunk))
      chunk = ''
      octets = 0
    }
    chunk += character
    octets += size
  }
  if (chunk !== '') words.push(word(chunk))
  return words.join(' ')
}

function word(text: string): string {
  return `=?utf-8?B?${Buffer.from(text).toString('base64')}?=`
}

/** The text of an unstructured value with its encoded words read; white space between two words belongs to neither (§6.2). */
export function decodeWords(value: string): string {
  const text = value.length > MAX_READ_CHARACTERS ? value.slice(0, MAX_READ_CHARACTERS) : value
  if (!text.includes('=?')) return text
  let out = ''
  let last = 0
  let pending: { charset: string; bytes: Buffer } | null = null
  for (const match of text.matchAll(WORD)) {
    const between = text.slice(last, match.index)
    const charset = match[1]!.toLowerCase()
    const bytes = /[Bb]/.test(match[2]!) ? Buffer.from(match[3]!, 'base64') : unQ(match[3]!)
    // Many senders split a character between two words: neighbours in one charset are read together.
    if (pending !== null && between.trim() === '') {
      if (pending.charset === charset) {
        pending = { charset, bytes: Buffer.concat([pending.bytes, bytes]) }
        last = match.index + match[0].length
        continue
      }
      out += decode(pending.charset, pending.bytes)
    } else {
      if (pending !== null) out += decode(pending.charset, pending.bytes)
      out += between
    }
    pending = { charset, bytes }
    last = match.index + match[0].length
  }
  if (pending !== null) out += decode(pending.charset, pending.bytes)
  return out + text.slice(last)
}

function unQ(text: string): Buffer {
  const plain = text.replace(/_/g, ' ')
  return Buffer.from(
    plain.replace(/=([0-9A-Fa-f]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  )
}

function decode(charset: string, bytes: Buffer): string {
  try {
    return new TextDecoder(charset).decode(bytes)
  } catch {
    return bytes.toString('latin1')
  }
}
