import { createHmac, timingSafeEqual } from 'node:crypto'
import { failed, ok, type Result } from '#base'

// The return path `<token>@<bounce host>` (the idea of VERP, with a signature): a bounce is attributed by what we wrote
// ourselves and by nothing else. 21 bytes: kind and key id 1 · recipient 6 · expiry day 2 · MAC 12, as 34 characters of
// RFC 4648 base32 in lower case, because remote systems fold the case of local parts.

/** A signing key and the small number that tokens name it by. */
export type ReturnPathKey = { readonly id: number; readonly secret: Uint8Array }

/** What a token says: the recipient it was made for; `message`: it stands for all recipients of that one's message. */
export type ReturnPathToken = { readonly kind: 'recipient' | 'message'; readonly recipientKey: number }

export type ReturnPathFault = 'not-a-token' | 'unknown-key' | 'forged' | 'expired'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const TOKEN_BYTES = 21
const HEAD_BYTES = 9
const TOKEN_LENGTH = 34
const MESSAGE_KIND = 0x80
const DAY_MS = 86_400_000
/** 2020-01-01, day 0 of the expiry count (16 bits reach to the year 2199). */
const FIRST_DAY = 18_262

export function expiryDay(ms: number): number {
  return Math.floor(ms / DAY_MS) - FIRST_DAY
}

function mac(head: Uint8Array, host: string, secret: Uint8Array): Buffer {
  return createHmac('sha256', secret)
    .update(head)
    .update(host)
    .digest()
    .subarray(0, TOKEN_BYTES - HEAD_BYTES)
}

/**
 * The return path of one recipient.
 * @param host bounce host in lower case; it is part of what is signed
 * @param expiresMs the token is believed up to and including this day
 */
export function makeReturnPath(token: ReturnPathToken, host: string, expiresMs: number, key: ReturnPathKey): string {
  const bytes = Buffer.allocUnsafe(TOKEN_BYTES)
  bytes[0] = (token.kind === 'message' ? MESSAGE_KIND : 0) | key.id
  bytes.writeUIntBE(token.recipientKey, 1, 6)
  bytes.writeUInt16BE(expiryDay(expiresMs), 7)
  mac(bytes.subarray(0, HEAD_BYTES), host, key.secret).copy(bytes, HEAD_BYTES)
  return `${encode(bytes)}@${host}`
}

/** Reads a return path back. Case is ignored; a MAC that does not fit says nothing about any recipient. */
export function readReturnPath(
  address: string,
  nowMs: number,
  keyOf: (id: number) => ReturnPathKey | undefined,
): Result<ReturnPathToken, ReturnPathFault> {
  const at = address.lastIndexOf('@')
  const bytes = at === TOKEN_LENGTH ? decode(address.slice(0, at).toLowerCase()) : null
  if (bytes === null) return failed('not-a-token')
  const key = keyOf(bytes[0]! & ~MESSAGE_KIND)
  if (key === undefined) return failed('unknown-key')
  const expected = mac(bytes.subarray(0, HEAD_BYTES), address.slice(at + 1).toLowerCase(), key.secret)
  if (!timingSafeEqual(expected, bytes.subarray(HEAD_BYTES))) return failed('forged')
  if (bytes.readUInt16BE(7) < expiryDay(nowMs)) return failed('expired')
  return ok({ kind: (bytes[0]! & MESSAGE_KIND) !== 0 ? 'message' : 'recipient', recipientKey: bytes.readUIntBE(1, 6) })
}

function encode(bytes: Uint8Array): string {
  let text = ''
  let held = 0
  let bits = 0
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET[(held >> bits) & 31]
    }
    held &= (1 << bits) - 1
  }
  return bits > 0 ? text + ALPHABET[(held << (5 - bits)) & 31] : text
}

function decode(text: string): Buffer | null {
  const bytes = Buffer.alloc(TOKEN_BYTES)
  let held = 0
  let bits = 0
  let at = 0
  for (const character of text) {
    const value = ALPHABET.indexOf(character)
    if (value < 0) return null
    held = (held << 5) | value
    bits += 5
    if (bits < 8) continue
    bits -= 8
    if (at < TOKEN_BYTES) bytes[at++] = (held >> bits) & 255
    held &= (1 << bits) - 1
  }
  // The last character carries two unused bits: anything but zero there is a second spelling, not ours.
  return held === 0 && at === TOKEN_BYTES ? bytes : null
}
