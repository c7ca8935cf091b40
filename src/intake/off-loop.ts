import { type Transferable, Worker } from 'node:worker_threads'

export type OffLoopOptions<Job, Answer> = {
  /** The thread: takes `{number, job}`, answers `{number, answer}`. */
  readonly thread: URL
  /** Jobs up to this size take a few milliseconds and are done here; larger ones would hold up everybody else. */
  readonly onLoopBytes: number
  sizeOf(job: Job): number
  run(job: Job): Answer | Promise<Answer>
  /** Memory of the job that goes over instead of being copied; the job must not be used afterwards. */
  handsOver?(job: Job): readonly Transferable[]
}

/** Work that looks at every byte of what a client sent: small jobs here, large ones in a thread started when the first comes. */
export class OffLoop<Job, Answer> {
  readonly #options: OffLoopOptions<Job, Answer>
  #worker: Worker | null = null
  #number = 0
  readonly #pending = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>()

  constructor(options: OffLoopOptions<Job, Answer>) {
    this.#options = options
  }

  do(job: Job): Answer | Promise<Answer> {
    const { onLoopBytes, sizeOf, run, handsOver } = this.#options
    if (sizeOf(job) <= onLoopBytes) return run(job)
    const number = this.#number++
    return new Promise((resolve, reject) => {
      this.#pending.set(number, { resolve, reject })
      const thread = this.#thread()
      thread.ref()
      thread.postMessage({ number, job }, [...(handsOver?.(job) ?? [])])
    })
  }

  #thread(): Worker {
    if (this.#worker !== null) return this.#worker
    const worker = new Worker(this.#options.thread)
    worker.on('message', ({ number, answer }: { readonly number: number; readonly answer: Answer }) => {
      this.#pending.get(number)?.resolve(answer)
      this.#pending.delete(number)
      // Only work keeps the process alive, not the thread that waits for it.
      if (this.#pending.size === 0) worker.unref()
    })
    worker.on('error', (error) => this.#lost(error as Error))
    worker.on('exit', (code) => this.#lost(new Error(`a thread of intake ended with ${code}`)))
    this.#worker = worker
    return worker
  }

  /** Whoever waits is told; the next large job starts another thread. */
  #lost(error: Error): void {
    this.#worker = null
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }
}

/** The whole memory of a buffer, when nothing else lives in it. */
export function ownMemory(bytes: Uint8Array): readonly Transferable[] {
  const { buffer, byteLength } = bytes
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : []
}
