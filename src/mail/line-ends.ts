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
  let to = first
  for (let i = first; i < raw.length; i++) {
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
  let count = 0
  for (let i = from; i < raw.length; i++) if (raw[i] === CR || raw[i] === LF) count++
  return count
}

function firstBareLineEnd(raw: Buffer): number {
  const length = raw.length
  for (let i = 0; i < length; i++) {
    const c = raw[i]!
    if (c > CR) continue
    if (c === LF) return i
    if (c === CR) {
      if (raw[i + 1] !== LF) return i
      i++
    }
  }
  return -1
}
