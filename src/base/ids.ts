import { randomFillSync } from 'node:crypto'

/** Crockford base32, lower case: no i, l, o, u, so an id survives being read aloud. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const pool = Buffer.allocUnsafe(4096)
let used = pool.length

/**
 * A new id: 26 characters, 48 bits of time and 80 random bits (the layout of a ULID), so ids sort by age.
 * @param nowMs wall-clock milliseconds
 */
export function newId(nowMs: number): string {
  let id = ''
  let time = Math.max(0, Math.floor(nowMs))
  for (let i = 0; i < 10; i++) {
    id = ALPHABET[time % 32] + id
    time = Math.floor(time / 32)
  }
  if (used + 16 > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  for (let i = 0; i < 16; i++) id += ALPHABET[pool[used + i]! & 31]
  used += 16
  return id
}

const ID = /^[0-9a-hjkmnp-tv-z]{26}$/

export function isId(text: string): boolean {
  return ID.test(text)
}
