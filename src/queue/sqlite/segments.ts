import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { WorkerContext } from '#store'

// Bodies too large for a row: append-only files of records `magic 4 · length 4 · crc32 of the content 4 · message key 8`
// and the content. The database knows how long each file is; bytes behind that are the tail of a commit that never was.

const HEADER_BYTES = 20
const MAGIC = 0x524c5653
const FILE_NAME = /^\d{8}\.seg$/

/** Where a record begins. */
export type Place = { readonly segment: number; readonly offset: number }

/** `bytes` of the file, `live_bytes` of them in the `live_count` records whose content is still needed; `closed`: 0 appended to, 1 full, 2 left as it is. */
type Row = { id: number; bytes: number; live_bytes: number; live_count: number; closed: number }

/** Within the data directory. */
export function segmentName(segment: number): string {
  return `segments/${String(segment).padStart(8, '0')}.seg`
}

export function segmentPath(directory: string, segment: number): string {
  return join(directory, segmentName(segment))
}

/** The writing side, in the writer thread. */
export class SegmentWriter {
  readonly #context: WorkerContext
  readonly #directory: string
  readonly #limitBytes: number
  /** Kept open, so that a commit never lacks a descriptor. */
  readonly #folderFd: number
  #fd = -1
  #active = 0
  /** Where the next record goes, and where the batch began. */
  #end = 0
  #committedEnd = 0
  #committedActive = 0
  /** Stays open until the batch that went on to another file is kept: a rollback must not need to open one. */
  #committedFd = -1
  #dirty = false
  #namesDirty = false
  #doomed: number[] = []

  constructor(context: WorkerContext, limitBytes: number) {
    this.#context = context
    this.#directory = context.directory
    this.#limitBytes = limitBytes
    const folder = join(context.directory, 'segments')
    if (mkdirSync(folder, { recursive: true, mode: 0o700 }) !== undefined) syncFolder(context.directory)
    this.#folderFd = openSync(folder, 'r')
    this.#removeStrays()
    const last = context.statement('SELECT * FROM segments ORDER BY id DESC LIMIT 1').get() as Row | undefined
    if (last !== undefined && last.closed === 0) this.#reopen(last)
    this.#remember()
  }

