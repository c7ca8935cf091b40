import type { Clock } from '#base'
import type { Limiter, Rate, RateAnswer, Slot } from './contract.ts'

const GRANTED: RateAnswer = { granted: true }
/** Entries looked at for having ended, each time a new key comes: keeps memory to what is in use. */
const SWEEP_STEP = 2

/** The limiter of one machine: everything in this process, by the monotonic clock. */
export class ProcessLimiter implements Limiter {
  readonly #clock: Clock
  /** Theoretical arrival time of GCRA: the time up to which the rate is used. */
  readonly #arrivals = new Map<string, number>()
  readonly #slots = new Map<string, Map<string, number>>()
  readonly #flags = new Map<string, { value: string; endsMs: number }>()
  #slotId = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async take(key: string, rate: Rate, count = 1): Promise<RateAnswer> {
    return this.takeNow(key, rate, count)
  }

  /** As `take`, for callers on the hot path that know they have this driver. */
  takeNow(key: string, rate: Rate, count = 1): RateAnswer {
    const now = this.#clock.monotonicMs()
    const spacing = rate.perMs / rate.limit
    const used = Math.max(this.#arrivals.get(key) ?? 0, now)
    const next = used + spacing * count
    const waitMs = next - spacing * Math.max(rate.burst, count) - now
    // A difference below a microsecond is the rounding of repeated addition, not a wait.
    if (waitMs > 0.001) return { granted: false, retryAfterMs: Math.ceil(waitMs) }
    if (!this.#arrivals.has(key)) this.#sweep(this.#arrivals, (until) => until <= now)
    this.#arrivals.delete(key)
    this.#arrivals.set(key, next)
    return GRANTED
  }

  async acquire(key: string, max: number, ttlMs: number): Promise<Slot | null> {
    const now = this.#clock.monotonicMs()
    let slots = this.#slots.get(key)
    if (slots === undefined) {
      slots = new Map()
      this.#slots.set(key, slots)
    }
    if (slots.size >= max) for (const [id, endsMs] of slots) if (endsMs <= now) slots.delete(id)
    if (slots.size >= max) return null
    this.#slotId += 1
    const id = String(this.#slotId)
    slots.set(id, now + ttlMs)
    return { key, id }
  }

  async release(slot: Slot): Promise<void> {
    const slots = this.#slots.get(slot.key)
    slots?.delete(slot.id)
    if (slots?.size === 0) this.#slots.delete(slot.key)
  }

  async set(key: string, value: string, ttlMs: number): Promise<void> {
    const now = this.#clock.monotonicMs()
    this.#sweep(this.#flags, (flag) => flag.endsMs <= now)
    this.#flags.delete(key)
    this.#flags.set(key, { value, endsMs: now + ttlMs })
  }

  async get(key: string): Promise<string | null> {
    const flag = this.#flags.get(key)
    if (flag === undefined) return null
    if (flag.endsMs > this.#clock.monotonicMs()) return flag.value
    this.#flags.delete(key)
    return null
  }

  async clear(key: string): Promise<void> {
    this.#flags.delete(key)
  }

  async lead(name: string, holder: string, ttlMs: number): Promise<boolean> {
    const key = `lead:${name}`
    const leader = await this.get(key)
    if (leader !== null && leader !== holder) return false
    await this.set(key, holder, ttlMs)
    return true
  }

  standing(): 'shared' {
    return 'shared'
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Maps keep the order of the last use, so the first ones are the oldest. */
  #sweep<T>(map: Map<string, T>, ended: (value: T) => boolean): void {
    let looked = 0
    for (const [key, value] of map) {
      if (looked++ >= SWEEP_STEP) return
      if (ended(value)) map.delete(key)
    }
  }
}
