import { createHash } from 'node:crypto'
import { closeSync, fdatasyncSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'

const CHUNK_BYTES = 1_048_576
/** Written to the disk in pieces, so that the fsync of a daemon on the same file system never waits behind a gigabyte. */
const SYNC_BYTES = 8_388_608

export type Copied = { readonly bytes: number; readonly sha256: string }

/**
 * Copies the first `bytes` of an open file, durably, and tells their checksum. Fewer when the file is shorter.
 * @param tick told each piece; waits when the machine should have a rest
 */
export async function copyFile(
  fromFd: number,
  bytes: number,
  to: string,
  tick: (bytes: number) => Promise<void>,
): Promise<Copied> {
  const fd = openSync(to, 'wx', 0o600)
  const hash = createHash('sha256')
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  let done = 0
  let unsynced = 0
  try {
    while (done < bytes) {
      const got = readSync(fromFd, chunk, 0, Math.min(CHUNK_BYTES, bytes - done), done)
      if (got === 0) break
      const piece = chunk.subarray(0, got)
      hash.update(piece)
      writeAll(fd, piece, done)
      done += got
      unsynced += got
      if (unsynced >= SYNC_BYTES) {
        fdatasyncSync(fd)
        unsynced = 0
      }
      await tick(got)
    }
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  return { bytes: done, sha256: hash.digest('hex') }
}

/** The checksum of a file that is there. */
export async function digestOf(path: string, tick: (bytes: number) => Promise<void>): Promise<Copied> {
  const fd = openSync(path, 'r')
  const hash = createHash('sha256')
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  let done = 0
  try {
    for (;;) {
      const got = readSync(fd, chunk, 0, CHUNK_BYTES, done)
      if (got === 0) return { bytes: done, sha256: hash.digest('hex') }
      hash.update(chunk.subarray(0, got))
      done += got
      await tick(got)
    }
  } finally {
    closeSync(fd)
  }
}

function writeAll(fd: number, bytes: Uint8Array, at: number): void {
  for (let written = 0; written < bytes.length; )
    written += writeSync(fd, bytes, written, bytes.length - written, at + written)
}
