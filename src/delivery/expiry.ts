import { type Clock, type Log, messageOf } from '#base'
import type { Queue } from '#queue'
import type { Concluder } from './attempt.ts'

const LOOK_MS = 10_000
const TOGETHER = 100

/**
 * Ends mail whose lifetime is over while nobody may claim it, because its domain waits for the DNS, a route or a place:
 * what waits for something that never comes ends all the same.
 */
export class Expiry {
  readonly #queue: Queue
  readonly #concluder: Concluder
  readonly #clock: Clock
  readonly #log: Log
  #running: Promise<void> = Promise.resolve()
  #cancel: (() => void) | null = null
  #stopped = false

  constructor(parts: {
    readonly queue: Queue
    readonly concluder: Concluder
    readonly clock: Clock
    readonly log: Log
  }) {
    this.#queue = parts.queue
    this.#concluder = parts.concluder
    this.#clock = parts.clock
    this.#log = parts.log
    this.#plan()
  }

  /** Resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancel?.()
    await this.#running
  }

  #plan(): void {
    this.#cancel = this.#clock.after(LOOK_MS, () => {
      this.#running = this.#look()
        .catch((error: unknown) => this.#log.error({ error: messageOf(error) }, 'expired mail could not be ended'))
        .finally(() => {
          if (!this.#stopped) this.#plan()
        })
    })
  }

  async #look(): Promise<void> {
    while (!this.#stopped) {
      const claims = await this.#queue.claimExpired(TOGETHER)
      if (claims.length === 0) return
      const nowMs = this.#clock.now()
      const context = { trace: null, provider: { id: 'own', name: 'own', kind: 'own' as const }, nowMs, counters: [] }
      const settlements = await Promise.all(
        claims.flatMap((claim) =>
          claim.recipients.map((recipient) => this.#concluder.expire(claim, recipient, context)),
        ),
      )
      await this.#queue.settle(settlements)
    }
  }
}
