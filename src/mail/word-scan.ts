// Looking at four octets at a time without a branch for each: white space stands every few octets of a text, and a branch
// that cannot be predicted there costs more than all the rest. Both processors Relevo runs on are little-endian: the octet
// that comes first is the lowest of its word.

/** A sweep tells its caller after so many words whether something was found among them. */
export const WORDS_A_BLOCK = 256

/** The whole words within bytes: `words[i]` stands at octet `start + 4 * i`. */
export function wordsOf(bytes: Uint8Array): { readonly words: Int32Array; readonly start: number } {
  const start = Math.min(-bytes.byteOffset & 3, bytes.length)
  const count = (bytes.length - start) >> 2
  return { words: count === 0 ? NONE : new Int32Array(bytes.buffer, bytes.byteOffset + start, count), start }
}

const NONE = new Int32Array(0)

/** The high bit of each octet of a word that is zero (exact, no carry between octets). */
export function zeroOctets(word: number): number {
  return ~(((word & 0x7f7f7f7f) + 0x7f7f7f7f) | word | 0x7f7f7f7f)
}
