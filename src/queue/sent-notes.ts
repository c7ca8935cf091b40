import { closeSync, constants, fstatSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type Log, messageOf } from '#base'
import type { Settlement } from './contract.ts'

const FILE = 'relevo.sent'
/** Written round and round: far more than can wait for a commit at one time. */
const RING_BYTES = 4_194_304
/** Taken from the disk beforehand, so that a full one has room for what is under way. */
const FIRST_BYTES = 65_536
const CRC_CHARACTERS = 8

/**
 * That a peer took a message, written down at once and without a sync, beside the commit that takes its time: after a kill of the
 * process the system still has it, and the message is not sent again. Nothing depends on it: a note that is missing, torn
 * or old costs at most a copy, and its lease's fence decides whether it still means anything.
 */
export class SentNotes implements Disposable {
  /** What peers took before the last end, if that was not in good order: settled already, most of it. */
  readonly found: readonly Settlement[]
  readonly #log: Log
  #fd: number | null = null
  #at = 0

  constructor(directory: string, log: Log) {
    this.#log = log
    try {
      this.#fd = openSync(join(directory, FILE), constants.O_RDWR | constants.O_CREAT, 0o600)
    } catch (error) {
      this.#giveUp(error)
    }
    this.found = this.#fd === null ? [] : notesIn(readFileSync(this.#fd))
  }

  write(settlements: readonly Settlement[]): void {
    if (this.#fd === null) return
    let text = ''
    for (const one of settlements) if (one.to === 'sent' && one.spawn === null) text += lineOf(one)
    if (text === '') return
    const bytes = Buffer.from(text)
    if (this.#at + bytes.length > RING_BYTES) this.#at = 0
    try {
      writeSync(this.#fd, bytes, 0, bytes.length, this.#at)
      this.#at += bytes.length
    } catch (error) {
      // On a full disk there is no note: the commit itself waits for room.
      this.#log.debug({ error: messageOf(error) }, 'that a message was sent could not be noted beside its commit')
    }
  }

  /** Nothing of it waits for its commit any more: what is written next may overwrite it. */
  rewind(): void {
    this.#at = 0
  }

  /** Forgets all of it; the room on the disk is kept. */
  clear(): void {
    this.#at = 0
    if (this.#fd === null) return
    try {
      const bytes = Math.max(FIRST_BYTES, fstatSync(this.#fd).size)
      writeSync(this.#fd, Buffer.alloc(bytes), 0, bytes, 0)
    } catch (error) {
      this.#giveUp(error)
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== null) closeSync(this.#fd)
    this.#fd = null
  }

  #giveUp(error: unknown): void {
    this.#log.warn({ error: messageOf(error), file: FILE }, 'a kill may cost more copies: what is sent cannot be noted')
  }
}

function lineOf(settlement: Settlement): string {
  const json = JSON.stringify(settlement)
  return `${crc32(json).toString(16).padStart(CRC_CHARACTERS, '0')}${json}\n`
}

/** The whole lines; where the ring was overwritten or a write was cut off, one does not match. */
function notesIn(bytes: Buffer): readonly Settlement[] {
  const found: Settlement[] = []
  for (const line of bytes.toString('utf8').split('\n')) {
    const json = line.slice(CRC_CHARACTERS)
    if (json !== '' && Number.parseInt(line.slice(0, CRC_CHARACTERS), 16) === crc32(json))
      found.push(JSON.parse(json) as Settlement)
  }
  return found
}
