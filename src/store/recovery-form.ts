import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { EX, Fault } from '#base'
import { KEY_BYTES } from './master-key.ts'

// A key as a person writes it down: eight numbered lines of eight characters, each four bytes and a checksum of that line,
// and a ninth over all. The letters are Crockford's base32, which has no I, L, O and U; what is read for 1, 0 or V is taken.

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const LINES = 8
const LINE_BYTES = KEY_BYTES / LINES

/** Nine lines such as `1: 7ZQK-03RT`. */
export function recoveryLines(key: Uint8Array): readonly string[] {
  const lines = Array.from({ length: LINES }, (_, n) => {
    const bytes = Buffer.from(key.subarray(n * LINE_BYTES, (n + 1) * LINE_BYTES))
    return spell(Buffer.concat([bytes, Buffer.from([checkByte(n, bytes)])]))
  })
  return [...lines, spell(sumOf(key))].map((text, n) => `${n + 1}: ${text.slice(0, 4)}-${text.slice(4)}`)
}

/**
 * Reads the lines back, with or without numbers, in capitals or not.
 * @throws Fault bad-recovery, naming the line
 */
export function readRecovery(text: string): Buffer {
  const lines = text
    .split('\n')
    .map((line) => line.replace(/^\s*\d\s*[:.)]/, '').replaceAll(/[\s-]/g, ''))
    .filter((line) => line !== '')
  if (lines.length !== LINES + 1) throw bad(`the written form has ${LINES + 1} lines, and ${lines.length} were given`)
  const read = lines.map((line, n) => {
    const bytes = unspell(line)
    if (bytes === null) throw bad(`line ${n + 1} must have 8 letters and digits (no I, L, O, U)`)
    return bytes
  })
  for (const [n, bytes] of read.slice(0, LINES).entries())
    if (bytes[LINE_BYTES] !== checkByte(n, bytes.subarray(0, LINE_BYTES)))
      throw bad(`line ${n + 1} does not match its checksum: a letter is wrong, or lines changed places`)
  const key = Buffer.concat(read.slice(0, LINES).map((bytes) => bytes.subarray(0, LINE_BYTES)))
  if (!sumOf(key).equals(read[LINES]!)) throw bad(`line ${LINES + 1}, the checksum over all lines, does not match`)
  return key
}

function checkByte(line: number, bytes: Uint8Array): number {
  return crc32(Buffer.concat([Buffer.from([line]), bytes])) & 0xff
}

function sumOf(key: Uint8Array): Buffer {
  return createHash('sha256')
    .update('relevo recovery form')
    .update(key)
    .digest()
    .subarray(0, LINE_BYTES + 1)
}

/** Five bytes in eight characters. */
function spell(bytes: Buffer): string {
  let value = BigInt(`0x${bytes.toString('hex')}`)
  let text = ''
  for (let n = 0; n < 8; n++) {
    text = ALPHABET[Number(value & 31n)]! + text
    value >>= 5n
  }
  return text
}

function unspell(line: string): Buffer | null {
  const text = line.toUpperCase().replaceAll('O', '0').replaceAll(/[IL]/g, '1').replaceAll('U', 'V')
  if (text.length !== 8) return null
  let value = 0n
  for (const letter of text) {
    const digit = ALPHABET.indexOf(letter)
    if (digit < 0) return null
    value = value * 32n + BigInt(digit)
  }
  return Buffer.from(value.toString(16).padStart(10, '0'), 'hex')
}

function bad(message: string): Fault {
  return new Fault(message, {
    code: 'bad-recovery',
    exitCode: EX.DATAERR,
    remedy: 'Compare it with what was written down; nothing was changed',
  })
}
