import { SMTPStream } from 'smtp-server/lib/smtp-stream.js'
import type { DotReader } from './dot-reader.ts'

const LF = 0x0a
const CR = 0x0d
/** RFC 4954 §4 asks for 12,288 octets in AUTH exchanges; everything else is shorter. */
const MAX_COMMAND_OCTETS = 12_288
/** Commands answered at once before others get a turn. */
const MAX_AT_ONCE = 100
/** What is thrown away of a message that is not taken anyway, in sizes of the limit, before the connection ends. */
const MAX_DROPPED_MESSAGES = 4
const NOTHING = Buffer.alloc(0)

export type CommandReaderEvents = {
  /** A command line without its line end; call `done` when it was answered. */
  command(line: Buffer, done: () => void): void
  /** A line longer than any command may be; nothing more is read. */
  lineTooLong(): void
  /** The content is complete, or so much larger than allowed that it is not worth waiting for its end. */
  content(reader: DotReader, complete: boolean): void
  /** Before each run of commands or content, so that replies can go out together. */
  begin(): void
}

/**
 * Takes the place of smtp-server's stream: the same object towards the connection (`isClosed`, `_dataMode`), with its own
 * scanner. Command lines end with CRLF or LF; content ends as `DotReader` says. Everything is bounded; nothing is copied
 * but partial lines and the content.
 */
export class CommandReader extends SMTPStream {
  readonly #events: CommandReaderEvents
  #rest: Buffer = NOTHING
  /** The unfinished last line of earlier chunks. */
  #partial: Buffer[] = []
  #partialBytes = 0
  /** Size of the chunk in work, which the stream still counts as waiting. */
  #chunkBytes = 0
  #next: (() => void) | null = null
  #data: DotReader | null = null
  #maxSeenBytes = 0
  #waiting = false
  #running = false

  constructor(events: CommandReaderEvents) {
    super()
    this.#events = events
  }

  /** True when bytes are there that came behind the command in work. */
  get hasMore(): boolean {
    return this.#rest.length > 0 || this.writableLength > this.#chunkBytes
  }

  /** Reads what comes as content, until its end. */
  startContent(reader: DotReader, maxBytes: number): void {
    this.#data = reader
    this._dataMode = true
    this.#maxSeenBytes = maxBytes * MAX_DROPPED_MESSAGES
  }

  /** The content was answered: commands again. */
  contentAnswered(): void {
    this.#waiting = false
    this.#run()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding | 'buffer', next: (error?: Error | null) => void): void {
    if (this.isClosed) {
      next()
      return
    }
    this.#rest = chunk
    this.#chunkBytes = chunk.length
    this.#next = next
    this.#run()
  }

  /** What stood behind the last line end when the client closed is no command. */
  override _flushData(): void {}

  #run(): void {
    if (this.#running || this.#waiting) return
    this.#running = true
    this.#events.begin()
    let count = 0
    while (!this.isClosed && !this.#waiting && this.#rest.length > 0) {
      if (this.#data !== null) this.#readContent(this.#data)
      else if (++count > MAX_AT_ONCE) {
        this.#waiting = true
        setImmediate(() => this.#resume())
      } else this.#readCommand()
    }
    this.#running = false
    if (this.isClosed) this.#rest = NOTHING
    if (this.#rest.length === 0 && !this.#waiting) this.#more()
  }

  #resume(): void {
    this.#waiting = false
    this.#run()
  }

  #more(): void {
    const next = this.#next
    this.#next = null
    next?.()
  }

  #readCommand(): void {
    const rest = this.#rest
    const lf = rest.indexOf(LF)
    const length = this.#partialBytes + (lf < 0 ? rest.length : lf)
    if (length > MAX_COMMAND_OCTETS) {
      this.#rest = NOTHING
      this.#partial = []
      this.#partialBytes = 0
      this.#events.lineTooLong()
      return
    }
    if (lf < 0) {
      // A copy: a few bytes must not keep the whole chunk alive.
      this.#partial.push(Buffer.from(rest))
      this.#partialBytes = length
      this.#rest = NOTHING
      if (this.#partial.length > 64) this.#partial = [Buffer.concat(this.#partial)]
      return
    }
    let line = rest.subarray(0, lf)
    this.#rest = rest.subarray(lf + 1)
    if (this.#partial.length > 0) {
      line = Buffer.concat([...this.#partial, line])
      this.#partial = []
      this.#partialBytes = 0
    }
    if (line[line.length - 1] === CR) line = line.subarray(0, -1)
    let answered = false
    this.#waiting = true
    this.#events.command(line, () => {
      if (answered) return
      answered = true
      this.#resume()
    })
  }

  #readContent(reader: DotReader): void {
    const end = reader.take(this.#rest)
    if (end >= 0) this.#rest = this.#rest.subarray(end)
    else this.#rest = NOTHING
    const giveUp = end < 0 && reader.dropping && reader.seenBytes > this.#maxSeenBytes
    if (end < 0 && !giveUp) return
    this.#data = null
    this._dataMode = false
    this.#waiting = true
    this.#events.content(reader, end >= 0)
  }
}
