import type { Clock } from '#base'
import type { SmtpConnection } from './smtp-client/contract.ts'

type Idle = { readonly connection: SmtpConnection; readonly sinceMs: number }

const SWEEP_MS = 1000

/** Connections that wait for the next message to the same peers. One sweep a second for all of them, no timer each. */
export class Pool {
  readonly #idle = new Map<string, Idle[]>()
  readonly #clock: Clock
  readonly #idleMs: number
  #open = 0
  #sweeping: (() => void) | null = null

  constructor(clock: Clock, idleMs: number) {
    this.#clock = clock
    this.#idleMs = idleMs
  }

  /** Connections open, in use or waiting. */
  get open(): number {
    return this.#open
  }

  opened(): void {
    this.#open += 1
  }

  closed(): void {
    this.#open -= 1
  }

  /** The connection used last, which the peer is least likely to have given up. */
  take(key: string): SmtpConnection | null {
    const waiting = this.#idle.get(key)
    for (let idle = waiting?.pop(); idle !== undefined; idle = waiting?.pop()) {
      if (waiting!.length === 0) this.#idle.delete(key)
      if (idle.connection.usable) return idle.connection
      this.closed()
    }
    return null
  }

  give(key: string, connection: SmtpConnection): void {
    if (!connection.usable) {
      this.closed()
      connection.destroy()
      return
    }
    const waiting = this.#idle.get(key)
    const idle = { connection, sinceMs: this.#clock.monotonicMs() }
    if (waiting === undefined) this.#idle.set(key, [idle])
    else waiting.push(idle)
    this.#sweeping ??= this.#clock.after(SWEEP_MS, () => this.#sweep())
  }

  /** Ends connections that wait, those that were given first, until one more may be opened. */
  makeRoom(max: number): void {
    for (const [key, waiting] of this.#idle) {
      while (this.#open >= max && waiting.length > 0) void this.#quit(waiting.shift()!)
      if (waiting.length > 0) return
      this.#idle.delete(key)
    }
  }

  /** Says QUIT to all that wait; what has not answered within the time is cut off. */
  async close(withinMs: number): Promise<void> {
    this.#sweeping?.()
    this.#sweeping = null
    const all = [...this.#idle.values()].flat()
    this.#idle.clear()
    const cancel = this.#clock.after(withinMs, () => {
      for (const { connection } of all) connection.destroy()
    })
    await Promise.all(all.map((idle) => this.#quit(idle)))
    cancel()
  }

  #sweep(): void {
    this.#sweeping = null
    const oldestMs = this.#clock.monotonicMs() - this.#idleMs
    for (const [key, waiting] of this.#idle) {
      const stay: Idle[] = []
      for (const idle of waiting) {
        if (idle.connection.usable && idle.sinceMs > oldestMs) stay.push(idle)
        else void this.#quit(idle)
      }
      if (stay.length === 0) this.#idle.delete(key)
      else this.#idle.set(key, stay)
    }
    if (this.#idle.size > 0) this.#sweeping = this.#clock.after(SWEEP_MS, () => this.#sweep())
  }

  async #quit({ connection }: Idle): Promise<void> {
    this.closed()
    await connection.quit()
  }
}
