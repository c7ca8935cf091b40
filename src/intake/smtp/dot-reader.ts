// The end of data and the dots of RFC 5321 §4.5.2, over whole buffers. Only CRLF.CRLF ends (or .CRLF as the very first
// line); every other mixture of CR, LF and dots is content, so that no two servers can differ about where a message ends.

const CR = 0x0d
const LF = 0x0a
const DOT = 0x2e
const CRLF_DOT = Buffer.from('\r\n.')
const FIRST_BYTES = 16_384

/** What all sessions together may hold of unfinished content. */
export class ContentBudget {
  readonly #maxBytes: number
  readonly #oneMostBytes: number
  #usedBytes = 0

  /** @param oneMostBytes what one message may hold where the memory is small: the process would not survive more */
  constructor(maxBytes: number, oneMostBytes: number = Number.POSITIVE_INFINITY) {
    this.#maxBytes = maxBytes
    this.#oneMostBytes = oneMostBytes
  }

  /** Up to that, one message is always let in, so that a small budget slows down but never shuts. */
  reserve(bytes: number, held: number): boolean {
    if (held + bytes > this.#oneMostBytes) return false
    if (this.#usedBytes > held && this.#usedBytes + bytes > this.#maxBytes) return false
    this.#usedBytes += bytes
    return true
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes
  }

  get usedBytes(): number {
    return this.#usedBytes
  }
}

export type Received =
  | { readonly kind: 'content'; readonly content: Buffer }
  /** Larger than allowed: nothing of it is kept. */
  | { readonly kind: 'too-large' }
  /** The budget of all sessions was used up: nothing of it is kept. */
  | { readonly kind: 'no-room' }

/** Where the reader stands: after CRLF (or at the start), within a line, after CR, after a first dot, after dot CR. */
type State = 'line-start' | 'within' | 'cr' | 'dot' | 'dot-cr'

/** Collects the content of one DATA, dots taken out, up to its end. */
export class DotReader {
  readonly #maxBytes: number
  readonly #budget: ContentBudget
  #state: State = 'line-start'
  #kept: Buffer
  #length = 0
  #reserved = 0
  #dropped: 'too-large' | 'no-room' | null = null
  #seenBytes = 0

  constructor(maxBytes: number, budget: ContentBudget) {
    this.#maxBytes = maxBytes
    this.#budget = budget
    // Bytes are reserved when they come, never on the word of the client (SIZE).
    this.#kept = Buffer.alloc(0)
  }

  /** Bytes read so far, kept or not. */
  get seenBytes(): number {
    return this.#seenBytes
  }

  /** True once the content is thrown away as it comes. */
  get dropping(): boolean {
    return this.#dropped !== null
  }

  /** Takes the next bytes. Returns how many belonged to the content when the end was among them, else -1. */
  take(chunk: Buffer): number {
    let at = 0
    while (at < chunk.length) {
      const byte = chunk[at]!
      switch (this.#state) {
        case 'line-start':
          if (byte === DOT) {
            this.#state = 'dot'
            at++
          } else this.#state = 'within'
          break
        case 'dot':
          if (byte === CR) {
            this.#state = 'dot-cr'
            at++
          } else this.#state = 'within'
          break
        case 'dot-cr':
          if (byte === LF) {
            this.#seenBytes += at + 1
            return at + 1
          }
          this.#keepCr()
          this.#state = 'cr'
          break
        case 'cr':
          if (byte === LF) {
            this.#keep(chunk, at, at + 1)
            this.#state = 'line-start'
            at++
          } else this.#state = 'within'
          break
        case 'within':
          at = this.#within(chunk, at)
          break
      }
    }
    this.#seenBytes += chunk.length
    return -1
  }

  /** To be called once after the end. The reservation stays until `release`. */
  received(): Received {
    if (this.#dropped !== null) return { kind: this.#dropped }
    return { kind: 'content', content: this.#kept.subarray(0, this.#length) }
  }

  /** Gives the budget back: after the answer, or when the client went away. */
  release(): void {
    this.#budget.release(this.#reserved)
    this.#reserved = 0
    this.#kept = Buffer.alloc(0)
  }

  /** Copies up to and with the next CRLF before a dot, or all there is; a line's first byte is never looked at twice. */
  #within(chunk: Buffer, from: number): number {
    const found = chunk.indexOf(CRLF_DOT, from)
    if (found >= 0) {
      this.#keep(chunk, from, found + 2)
      this.#state = 'dot'
      return found + 3
    }
    const end = chunk.length
    this.#keep(chunk, from, end)
    if (chunk[end - 1] === CR) this.#state = 'cr'
    else if (chunk[end - 1] === LF && end - 2 >= from && chunk[end - 2] === CR) this.#state = 'line-start'
    return end
  }

  #keepCr(): void {
    this.#keep(CRLF_DOT, 0, 1)
  }

  #keep(chunk: Buffer, from: number, to: number): void {
    if (this.#dropped !== null) return
    const length = this.#length + to - from
    if (length > this.#maxBytes) {
      this.#drop('too-large')
      return
    }
    if (length > this.#kept.length && !this.#grow(length)) {
      this.#drop('no-room')
      return
    }
    chunk.copy(this.#kept, this.#length, from, to)
    this.#length = length
  }

  #grow(needed: number): boolean {
    const size = Math.min(Math.max(FIRST_BYTES, this.#kept.length * 2, needed), Math.max(this.#maxBytes, needed))
    if (!this.#budget.reserve(size - this.#kept.length, this.#reserved)) return false
    this.#reserved += size - this.#kept.length
    const larger = Buffer.allocUnsafeSlow(size)
    this.#kept.copy(larger, 0, 0, this.#length)
    this.#kept = larger
    return true
  }

  #drop(why: 'too-large' | 'no-room'): void {
    this.#dropped = why
    this.release()
  }
}
