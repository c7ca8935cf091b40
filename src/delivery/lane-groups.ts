import type { Clock } from '#base'
import type { Priority } from '#queue'
import { Waiting } from './waiting.ts'

/** Lanes of a group that nothing is known of: each answer allows one more, so that a host that never answers holds few. */
const FIRST_WINDOW = 2
/** So many deferrals in a row halve the lanes: a host that takes nothing now need not be asked by many at once. */
const DEFERRALS_A_STEP = 10
/** After a connection failed, so many answers allow one lane more. */
const ANSWERS_A_STEP = 50
const WORKED_LATELY_MS = 60_000
/** A wake that found nothing to do leaves its place free: those are offered anew this often. */
const NET_MS = 250
/** Even a long pause is looked at this often: a clock may be set. */
const MAX_PAUSE_MS = 60_000

type Group = {
  lanes: number
  limit: number
  window: number
  step: number
  /** In a row. */
  deferrals: number
  answeredMs: number
  /** False: its lanes are not counted, it only pauses. */
  counted: boolean
  paused: Pause | null
  /** Domains with due mail and no lane. */
  readonly waiting: Waiting
}
type Pause = { readonly reason: string; readonly untilMs: number; readonly cancel: () => void }

/**
 * How many lanes a group of destinations (a site, a mailbox provider, a relay) has, and who waits for one. The number grows
 * with each answer up to the limit and halves when a connection fails. A place that comes free wakes the one that waits with
 * the strongest mail, so the cost is that of the lanes at work, however many wait.
 */
export class LaneGroups {
  readonly #clock: Clock
  readonly #wake: (domain: string) => void
  readonly #onLost: (domain: string) => void
  readonly #groups = new Map<string, Group>()
  /** Where a domain waits. */
  readonly #heldIn = new Map<string, Group>()
  /** Domains that were just woken, and by which group: when another group holds them, the place is for the next. */
  readonly #woken = new Map<string, Group>()
  #cancelNet: (() => void) | null = null

  /**
   * @param wake the domain is to be offered again
   * @param onLost it was woken and did not come back: it has nothing due any more
   */
  constructor(clock: Clock, wake: (domain: string) => void, onLost: (domain: string) => void = () => {}) {
    this.#clock = clock
    this.#wake = wake
    this.#onLost = onLost
  }

  /** Lanes that have a place in this group. */
  lanes(name: string): number {
    return this.#groups.get(name)?.lanes ?? 0
  }

  full(name: string, limit: number): boolean {
    const group = this.#groups.get(name)
    return group !== undefined && (group.paused !== null || group.lanes >= Math.min(limit, roomOf(group)))
  }

  /** Takes a place; false: there is none. @param window how many at first, FIRST_WINDOW unless told */
  enter(name: string, limit: number, window = FIRST_WINDOW): boolean {
    if (this.full(name, limit)) return false
    this.take(name, limit, window)
    return true
  }

  /** Takes a place, whether there is one or not. */
  take(name: string, limit: number, window = FIRST_WINDOW): void {
    const group = this.#group(name, window)
    group.limit = limit
    group.lanes += 1
  }

  /** The domain stays blocked until it is its turn. */
  hold(name: string, domain: string, priority: Priority, window = FIRST_WINDOW): void {
    const group = this.#group(name, window)
    this.#heldIn.get(domain)?.waiting.delete(domain)
    this.#heldIn.set(domain, group)
    group.waiting.add(domain, priority)
    this.#cameBack(domain, group)
    this.#cancelNet ??= this.#clock.after(NET_MS, () => this.#net())
  }

  /** A domain has a lane now. */
  began(domain: string): void {
    this.#heldIn.get(domain)?.waiting.delete(domain)
    this.#heldIn.delete(domain)
    this.#cameBack(domain, null)
  }

  /** A domain that waits has got stronger mail. */
  promote(domain: string, priority: Priority): void {
    this.#heldIn.get(domain)?.waiting.add(domain, priority)
  }

  /** A domain that waits with weaker mail is offered again out of turn. What came back from a full place is no stronger. */
  recall(domain: string, priority: Priority): void {
    const group = this.#heldIn.get(domain)
    if (group === undefined || group.waiting.holds(domain, priority)) return
    group.waiting.delete(domain)
    this.#heldIn.delete(domain)
    this.#wake(domain)
  }