  append(messageKey: number, content: Uint8Array, checksum: number): Place {
    if (this.#fd < 0 || (this.#end > 0 && this.#end + HEADER_BYTES + content.length > this.#limitBytes)) this.#next()
    const header = Buffer.alloc(HEADER_BYTES)
    header.writeUInt32BE(MAGIC, 0)
    header.writeUInt32BE(content.length, 4)
    header.writeUInt32BE(checksum, 8)
    header.writeBigUInt64BE(BigInt(messageKey), 12)
    const place = { segment: this.#active, offset: this.#end }
    this.#write(header)
    this.#write(content)
    this.#dirty = true
    this.#context
      .statement('UPDATE segments SET bytes = ?, live_bytes = live_bytes + ?, live_count = live_count + 1 WHERE id = ?')
      .run(this.#end, HEADER_BYTES + content.length, this.#active)
    return place
  }

  /** The content at this place is needed no more; a closed file without any goes after the commit. */
  drop(place: Place, bytes: number): void {
    const { statement } = this.#context
    statement('UPDATE segments SET live_bytes = live_bytes - ?, live_count = live_count - 1 WHERE id = ?').run(
      HEADER_BYTES + bytes,
      place.segment,
    )
    if (place.segment === this.#active) return
    const row = statement('SELECT * FROM segments WHERE id = ?').get(place.segment) as Row
    if (row.live_count > 0) return
    statement('DELETE FROM segments WHERE id = ?').run(place.segment)
    this.#doomed.push(place.segment)
  }

  /** Nothing of this file is moved or removed any more before its last message is settled: a person may save what is left. */
  leave(segment: number): void {
    this.#context.statement('UPDATE segments SET closed = 2 WHERE id = ?').run(segment)
  }

  /** One closed file of which less than half is alive, or null. */
  mostlyDead(): number | null {
    const row = this.#context
      .statement('SELECT id FROM segments WHERE closed = 1 AND live_bytes * 2 < bytes ORDER BY id LIMIT 1')
      .get() as { id: number } | undefined
    return row?.id ?? null
  }

  beforeCommit(): void {
    if (this.#dirty) fdatasyncSync(this.#fd)
    if (this.#namesDirty) fsyncSync(this.#folderFd)
  }

  afterCommit(): void {
    this.#dirty = false
    this.#namesDirty = false
    if (this.#committedFd >= 0 && this.#committedFd !== this.#fd) closeSync(this.#committedFd)
    this.#remember()
    const doomed = this.#doomed
    this.#doomed = []
    for (const segment of doomed) removeFile(segmentPath(this.#directory, segment))
  }

  /** Goes back to where the batch began, so that what never was committed leaves no trace. */
  afterRollback(): void {
    this.#doomed = []
    for (let made = this.#active; made > this.#committedActive; made--) removeFile(segmentPath(this.#directory, made))
    if (this.#fd >= 0 && this.#fd !== this.#committedFd) closeSync(this.#fd)
    this.#fd = this.#committedFd
    this.#active = this.#committedActive
    this.#end = this.#committedEnd
    if (this.#fd >= 0) ftruncateSync(this.#fd, this.#end)
    this.#dirty = false
    this.#namesDirty = false
  }

  close(): void {
    closeSync(this.#folderFd)
    if (this.#committedFd >= 0) closeSync(this.#committedFd)
    if (this.#fd >= 0 && this.#fd !== this.#committedFd) closeSync(this.#fd)
  }

  #remember(): void {
    this.#committedActive = this.#active
    this.#committedEnd = this.#end
    this.#committedFd = this.#fd
  }

  #write(bytes: Uint8Array): void {
    let written = 0
    while (written < bytes.length)
      written += writeSync(this.#fd, bytes, written, bytes.length - written, this.#end + written)
    this.#end += bytes.length
  }

  #next(): void {
    const { statement } = this.#context
    if (this.#fd >= 0) {
      if (this.#dirty) fdatasyncSync(this.#fd)
      if (this.#fd !== this.#committedFd) closeSync(this.#fd)
      this.#fd = -1
    }
    if (this.#active > 0) this.#closeRow(this.#active)
    const { last } = statement('SELECT coalesce(max(id), 0) AS last FROM segments').get() as { last: number }
    this.#active = Math.max(last, this.#active) + 1
    this.#fd = openSync(segmentPath(this.#directory, this.#active), 'w+', 0o600)
    this.#end = 0
    this.#namesDirty = true
    statement('INSERT INTO segments VALUES (?, 0, 0, 0, 0)').run(this.#active)
  }

  #closeRow(segment: number): void {
    const { statement } = this.#context
    statement('UPDATE segments SET closed = 1 WHERE id = ?').run(segment)
    const { changes } = statement('DELETE FROM segments WHERE id = ? AND live_count = 0').run(segment)
    if (changes > 0) this.#doomed.push(segment)
  }

  /** Files that no row speaks of: of a batch that never was committed, or emptied just before a crash. */
  #removeStrays(): void {
    const known = new Set(
      (this.#context.statement('SELECT id FROM segments').all() as { id: number }[]).map((row) => row.id),
    )
    for (const name of readdirSync(join(this.#directory, 'segments')))
      if (FILE_NAME.test(name) && !known.has(Number.parseInt(name, 10)))
        removeFile(join(this.#directory, 'segments', name))
  }

  /** Goes on with the last file. When it is missing, its messages are found to be damaged as each is read. */
  #reopen(row: Row): void {
    this.#active = row.id
    this.#end = row.bytes
    this.#fd = openExisting(segmentPath(this.#directory, row.id), 'r+')
    if (this.#fd >= 0) ftruncateSync(this.#fd, row.bytes)
  }
}

/**
 * Reads one record. Nothing stays open, so that the room of a removed file is given back at once.
 * @returns null when it is not what was written
 */
export function readRecord(directory: string, place: Place, bytes: number, checksum: number): Buffer | null {
  const record = Buffer.allocUnsafeSlow(HEADER_BYTES + bytes)
  const fd = openExisting(segmentPath(directory, place.segment), 'r')
  if (fd < 0) return null
  try {
    for (let got = 0; got < record.length; ) {
      const more = readSync(fd, record, got, record.length - got, place.offset + got)
      if (more === 0) return null
      got += more
    }
  } finally {
    closeSync(fd)
  }
  const content = record.subarray(HEADER_BYTES)
  if (record.readUInt32BE(0) !== MAGIC || record.readUInt32BE(4) !== bytes) return null
  return record.readUInt32BE(8) === checksum && crc32(content) === checksum ? content : null
}

/** Makes the names in a folder durable. */
function syncFolder(path: string): void {
  const fd = openSync(path, 'r')
  fsyncSync(fd)
  closeSync(fd)
}

/** -1 when there is no such file. */
function openExisting(path: string, flags: 'r' | 'r+'): number {
  try {
    return openSync(path, flags)
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return -1
    throw error
  }
}

/** A file that cannot be removed is in nobody's way; the next start tries again. */
function removeFile(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // Said above.
  }
}
