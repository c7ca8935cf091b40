const BUCKETS = 15

export type Tally = { good: number; blocked: number; deferred: number }

/** Counts of the last `windowMs`, in 15 buckets: constant memory however much mail there is. */
export class OutcomeWindow {
  readonly #bucketMs: number
  readonly #buckets: Tally[] = Array.from({ length: BUCKETS }, () => ({ good: 0, blocked: 0, deferred: 0 }))
  readonly #sum: Tally = { good: 0, blocked: 0, deferred: 0 }
  #current: number

  constructor(windowMs: number, nowMs: number) {
    this.#bucketMs = windowMs / BUCKETS
    this.#current = Math.floor(nowMs / this.#bucketMs)
  }

  add(kind: keyof Tally, nowMs: number): void {
    this.#forget(nowMs)
    this.#buckets[this.#current % BUCKETS]![kind] += 1
    this.#sum[kind] += 1
  }

  tally(nowMs: number): Readonly<Tally> {
    this.#forget(nowMs)
    return this.#sum
  }

  clear(): void {
    for (const tally of [this.#sum, ...this.#buckets]) tally.good = tally.blocked = tally.deferred = 0
  }

  #forget(nowMs: number): void {
    const bucket = Math.floor(nowMs / this.#bucketMs)
    for (let steps = Math.min(BUCKETS, bucket - this.#current); steps > 0; steps--) {
      this.#current = bucket - steps + 1
      const old = this.#buckets[this.#current % BUCKETS]!
      for (const kind of ['good', 'blocked', 'deferred'] as const) {
        this.#sum[kind] -= old[kind]
        old[kind] = 0
      }
    }
  }
}
