import type { Writable } from 'node:stream'

/** What is kept for a reader that does not read; beyond that lines are dropped and counted. */
const MAX_WAITING_BYTES = 4_194_304

/**
 * Lines on their way to a stream that may be read slowly, not at all, or be gone: the process that logs never waits for it.
 * The lines of one turn of the event loop go out in one write.
 */
export class LogStream {
  readonly #stream: Writable
  #lines: string[] = []
  #bytes = 0
  #lost = 0
  #gone = false

  constructor(stream: Writable) {
    this.#stream = stream
    stream.on('error', () => {
      this.#gone = true
    })
    stream.on('drain', () => this.#tellLost())
  }

  /** Lines dropped since the reader was last told. */
  get lost(): number {
    return this.#lost
  }

  write(line: string): void {
    if (this.#gone) return
    if (this.#stream.writableLength + this.#bytes > MAX_WAITING_BYTES) {
      this.#lost += 1
      return
    }
    this.#bytes += line.length
    if (this.#lines.push(line) === 1) setImmediate(() => this.flush())
  }

  flush(): void {
    if (this.#lines.length === 0 || this.#gone) return
    const text = this.#lines.join('')
    this.#lines = []
    this.#bytes = 0
    this.#stream.write(text)
  }

  /** Waits for the reader, at most so long. What it has not read then is lost when the process ends. */
  async end(withinMs: number): Promise<void> {
    this.flush()
    if (this.#gone || this.#stream.writableLength === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, withinMs)
      const done = (): void => {
        clearTimeout(timer)
        resolve()
      }
      this.#stream.once('drain', done)
      this.#stream.once('error', done)
    })
  }

  #tellLost(): void {
    if (this.#lost === 0) return
    const lost = this.#lost
    this.#lost = 0
    this.write(`${JSON.stringify({ level: 'warn', lost, msg: 'log lines were dropped: nobody read them' })}\n`)
  }
}
