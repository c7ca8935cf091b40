import type { Clock } from '#base'

/** Lanes of a group that nothing is known of: each answer allows one more, so that a host that never answers holds few. */
const FIRST_WINDOW = 2
/** After a connection failed, so many answers allow one lane more. */
const ANSWERS_A_STEP = 50
const WORKED_LATELY_MS = 60_000
/** All that wait are offered anew this often, so that what became urgent meanwhile stands in front. */
const REORDER_MS = 250

type Group = {
  lanes: number
  window: number
  step: number
  answeredMs: number
  /** Domains with due mail and no lane, in the order they will get one. */
  readonly waiting: Set<string>
}

/**
 * How many lanes a group of destinations (a site, a mailbox provider, a relay) has, and who waits for one. The number grows
 * with each answer up to the limit and halves when a connection fails. A place that comes free wakes one that waits.
 */
export class LaneGroups {
  readonly #clock: Clock
  readonly #wake: (domain: string) => void
  readonly #groups = new Map<string, Group>()
  #cancelReorder: (() => void) | null = null

  constructor(clock: Clock, wake: (domain: string) => void) {
    this.#clock = clock
    this.#wake = wake
  }

  full(name: string, limit: number): boolean {
    const group = this.#groups.get(name)
    return group !== undefined && group.lanes >= roomOf(group, limit)
  }

  /** Takes a place; false: there is none. */
  enter(name: string, limit: number): boolean {
    if (this.full(name, limit)) return false
    this.#group(name).lanes += 1
    return true
  }

  /** The domain stays blocked until it is its turn. */
  hold(name: string, domain: string): void {
    this.#group(name).waiting.add(domain)
    this.#cancelReorder ??= this.#clock.after(REORDER_MS, () => this.#reorder())
  }

  /** Another domain waits for a place in this group. */
  crowded(name: string, domain: string): boolean {
    const waiting = this.#groups.get(name)?.waiting
    return waiting !== undefined && waiting.size > (waiting.has(domain) ? 1 : 0)
  }

  leave(name: string): void {
    const group = this.#groups.get(name)
    if (group === undefined) return
    group.lanes -= 1
    this.#wakeOne(group)
    this.#tidy(name, group)
  }

  /** A host of the group answered. */
  answered(name: string, limit: number): void {
    const group = this.#groups.get(name)
    if (group === undefined) return
    group.answeredMs = this.#clock.monotonicMs()
    const before = roomOf(group, limit)
    group.window = Math.min(limit, group.window + group.step)
    if (roomOf(group, limit) > before) this.#wakeOne(group)
  }

  /** A connection failed. @returns whether others of the group work, so that only their number is to blame */
  failed(name: string): boolean {
    const group = this.#groups.get(name)
    if (group === undefined) return false
    group.window = Math.max(1, Math.floor(Math.min(group.window, group.lanes) / 2))
    group.step = 1 / ANSWERS_A_STEP
    return group.lanes > 1 && this.#clock.monotonicMs() - group.answeredMs < WORKED_LATELY_MS
  }

  stop(): void {
    this.#cancelReorder?.()
    this.#cancelReorder = null
  }

  #group(name: string): Group {
    let group = this.#groups.get(name)
    if (group === undefined) {
      group = { lanes: 0, window: FIRST_WINDOW, step: 1, answeredMs: Number.NEGATIVE_INFINITY, waiting: new Set() }
      this.#groups.set(name, group)
    }
    return group
  }

  #wakeOne(group: Group): void {
    for (const domain of group.waiting) {
      group.waiting.delete(domain)
      this.#wake(domain)
      return
    }
  }

  /** Also the net under every wake that found nothing to do: nobody waits longer than this for a free place. */
  #reorder(): void {
    this.#cancelReorder = null
    for (const [name, group] of this.#groups) {
      const waiting = [...group.waiting]
      group.waiting.clear()
      for (const domain of waiting) this.#wake(domain)
      this.#tidy(name, group)
    }
  }

  #tidy(name: string, group: Group): void {
    if (group.lanes === 0 && group.waiting.size === 0) this.#groups.delete(name)
  }
}

function roomOf(group: Group, limit: number): number {
  return Math.min(limit, Math.max(1, Math.floor(group.window)))
}
