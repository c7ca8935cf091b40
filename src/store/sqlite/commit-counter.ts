import { closeSync, fdatasyncSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'

// Two slots in pages of their own, written in turn: a torn write spoils the older number only.
const SLOT_BYTES = 4096
const RECORD_BYTES = 16
const MAGIC = 0x524c5643

/**
 * How many commits were answered, in a file beside the database. A database that lags behind it has lost commits (a
 * damaged write-ahead log opens silently without its tail), and is refused.
 */
export class CommitCounter {
  readonly #fd: number
  readonly #record = Buffer.alloc(RECORD_BYTES)

  private constructor(fd: number) {
    this.#fd = fd
  }

  /** Makes a new file at the given number; durable, the name in its directory included. */
  static create(path: string, value: number): CommitCounter {
    const fd = openSync(path, 'wx+', 0o600)
    ftruncateSync(fd, 2 * SLOT_BYTES)
    const counter = new CommitCounter(fd)
    counter.advance(value)
    fsyncSync(fd)
    syncDirectory(dirname(path))
    return counter
  }

  /** Opens a file; null when no slot of it can be believed. */
  static open(path: string): { readonly counter: CommitCounter; readonly value: number } | null {
    const fd = openSync(path, 'r+')
    let value = -1
    for (const slot of [0, 1]) value = Math.max(value, readSlot(fd, slot))
    if (value < 0) {
      closeSync(fd)
      return null
    }
    return { counter: new CommitCounter(fd), value }
  }

  /** Throws when the number could not be made durable. */
  advance(value: number): void {
    const record = this.#record
    record.writeUInt32BE(MAGIC, 0)
    record.writeUIntBE(Math.floor(value / 2 ** 24), 4, 4)
    record.writeUIntBE(value % 2 ** 24, 8, 3)
    record[11] = 0
    record.writeUInt32BE(crc32(record.subarray(0, 12)), 12)
    writeSync(this.#fd, record, 0, RECORD_BYTES, (value % 2) * SLOT_BYTES)
    fdatasyncSync(this.#fd)
  }

  close(): void {
    closeSync(this.#fd)
  }
}

function readSlot(fd: number, slot: number): number {
  const record = Buffer.alloc(RECORD_BYTES)
  if (readSync(fd, record, 0, RECORD_BYTES, slot * SLOT_BYTES) < RECORD_BYTES) return -1
  if (record.readUInt32BE(0) !== MAGIC || record.readUInt32BE(12) !== crc32(record.subarray(0, 12))) return -1
  return record.readUIntBE(4, 4) * 2 ** 24 + record.readUIntBE(8, 3)
}

/** Makes a new name in a directory durable. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
