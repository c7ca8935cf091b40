import { Worker } from 'node:worker_threads'
import { Fault } from '#base'

/** What crosses to a worker: a list of calls, and back a list of answers in any order. */
export type Call = { readonly id: number; readonly op: string; readonly args: unknown }
export type WireError = {
  readonly message: string
  readonly code: string
  readonly remedy?: string | undefined
  readonly field?: string | undefined
  readonly exitCode?: number | undefined
}
export type Answer =
  | readonly [id: number, ok: true, value: unknown]
  | readonly [id: number, ok: false, error: WireError]
export type FromWorker =
  | { readonly kind: 'ready'; readonly info: unknown }
  | { readonly kind: 'refused'; readonly error: WireError }
  | { readonly kind: 'answers'; readonly answers: readonly Answer[] }
  | { readonly kind: 'failed'; readonly error: WireError }
  | { readonly kind: 'closed' }

type Pending = { resolve(value: unknown): void; reject(error: unknown): void }

/** Calls into one worker thread. What is asked for in one turn of the event loop travels in one message. */
export class WorkerLink {
  readonly #worker: Worker
  readonly #pending = new Map<number, Pending>()
  readonly #onFailure: (error: Fault) => void
  #outbox: Call[] = []
  #lastId = 0
  #broken: Fault | null = null
  #closed: (() => void) | null = null

  private constructor(worker: Worker, onFailure: (error: Fault) => void) {
    this.#worker = worker
    this.#onFailure = onFailure
  }

  /** Resolves once the worker has opened the file; rejects with its refusal. */
  static start(
    script: URL,
    workerData: unknown,
    onFailure: (error: Fault) => void,
  ): Promise<{ readonly link: WorkerLink; readonly info: unknown }> {
    const worker = new Worker(script, { workerData })
    const link = new WorkerLink(worker, onFailure)
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        switch (message.kind) {
          case 'ready':
            resolve({ link, info: message.info })
            break
          case 'refused':
            link.#closed = () => {}
            reject(toError(message.error))
            break
          case 'answers':
            link.#settle(message.answers)
            break
          case 'failed':
            link.#onFailure(toError(message.error) as Fault)
            break
          case 'closed':
            link.#closed?.()
            break
        }
      })
      worker.on('error', (error: Error) => {
        link.#break(new Fault(`a store worker ended: ${error.message}`, { code: 'store-failed', cause: error }))
        reject(error)
      })
      worker.on('exit', (code) => {
        if (link.#closed === null)
          link.#break(new Fault(`a store worker ended with code ${code}`, { code: 'store-failed' }))
        link.#closed?.()
        reject(new Fault('a store worker ended before it was ready', { code: 'store-failed' }))
      })
    })
  }

  /** Calls not answered yet. */
  get waiting(): number {
    return this.#pending.size
  }

  call<T>(op: string, args: unknown): Promise<T> {
    if (this.#broken !== null) return Promise.reject(this.#broken)
    return new Promise<T>((resolve, reject) => {
      const id = ++this.#lastId
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject })
      if (this.#outbox.length === 0) setImmediate(() => this.#flush())
      this.#outbox.push({ id, op, args })
    })
  }

  /** Answers what was asked, then ends the worker. */
  async close(): Promise<void> {
    if (this.#broken !== null) {
      await this.#worker.terminate()
      return
    }
    this.#flush()
    const closed = new Promise<void>((resolve) => {
      this.#closed = resolve
    })
    this.#worker.postMessage('close')
    await closed
    this.#broken = new Fault('the store is closed', { code: 'store-closed' })
    await this.#worker.terminate()
  }

  #flush(): void {
    if (this.#outbox.length === 0) return
    const calls = this.#outbox
    this.#outbox = []
    this.#worker.postMessage(calls)
  }

  #settle(answers: readonly Answer[]): void {
    for (const [id, ok, value] of answers) {
      const pending = this.#pending.get(id)
      this.#pending.delete(id)
      if (ok) pending?.resolve(value)
      else pending?.reject(toError(value as WireError))
    }
  }

  #break(error: Fault): void {
    if (this.#broken !== null) return
    this.#broken = error
    for (const pending of this.#pending.values()) pending.reject(error)
    this.#pending.clear()
    this.#onFailure(error)
  }
}

function toError(error: WireError): Error {
  return new Fault(error.message, {
    code: error.code,
    ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
    ...(error.field === undefined ? {} : { field: error.field }),
    ...(error.exitCode === undefined ? {} : { exitCode: error.exitCode }),
  })
}

/** An error in a form that survives the way between threads. */
export function toWire(error: unknown): WireError {
  if (error instanceof Fault)
    return {
      message: error.message,
      code: error.code,
      remedy: error.remedy,
      field: error.field,
      exitCode: error.exitCode,
    }
  const { message = String(error), code = 'error' } = error as { message?: string; code?: string }
  return isCorrupt(error) ? { message, code, remedy: CORRUPT_REMEDY } : { message, code }
}

export const CORRUPT_REMEDY =
  'The database is damaged: stop Relevo; relevo db check tells more. Restore a backup, or run relevo db accept-loss.'

export function isCorrupt(error: unknown): boolean {
  return /^SQLITE_(CORRUPT|NOTADB)/.test((error as { code?: string }).code ?? '')
}
