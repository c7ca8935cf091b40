import { Worker } from 'node:worker_threads'
import type { Clock, Log } from '#base'
import type { Report } from './report.ts'

const UNREADABLE: Report = { kind: 'other', recipients: [], originalMessageId: null, originalReturnPath: null }
/** Reading takes milliseconds; what takes longer is an attack or a bug. */
const LIMIT_MS = 5000

type Waiting = { readonly content: Uint8Array; resolve(report: Report): void }

/** Reads mail of strangers in a thread of its own, one at a time: what hangs or fails there costs that mail, not us. */
export class ReportReader {
  readonly #rulesFile: string
  readonly #clock: Clock
  readonly #log: Log
  readonly #waiting: Waiting[] = []
  #worker: Worker | null = null
  #busy = false

  constructor(rulesFile: string, clock: Clock, log: Log) {
    this.#rulesFile = rulesFile
    this.#clock = clock
    this.#log = log
  }

  read(content: Uint8Array): Promise<Report> {
    return new Promise((resolve) => {
      this.#waiting.push({ content, resolve })
      this.#next()
    })
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate()
    this.#worker = null
  }

  #next(): void {
    if (this.#busy) return
    const one = this.#waiting.shift()
    if (one === undefined) return
    this.#busy = true
    const worker = this.#start()
    const finish = (report: Report, alive: boolean): void => {
      cancel()
      // Only ours: with those of Node itself gone the thread would never be heard again.
      worker.off('message', answered)
      worker.off('error', failed)
      if (!alive) {
        void worker.terminate()
        this.#worker = null
      }
      this.#busy = false
      one.resolve(report)
      this.#next()
    }
    const cancel = this.#clock.after(LIMIT_MS, () => {
      this.#log.warn({ bytes: one.content.length }, 'a mail took too long to read; it is listed and changes nothing')
      finish(UNREADABLE, false)
    })
    const answered = (report: Report): void => finish(report, true)
    const failed = (error: unknown): void => {
      this.#log.warn({ error: String(error) }, 'a mail could not be read; it is listed and changes nothing')
      finish(UNREADABLE, false)
    }
    worker.once('message', answered)
    worker.once('error', failed)
    worker.postMessage(one.content)
  }

  #start(): Worker {
    if (this.#worker === null) {
      this.#worker = new Worker(new URL('./report-worker.ts', import.meta.url), {
        workerData: this.#rulesFile,
        resourceLimits: { maxOldGenerationSizeMb: 256 },
      })
      this.#worker.unref()
      // Between two mails nobody listens, and an error that nobody hears would end the process.
      this.#worker.on('error', () => {})
    }
    return this.#worker
  }
}
