const CR = 0x0d
const LF = 0x0a
const DOT = 0x2e
/** Large content is looked through and written in pieces of this size, so no message holds the event loop or doubles in memory. */
const WINDOW_BYTES = 131_072

/** A bare CR or LF was found: the content must not be sent (RFC 5321 §2.3.8). */
export class BareLineEnd extends Error {
  constructor() {
    super('content with a bare CR or LF')
    this.name = 'BareLineEnd'
  }
}

/**
 * Content as it goes over the wire: dots at the start of a line doubled (RFC 5321 §4.5.2), in pieces of at most 128 KiB.
 * A piece without such a dot is passed on as it is; one with dots is copied once.
 */
export class ContentReader {
  readonly #parts: readonly Buffer[]
  #part = 0
  #at = 0
  #previous = LF

  constructor(parts: readonly Uint8Array[]) {
    this.#parts = parts
      .filter((part) => part.length > 0)
      .map((part) => (Buffer.isBuffer(part) ? part : Buffer.from(part.buffer, part.byteOffset, part.length)))
  }

  get done(): boolean {
    return this.#part >= this.#parts.length
  }

  /** What is to be written after the last piece. */
  get terminator(): Buffer {
    return this.#previous === LF ? DOT_LINE : CRLF_DOT_LINE
  }

  /** The next piece. Throws BareLineEnd before a byte of the piece that has one was returned. */
  next(): Buffer {
    const part = this.#parts[this.#part]!
    const from = this.#at
    const end = Math.min(part.length, from + WINDOW_BYTES)
    const following = end < part.length ? part[end]! : this.#parts[this.#part + 1]?.[0]
    const dots = this.#check(part, from, end, following)
    this.#at = end
    if (end === part.length) {
      this.#part++
      this.#at = 0
    }
    return dots === 0 ? part.subarray(from, end) : this.#stuffed(part, from, end, dots)
  }

  #startsLine = true

  /**
   * Counts dots at the start of lines, and proves every CR and LF to be one of a pair. A search in a one-byte string is
   * three to five times as fast as any walk over the bytes (0.3 ns a byte).
   */
  #check(part: Buffer, from: number, end: number, following: number | undefined): number {
    const text = part.toString('latin1', from, end)
    // A piece that ended in CR was let through because this one was seen to begin with LF.
    let at = this.#previous === CR ? 1 : 0
    this.#startsLine = this.#previous === LF
    let dots = (this.#startsLine || at === 1) && text.charCodeAt(at) === DOT ? 1 : 0
    for (;;) {
      const cr = text.indexOf('\r', at)
      const lf = text.indexOf('\n', at)
      if (lf < 0) {
        if (cr >= 0 && (cr !== text.length - 1 || following !== LF)) throw new BareLineEnd()
        break
      }
      if (cr < 0 || cr !== lf - 1) throw new BareLineEnd()
      at = lf + 1
      if (text.charCodeAt(at) === DOT) dots++
    }
    this.#previous = part[end - 1]!
    return dots
  }

  #stuffed(part: Buffer, from: number, end: number, dots: number): Buffer {
    const out = Buffer.allocUnsafe(end - from + dots)
    let written = 0
    let copied = from
    let startsLine = this.#startsLine
    for (let at = from; at < end; ) {
      if (startsLine && part[at] === DOT) {
        written += part.copy(out, written, copied, at)
        out[written++] = DOT
        copied = at
      }
      const lf = part.indexOf(LF, at)
      if (lf < 0 || lf >= end) break
      at = lf + 1
      startsLine = true
    }
    part.copy(out, written, copied, end)
    return out
  }
}

const DOT_LINE = Buffer.from('.\r\n')
const CRLF_DOT_LINE = Buffer.from('\r\n.\r\n')
