import type { Clock } from '#base'

const LOOK_AGAIN_MS = 20

/** Holds acceptance back while more is accepted than signed and handed on; first come, first let through. */
export class Backpressure {
  readonly #backlog: () => number
  readonly #maxBacklog: number
  readonly #maxWaitMs: number
  readonly #clock: Clock
  readonly #waiting: { readonly sinceMs: number; readonly resolve: (roomy: boolean) => void }[] = []
  #underWay = 0

  constructor(backlog: () => number, maxBacklog: number, maxWaitMs: number, clock: Clock) {
    this.#backlog = backlog
    this.#maxBacklog = maxBacklog
    this.#maxWaitMs = maxWaitMs
    this.#clock = clock
  }

  /** Acceptances that wait at this moment. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** True when there is room (pair it with `leave`), false after the longest wait. */
  enter(): boolean | Promise<boolean> {
    if (this.#waiting.length === 0 && this.#hasRoom()) {
      this.#underWay += 1
      return true
    }
    return new Promise((resolve) => {
      this.#waiting.push({ sinceMs: this.#clock.monotonicMs(), resolve })
      if (this.#waiting.length === 1) this.#later()
    })
  }

  leave(): void {
    this.#underWay -= 1
  }

  #hasRoom(): boolean {
    return this.#backlog() + this.#underWay < this.#maxBacklog
  }

  #later(): void {
    this.#clock.after(LOOK_AGAIN_MS, () => {
      while (this.#waiting.length > 0) {
        const first = this.#waiting[0]!
        const roomy = this.#hasRoom()
        if (!roomy && this.#clock.monotonicMs() - first.sinceMs < this.#maxWaitMs) break
        this.#waiting.shift()
        if (roomy) this.#underWay += 1
        first.resolve(roomy)
      }
      if (this.#waiting.length > 0) this.#later()
    })
  }
}
