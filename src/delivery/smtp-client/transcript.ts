const MAX_LINE_CHARS = 512
const HEAD_CHARS = 8192
const MAX_CHARS = 16_384
/** Room for the line that says how much was left out. */
const GAP_CHARS = 64
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/g

/**
 * What was said on a connection, for people: at most 16 KiB, lines at most 512 bytes, control characters escaped.
 * The beginning and the end are kept, what does not fit is left out of the middle. Secrets and content are never given to it.
 */
export class Transcript {
  #head: string[] = []
  #headChars = 0
  #tail: string[] = []
  #tailChars = 0
  #left = 0

  sent(text: string): void {
    this.#add('-> ', text)
  }

  received(text: string): void {
    this.#add('<- ', text)
  }

  note(text: string): void {
    this.#add('** ', text)
  }

  #add(prefix: string, text: string): void {
    const line = clip(prefix + text)
    const bytes = Buffer.byteLength(line) + 1
    if (this.#tail.length === 0 && this.#headChars + bytes <= HEAD_CHARS) {
      this.#head.push(line)
      this.#headChars += bytes
      return
    }
    this.#tail.push(line)
    this.#tailChars += bytes
    while (this.#tailChars > MAX_CHARS - HEAD_CHARS - GAP_CHARS) {
      this.#tailChars -= Buffer.byteLength(this.#tail.shift()!) + 1
      this.#left++
    }
  }

  toString(): string {
    const gap = this.#left === 0 ? [] : [`** (${this.#left} lines left out)`]
    return [...this.#head, ...gap, ...this.#tail].join('\n')
  }
}

function clip(text: string): string {
  const short = text.length > MAX_LINE_CHARS ? text.slice(0, MAX_LINE_CHARS) : text
  const escaped = short.replace(CONTROL, escapeCharacter)
  if (escaped.length * 3 <= MAX_LINE_CHARS || Buffer.byteLength(escaped) <= MAX_LINE_CHARS) return escaped
  let cut = escaped
  while (Buffer.byteLength(cut) > MAX_LINE_CHARS - 3) cut = cut.slice(0, Math.floor(cut.length * 0.9))
  return `${cut}…`
}

function escapeCharacter(character: string): string {
  const code = character.charCodeAt(0)
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`
}
