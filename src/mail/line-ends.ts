import { WORDS_A_BLOCK, wordsOf, zeroOctets } from './word-scan.ts'

const CR = 0x0d
const LF = 0x0a

/**
 * The bytes with CRLF for every line end: bare LF, bare CR and CR CR LF (text written twice in text mode) each become one
 * CRLF, so that no peer can see a line end where we saw none (RFC 5321 §2.3.8). The same Buffer when there is nothing to do.
 */
export function normaliseLineEnds(raw: Buffer): Buffer {
  const first = firstBareLineEnd(raw)
  if (first < 0) return raw
  const out = Buffer.allocUnsafe(raw.length + countLineEnds(raw, first))
  raw.copy(out, 0, 0, first)
  const length = raw.length
  let to = first
  for (let i = first; i < length; i++) {
    const c = raw[i]!
    if (c !== CR && c !== LF) {
      out[to++] = c
      continue
    }
    if (c === CR) {
      let after = i
      while (raw[after] === CR) after++
      // CRs before an LF belong to its line end; without one each CR is a line end of its own.
      if (raw[after] === LF) i = after
    }
    out[to++] = CR
    out[to++] = LF
  }
  return out.subarray(0, to)
}

function countLineEnds(raw: Buffer, from: number): number {
  const length = raw.length
  let count = 0
  for (let i = from; i < length; i++) if (raw[i] === CR || raw[i] === LF) count++
  return count
}

/** Every LF must follow a CR and every CR must be followed by an LF; the octet where that is first untrue, or -1. */
function firstBareLineEnd(raw: Buffer): number {
  const { words, start } = wordsOf(raw)
  let bare = 0
  let block = 0
  // The high bit of the lowest octet: the octet before the word is a CR.
  let afterCr = start > 0 && raw[start - 1] === CR ? 0x80 : 0
  while (block < words.length && bare === 0) {
    const end = Math.min(words.length, block + WORDS_A_BLOCK)
    for (let i = block; i < end; i++) {
      const word = words[i]!
      const cr = zeroOctets(word ^ 0x0d0d0d0d)
      bare |= zeroOctets(word ^ 0x0a0a0a0a) ^ ((cr << 8) | afterCr)
      afterCr = cr >>> 24
    }
    if (bare === 0) block = end
  }
  // What lies before the words, then the block at fault or what lies behind them; two octets earlier, for a pair at the seam.
  const head = slowFirstBareLineEnd(raw, 0, Math.min(raw.length, start + 2))
  return head >= 0 ? head : slowFirstBareLineEnd(raw, Math.max(0, start + block * 4 - 2), raw.length)
}

function slowFirstBareLineEnd(raw: Buffer, from: number, end: number): number {
  for (let i = from; i < end; i++) {
    const c = raw[i]!
    if (c === LF && raw[i - 1] !== CR) return i
    if (c === CR && raw[i + 1] !== LF) return i
  }
  return -1
}