  /** Somebody waits for a place in this group, other than this domain. */
  crowded(name: string, domain = ''): boolean {
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

  /** A host of the group answered; `deferred`: it took nothing. */
  answered(name: string, limit: number, deferred = false): void {
    const group = this.#groups.get(name)
    if (group === undefined) return
    group.answeredMs = this.#clock.monotonicMs()
    group.limit = limit
    group.deferrals = deferred ? group.deferrals + 1 : 0
    if (deferred) {
      if (group.deferrals % DEFERRALS_A_STEP === 0) group.window = Math.max(1, Math.floor(group.window / 2))
      return
    }
    const before = roomOf(group)
    group.window = Math.min(limit, group.window + group.step)
    if (roomOf(group) > before) this.#wakeOne(group)
  }

  /** A connection failed. @returns whether others of the group work, so that only their number is to blame */
  failed(name: string): boolean {
    const group = this.#groups.get(name)
    if (group === undefined) return false
    group.window = Math.max(1, Math.floor(Math.min(group.window, group.lanes) / 2))
    group.step = 1 / ANSWERS_A_STEP
    return group.lanes > 1 && this.#clock.monotonicMs() - group.answeredMs < WORKED_LATELY_MS
  }

  /** Nobody of this group begins before the time (wall clock); then one does, to see. */
  pause(name: string, untilMs: number, reason: string): void {
    const group = this.#group(name, 1)
    group.counted = false
    if (group.paused !== null && group.paused.untilMs >= untilMs) return
    group.paused?.cancel()
    const cancel = this.#clock.after(Math.min(Math.max(0, untilMs - this.#clock.now()), MAX_PAUSE_MS), () => {
      group.paused = null
      this.#wakeOne(group)
      this.#tidy(name, group)
    })
    group.paused = { reason, untilMs, cancel }
  }

  paused(name: string): { readonly reason: string; readonly untilMs: number } | null {
    return this.#groups.get(name)?.paused ?? null
  }

  /** One went on after a pause: the next may try. */
  goesOn(name: string): void {
    const group = this.#groups.get(name)
    if (group === undefined) return
    this.#wakeOne(group)
    this.#tidy(name, group)
  }

  stop(): void {
    this.#cancelNet?.()
    this.#cancelNet = null
    for (const group of this.#groups.values()) group.paused?.cancel()
  }

  #group(name: string, window: number): Group {
    let group = this.#groups.get(name)
    if (group === undefined) {
      group = {
        ...{ lanes: 0, limit: Number.POSITIVE_INFINITY, window, step: 1, deferrals: 0, paused: null },
        ...{ counted: true, answeredMs: Number.NEGATIVE_INFINITY, waiting: new Waiting() },
      }
      this.#groups.set(name, group)
    }
    return group
  }

  #wakeOne(group: Group): void {
    if (group.paused !== null || group.lanes >= roomOf(group)) return
    const domain = group.waiting.take()
    if (domain === null) return
    this.#heldIn.delete(domain)
    this.#woken.set(domain, group)
    this.#wake(domain)
  }

  /** What woke it may have left its place to the next. */
  #cameBack(domain: string, heldBy: Group | null): void {
    const by = this.#woken.get(domain)
    if (by === undefined) return
    this.#woken.delete(domain)
    // After a pause the next may only try when this one is seen to go on.
    if (by !== heldBy && (by.counted || heldBy !== null)) this.#wakeOne(by)
  }

  /** Nobody waits longer than this for a place that is free: looks at the groups that have lanes, which are few. */
  #net(): void {
    this.#cancelNet = null
    const lost = [...this.#woken]
    this.#woken.clear()
    for (const [domain, by] of lost) {
      this.#onLost(domain)
      this.#wakeOne(by)
    }
    let wait = false
    for (const [name, group] of this.#groups) {
      if (group.lanes === 0 && group.counted && group.window !== Number.POSITIVE_INFINITY) {
        this.#tidy(name, group)
        continue
      }
      const free = group.window === Number.POSITIVE_INFINITY ? 1 : roomOf(group) - group.lanes
      for (let i = 0; i < free && group.waiting.size > 0; i++) this.#wakeOne(group)
      wait ||= group.waiting.size > 0
      this.#tidy(name, group)
    }
    if (wait || this.#woken.size > 0) this.#cancelNet ??= this.#clock.after(NET_MS, () => this.#net())
  }

  #tidy(name: string, group: Group): void {
    if (group.lanes === 0 && group.waiting.size === 0 && group.paused === null) this.#groups.delete(name)
  }
}

function roomOf(group: Group): number {
  return Math.min(group.limit, Math.max(1, Math.floor(group.window)))
}
