import type { Reply } from '../contract.ts'

/** A reply with its lines, code removed; the text of EHLO's lines is what they are read for. */
export type WireReply = Reply & { readonly lines: readonly string[] }

export type ReadStep =
  | { readonly kind: 'more' }
  | { readonly kind: 'reply'; readonly reply: WireReply; readonly next: number }
  | { readonly kind: 'broken'; readonly why: string }

const MAX_LINE_BYTES = 2048
const MAX_LINES = 100
const MAX_REPLY_BYTES = 65_536
const MAX_TEXT_CHARS = 2048
const LF = 0x0a
const CR = 0x0d
const NOTHING = Buffer.alloc(0)
const MORE: ReadStep = { kind: 'more' }
/** RFC 2034 §4, RFC 3463 §2. */
const ENHANCED = /^([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|$)/
const CONTROL = /[\x00-\x1f\x7f-\x9f]/g

/** Reads replies (RFC 5321 §4.2) out of whatever pieces they come in. Holds at most one line and the lines of one reply. */
export class ReplyParser {
  #held: Buffer = NOTHING
  #code = 0
  #bytes = 0
  #lines: string[] = []

  /** True when part of a reply has been read. */
  get midway(): boolean {
    return this.#bytes > 0
  }

  /** Reads at most one reply from `chunk`, starting at `from`; `next` is where the following one would begin. */
  read(chunk: Buffer, from: number): ReadStep {
    let at = from
    while (at < chunk.length) {
      const lf = chunk.indexOf(LF, at)
      const end = lf < 0 ? chunk.length : lf + 1
      this.#bytes += end - at
      if (this.#held.length + end - at > MAX_LINE_BYTES) return broken('a reply line of more than 2 KiB')
      if (this.#bytes > MAX_REPLY_BYTES) return broken('a reply of more than 64 KiB')
      const piece = chunk.subarray(at, end)
      const line = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece])
      if (lf < 0) {
        this.#held = this.#held.length === 0 ? Buffer.from(piece) : line
        return MORE
      }
      this.#held = NOTHING
      at = end
      const step = this.#line(line, at)
      if (step !== MORE) return step
    }
    return MORE
  }

  #line(line: Buffer, next: number): ReadStep {
    const end = line.length - (line.length > 1 && line[line.length - 2] === CR ? 2 : 1)
    const code = codeOf(line, end)
    if (code === 0) return broken('a line that is not a reply')
    const separator = end === 3 ? 0x20 : line[3]
    if (separator !== 0x20 && separator !== 0x2d) return broken('a line that is not a reply')
    if (this.#lines.length === 0) this.#code = code
    else if (this.#code !== code) return broken('a reply whose lines have different codes')
    if (this.#lines.length === MAX_LINES) return broken('a reply of more than 100 lines')
    this.#lines.push(end <= 4 ? '' : line.toString('utf8', 4, end))
    if (separator === 0x2d) return MORE
    const reply = replyOf(code, this.#lines)
    this.#lines = []
    this.#bytes = 0
    return { kind: 'reply', reply, next }
  }
}

function broken(why: string): ReadStep {
  return { kind: 'broken', why }
}

/** 200–599, or 0. */
function codeOf(line: Buffer, end: number): number {
  if (end < 3) return 0
  const a = line[0]! - 0x30
  const b = line[1]! - 0x30
  const c = line[2]! - 0x30
  if (a < 2 || a > 5 || b < 0 || b > 9 || c < 0 || c > 9) return 0
  return a * 100 + b * 10 + c
}

function replyOf(code: number, lines: readonly string[]): WireReply {
  const digit = String(Math.floor(code / 100))
  let enhanced: string | null = null
  for (const line of lines) {
    const found = ENHANCED.exec(line)
    if (found && line[0] === digit) {
      enhanced = found[1]!
      break
    }
  }
  const first = lines[0]!
  const prefix = ENHANCED.exec(first)
  const shortened = prefix && first[0] === digit ? first.slice(prefix[0].length) : first
  const joined = lines.length === 1 ? shortened : [shortened, ...lines.slice(1)].join(' ')
  return { code, enhanced, text: joined.slice(0, MAX_TEXT_CHARS).replace(CONTROL, '?'), lines }
}
