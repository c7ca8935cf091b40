import type { Clock } from '#base'

/** A wall clock that differs by more from where it should be was set. */
const SET_MS = 1000

type Jump = {
  readonly byMs: number
  /** The last recipient that was accepted by the clock of before. */
  readonly lastKey: number
}

/**
 * The time that waits are measured in: the wall clock of the start, moved on by the monotonic clock, so that nobody sets it.
 * What is kept is in wall time, and is turned into this where the schedule takes it. A clock that is set makes no wait
 * shorter or longer and ends no lifetime early; only times that somebody chose follow it.
 */
export class QueueTime {
  readonly #clock: Clock
  readonly #originMs: number
  readonly #onSet: (byMs: number) => void
  /** The wall clock, less this time. */
  #offsetMs = 0
  #jumps: Jump[] = []
  #lastKey = 0
  #distrusted = false

  /** @param onSet told when the wall clock was set, after it was taken into account */
  constructor(clock: Clock, onSet: (byMs: number) => void) {
    this.#clock = clock
    this.#originMs = clock.now() - clock.monotonicMs()
    this.#onSet = onSet
  }

  now(): number {
    const nowMs = this.#originMs + this.#clock.monotonicMs()
    const byMs = this.#clock.now() - nowMs - this.#offsetMs
    if (Math.abs(byMs) > SET_MS) {
      this.#offsetMs += byMs
      this.#jumps.push({ byMs, lastKey: this.#lastKey })
      this.#onSet(byMs)
    }
    return nowMs
  }

  /** True once the clock was set: what is kept then no longer tells by itself what is due. */
  get wasSet(): boolean {
    return this.#distrusted || this.#jumps.length > 0
  }

  /** What is kept shows that the clock was set before the start. */
  distrust(): void {
    this.#distrusted = true
  }

  /** What to take from a wall time to have this time, as of the last `now()`. */
  get offsetMs(): number {
    return this.#offsetMs
  }

  fromWall(wallMs: number): number {
    this.now()
    return wallMs - this.#offsetMs
  }

  toWall(timeMs: number): number {
    this.now()
    return timeMs + this.#offsetMs
  }

  /** Keys grow with acceptance: by them it is known which clock a message was accepted by. */
  accepted(key: number): void {
    if (key > this.#lastKey) this.#lastKey = key
  }

  /** When a message's lifetime ends by the wall clock of now, given when it was to end by the clock of its acceptance. */
  expiry(expiresMs: number, key: number): number {
    if (this.#jumps.length === 0) return expiresMs
    let moved = expiresMs
    for (const { byMs, lastKey } of this.#jumps) if (key <= lastKey) moved += byMs
    return moved
  }
}
