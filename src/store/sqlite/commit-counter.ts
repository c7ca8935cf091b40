import { closeSync, fdatasyncSync, fsyncSync, openSync, readSync, renameSync, writeSync } from 'node:fs'
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

  /**
   * Makes a new file at the given number, whole or not at all; durable, the name in its directory included. Both slots are
   * written out, so that a full disk cannot refuse one later, when the commit it counts is already kept.
   */
  static create(path: string, value: number): void {
    const fd = openSync(`${path}.new`, 'w', 0o600)
    try {
      writeSync(fd, Buffer.alloc(2 * SLOT_BYTES))
      new CommitCounter(fd).advance(value)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(`${path}.new`, path)
    syncDirectory(dirname(path))
  }

  static open(path: string): CommitCounter {
    return new CommitCounter(openSync(path, 'r+'))
  }

  /** The number in a file, which is not touched; null when no slot of it can be believed. */
  static read(path: string): number | null {
    const fd = openSync(path, 'r')
    try {
      const value = Math.max(readSlot(fd, 0), readSlot(fd, 1))
      return value < 0 ? null : value
    } finally {
      closeSync(fd)
    }
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
