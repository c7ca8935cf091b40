import { Worker } from 'node:worker_threads'
import { type CompleteJob, type CompleteResult, completeJob } from './complete-job.ts'

/** Up to this size it takes a few milliseconds; larger ones would hold up every other session. */
const ON_LOOP_BYTES = 524_288

export type JobAnswer = { readonly number: number; readonly result: CompleteResult }

/** Completes messages: small ones here, large ones in a thread that is started when the first one comes. */
export class CompleteOffLoop {
  #worker: Worker | null = null
  #number = 0
  readonly #pending = new Map<number, { resolve(result: CompleteResult): void; reject(error: Error): void }>()

  complete(job: CompleteJob): CompleteResult | Promise<CompleteResult> {
    if (job.raw.length <= ON_LOOP_BYTES) return completeJob(job)
    const number = this.#number++
    return new Promise((resolve, reject) => {
      this.#pending.set(number, { resolve, reject })
      const thread = this.#thread()
      thread.ref()
      thread.postMessage({ number, job })
    })
  }

  #thread(): Worker {
    if (this.#worker !== null) return this.#worker
    const worker = new Worker(new URL('./worker.ts', import.meta.url))
    worker.on('message', ({ number, result }: JobAnswer) => {
      this.#pending.get(number)?.resolve(result)
      this.#pending.delete(number)
      // Only work keeps the process alive, not the thread that waits for it.
      if (this.#pending.size === 0) worker.unref()
    })
    worker.on('error', (error) => this.#lost(error as Error))
    worker.on('exit', (code) => this.#lost(new Error(`the thread that completes messages ended with ${code}`)))
    this.#worker = worker
    return worker
  }

  /** Whoever waits is told; the next large message starts another thread. */
  #lost(error: Error): void {
    this.#worker = null
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }
}
