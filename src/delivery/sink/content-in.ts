const END = Buffer.from('\r\n.\r\n')
const STUFFED = Buffer.from('\r\n.')
const LINE_START = Buffer.from('\r\n')
const BARE = /(?:^|[^\r])\n|\r(?!\n)/

export type Taken = { readonly content: Buffer; readonly bareLineEnds: boolean; readonly tooLarge: boolean }

/** Collects content up to CRLF . CRLF and nothing else (RFC 5321 §4.1.1.4); above the limit it counts without keeping. */
export class ContentIn {
  readonly #maxBytes: number
  #chunks: Buffer[] = [LINE_START]
  #bytes = 0
  #tooLarge = false

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** The offset in `chunk` after the end of the content, or -1 while it goes on. */
  push(chunk: Buffer): number {
    const end = this.#endIn(chunk)
    const piece = end < 0 ? chunk : chunk.subarray(0, end)
    this.#bytes += piece.length
    if (this.#bytes > this.#maxBytes + END.length) {
      this.#tooLarge = true
      this.#chunks = [Buffer.concat([...this.#chunks, piece].slice(-2)).subarray(-END.length)]
    } else this.#chunks.push(piece)
    return end
  }

  #endIn(chunk: Buffer): number {
    const before = Buffer.concat(this.#chunks.slice(-4)).subarray(-(END.length - 1))
    const seam = Buffer.concat([before, chunk.subarray(0, END.length - 1)])
    const across = seam.indexOf(END)
    if (across >= 0) return across + END.length - before.length
    const inside = chunk.indexOf(END)
    return inside < 0 ? -1 : inside + END.length
  }

  take(): Taken {
    if (this.#tooLarge) return { content: Buffer.alloc(0), bareLineEnds: false, tooLarge: true }
    const wire = Buffer.concat(this.#chunks)
    const stuffed = wire.subarray(0, wire.length - 3)
    const content = unstuff(stuffed).subarray(LINE_START.length)
    return { content, bareLineEnds: BARE.test(content.toString('latin1')), tooLarge: false }
  }
}

/** Removes the dot a line begins with (RFC 5321 §4.5.2). `bytes` begins with the CRLF before the first line. */
function unstuff(bytes: Buffer): Buffer {
  let at = bytes.indexOf(STUFFED)
  if (at < 0) return bytes
  const out = Buffer.allocUnsafe(bytes.length)
  let written = 0
  let from = 0
  while (at >= 0) {
    written += bytes.copy(out, written, from, at + LINE_START.length)
    from = at + STUFFED.length
    at = bytes.indexOf(STUFFED, from)
  }
  written += bytes.copy(out, written, from)
  return out.subarray(0, written)
}
