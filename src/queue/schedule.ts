import { PRIORITIES, type Priority, type ScheduleRow } from './contract.ts'
import { TimeHeap } from './time-heap.ts'

const LEVELS = PRIORITIES.length
const NONE = -1
const FIRST_CAPACITY = 1024
const NEVER = Number.POSITIVE_INFINITY
/** Parks that end at one time are ended in steps of so many, so that they hold nobody up. */
const PARKS_A_STEP = 2000
const CONCURRENCY = 'destination-concurrency'

/** One destination domain with what is due for it, a list a priority. */
class Destination {
  name: string
  readonly heads = [NONE, NONE, NONE, NONE]
  readonly tails = [NONE, NONE, NONE, NONE]
  count = 0
  /** All of its entries, those not due yet included. */
  entries = 0
  /** Waits for something of its own (a time, a connection): not offered meanwhile. */
  parkedUntilMs = 0
  parkReason = ''
  /** Of its place among the parked; 0: it has none. */
  parkEntryMs = 0
  blocked = false
  blockReason = ''
  blockUntilMs: number | null = null
  /** Nothing due for it expires before this. */
  soonestExpiryMs = NEVER
  /** Its place in the ring of each priority, so that it stands there once. */
  readonly inRing = [false, false, false, false]

  constructor(name: string) {
    this.name = name
  }

  get idle(): boolean {
    return this.blocked || this.parkedUntilMs > 0
  }
}

/**
 * What is due, and what will be, in memory: typed arrays, about 30 bytes a recipient. The store is the truth; an entry here
 * only says "try to lease this key", and the lease says whether that still holds, so nothing is ever searched or removed.
 *
 * Offers destinations by priority and in turn among equals; one that cannot be served now is parked or blocked and holds
 * back only its own mail.
 */
export class Schedule {
  #keys = new Float64Array(FIRST_CAPACITY)
  #dues = new Float64Array(FIRST_CAPACITY)
  #messages = new Float64Array(FIRST_CAPACITY)
  #expiries = new Float64Array(FIRST_CAPACITY)
  #domains = new Int32Array(FIRST_CAPACITY)
  #levels = new Uint8Array(FIRST_CAPACITY)
  #next = new Int32Array(FIRST_CAPACITY)
  #free = NONE
  #used = 0
  #size = 0
  /** Binary heap of slots by due time. */
  #heap = new Int32Array(FIRST_CAPACITY)
  #heapSize = 0
  readonly #destinations: Destination[] = []
  readonly #byName = new Map<string, number>()
  /** Places of destinations that nothing waits for any more, to be given to others: their names come from outside. */
  readonly #unused: number[] = []
  readonly #rings: number[][] = [[], [], [], []]
  readonly #ringStarts = [0, 0, 0, 0]
  readonly #parked = new TimeHeap()
  readonly #onStronger: (domain: string, priority: Priority) => void
  #offered = 0

  /** @param onStronger told when a blocked destination gets mail of a stronger priority than it had */
  constructor(onStronger: (domain: string, priority: Priority) => void = () => {}) {
    this.#onStronger = onStronger
  }

  /** Recipients that are due or will be. */
  get size(): number {
    return this.#size
  }

  /** Due recipients of destinations that are neither parked nor blocked: what only our own speed holds back. */
  get offered(): number {
    return this.#offered
  }

  add(row: ScheduleRow, nowMs: number): void {
    const slot = this.#slot()
    this.#keys[slot] = row.key
    this.#dues[slot] = row.dueMs
    this.#messages[slot] = row.messageKey
    this.#expiries[slot] = row.expiresMs ?? NEVER
    const index = this.#destination(row.domain)
    this.#destinations[index]!.entries += 1
    this.#domains[slot] = index
    this.#levels[slot] = PRIORITIES.indexOf(row.priority)
    this.#size += 1
    if (row.dueMs <= nowMs) this.#enqueue(slot)
    else this.#push(slot)
  }

  /** When something becomes due or a park may end; null when nothing waits for a time. */
  nextTimeMs(): number | null {
    const dueMs = this.#heapSize === 0 ? Number.POSITIVE_INFINITY : this.#dues[this.#heap[0]!]!
    const next = Math.min(dueMs, this.#parked.nextMs)
    return next === Number.POSITIVE_INFINITY ? null : next
  }

  /** The next destination to serve, strongest priority first, in turn among equals; null when none can be. */
  nextDestination(nowMs: number): { readonly domain: string; readonly priority: Priority } | null {
    this.mature(nowMs)
    for (let level = 0; level < LEVELS; level++) {
      const ring = this.#rings[level]!
      while (this.#ringStarts[level]! < ring.length) {
        const index = ring[this.#ringStarts[level]!]!
        this.#ringStarts[level]! += 1
        const destination = this.#destinations[index]!
        destination.inRing[level] = false
        if (destination.heads[level] === NONE || destination.idle) continue
        this.#enter(index, level)
        this.#compactRing(level)
        return { domain: destination.name, priority: PRIORITIES[level]! }
      }
      this.#compactRing(level)
    }
    return null
  }

  /** Takes due keys of this destination, strongest priority first: one, or up to `max` of the same message. */
  take(domain: string, max = 1): ScheduleRow[] {
    const index = this.#byName.get(domain)
    if (index === undefined) return []
    const destination = this.#destinations[index]!
    for (let level = 0; level < LEVELS; level++) {
      let slot = destination.heads[level]!
      if (slot === NONE) continue
      const message = this.#messages[slot]!
      const rows: ScheduleRow[] = []
      while (slot !== NONE && rows.length < max && this.#messages[slot] === message) {
        rows.push(this.#row(slot))
        const next = this.#next[slot]!
        this.#release(slot)
        slot = next
      }
      destination.heads[level] = slot
      if (slot === NONE) destination.tails[level] = NONE
      destination.count -= rows.length
      destination.entries -= rows.length
      if (!destination.idle) this.#offered -= rows.length
      this.#forget(index)
      return rows
    }
    return []
  }

  /** Due for this destination. */
  dueFor(domain: string): number {
    const index = this.#byName.get(domain)
    return index === undefined ? 0 : this.#destinations[index]!.count
  }

  /** Not offered before the time; the reason is what its mail waits for. */
  park(domain: string, untilMs: number, reason: string): void {
    const index = this.#destination(domain)
    const destination = this.#destinations[index]!
    if (!destination.idle) this.#offered -= destination.count
    destination.parkedUntilMs = untilMs
    destination.parkReason = reason
    if (destination.parkEntryMs === 0 || untilMs < destination.parkEntryMs) this.#parkEntry(index, untilMs)
  }

  /** Not offered until `unblock`: what it needs (a connection, a route) is not free; the reason is what its mail waits for. */
  block(domain: string, reason = CONCURRENCY, untilMs: number | null = null): void {
    const destination = this.#destinations[this.#destination(domain)]!
    destination.blockReason = reason
    destination.blockUntilMs = untilMs
    if (destination.blocked) return
    if (!destination.idle) this.#offered -= destination.count
    destination.blocked = true
  }

  unblock(domain: string): void {
    const index = this.#byName.get(domain)
    if (index === undefined || !this.#destinations[index]!.blocked) return
    this.#destinations[index]!.blocked = false
    this.#wake(index)
  }

  /** Why due mail of this destination is not offered, or null. */
  waitsFor(domain: string): { readonly reason: string; readonly untilMs: number | null } | null {
    const index = this.#byName.get(domain)
    if (index === undefined) return null
    const { parkedUntilMs, parkReason, blocked, blockReason, blockUntilMs } = this.#destinations[index]!
    if (parkedUntilMs > 0) return { reason: parkReason, untilMs: parkedUntilMs }
    return blocked ? { reason: blockReason, untilMs: blockUntilMs } : null
  }

  /**
   * Takes due keys whose message's lifetime is over and whose destination is parked or blocked, so that nobody would claim
   * them: waiting has an end too. Costs a look at each destination, and a walk over those that may have some.
   */
  takeExpired(nowMs: number, max: number): ScheduleRow[] {
    const rows: ScheduleRow[] = []
    for (const [index, destination] of this.#destinations.entries()) {
      if (!destination.idle || destination.soonestExpiryMs > nowMs) continue
      destination.soonestExpiryMs = NEVER
      for (let level = 0; level < LEVELS; level++) this.#takeExpiredOf(destination, level, nowMs, max, rows)
      this.#forget(index)
      if (rows.length >= max) break
    }
    return rows
  }

  /** Moves what has become due to where it is offered, and ends the parks that are over. */
  mature(nowMs: number): void {
    this.#endParks(nowMs)
    while (this.#heapSize > 0 && this.#dues[this.#heap[0]!]! <= nowMs) this.#enqueue(this.#pop())
  }

  #parkEntry(index: number, untilMs: number): void {
    this.#destinations[index]!.parkEntryMs = untilMs
    this.#parked.push(untilMs, index)
  }

  #row(slot: number): ScheduleRow {
    return {
      key: this.#keys[slot]!,
      messageKey: this.#messages[slot]!,
      domain: this.#destinations[this.#domains[slot]!]!.name,
      priority: PRIORITIES[this.#levels[slot]!]!,
      dueMs: this.#dues[slot]!,
      expiresMs: this.#expiries[slot]!,
    }
  }

  /** Links the others anew; those beyond `max` stay for the next look. */
  #takeExpiredOf(destination: Destination, level: number, nowMs: number, max: number, rows: ScheduleRow[]): void {
    let slot = destination.heads[level]!
    destination.heads[level] = NONE
    destination.tails[level] = NONE
    while (slot !== NONE) {
      const next = this.#next[slot]!
      if (this.#expiries[slot]! <= nowMs && rows.length < max) {
        rows.push(this.#row(slot))
        this.#release(slot)
        destination.count -= 1
        destination.entries -= 1
      } else {
        destination.soonestExpiryMs = Math.min(destination.soonestExpiryMs, this.#expiries[slot]!)
        const tail = destination.tails[level]!
        if (tail === NONE) destination.heads[level] = slot
        else this.#next[tail] = slot
        this.#next[slot] = NONE
        destination.tails[level] = slot
      }
      slot = next
    }
  }

  #endParks(nowMs: number): void {
    for (let step = 0; step < PARKS_A_STEP && this.#parked.nextMs <= nowMs; step++) {
      const { nextMs } = this.#parked
      const index = this.#parked.pop()
      const destination = this.#destinations[index]!
      // Parked anew for an earlier time since.
      if (destination.parkEntryMs !== nextMs) continue
      destination.parkEntryMs = 0
      if (destination.parkedUntilMs > nowMs) {
        this.#parkEntry(index, destination.parkedUntilMs)
        continue
      }
      destination.parkedUntilMs = 0
      destination.parkReason = ''
      this.#wake(index)
    }
  }

  #wake(index: number): void {
    const destination = this.#destinations[index]!
    if (destination.idle) return
    this.#offered += destination.count
    for (let level = 0; level < LEVELS; level++) if (destination.heads[level] !== NONE) this.#enter(index, level)
    this.#forget(index)
  }

  #enqueue(slot: number): void {
    const index = this.#domains[slot]!
    const level = this.#levels[slot]!
    const destination = this.#destinations[index]!
    this.#next[slot] = NONE
    const expiresMs = this.#expiries[slot]!
    if (expiresMs < destination.soonestExpiryMs) destination.soonestExpiryMs = expiresMs
    if (destination.blocked && !destination.heads.some((head, i) => i <= level && head !== NONE))
      this.#onStronger(destination.name, PRIORITIES[level]!)
    const tail = destination.tails[level]!
    if (tail === NONE) destination.heads[level] = slot
    else this.#next[tail] = slot
    destination.tails[level] = slot
    destination.count += 1
    if (destination.idle) return
    this.#offered += 1
    this.#enter(index, level)
  }

  #enter(index: number, level: number): void {
    const destination = this.#destinations[index]!
    if (destination.inRing[level]) return
    destination.inRing[level] = true
    this.#rings[level]!.push(index)
  }

  /** Rings are arrays with a moving start; what was passed goes when it is more than half. */
  #compactRing(level: number): void {
    const start = this.#ringStarts[level]!
    if (start < 64 || start * 2 < this.#rings[level]!.length) return
    this.#rings[level]!.splice(0, start)
    this.#ringStarts[level] = 0
  }

  #destination(name: string): number {
    let index = this.#byName.get(name)
    if (index !== undefined) return index
    index = this.#unused.pop()
    if (index === undefined) index = this.#destinations.push(new Destination(name)) - 1
    else this.#destinations[index]!.name = name
    this.#byName.set(name, index)
    return index
  }

  /** A place that still stands in a ring keeps it: who gets the place is offered there, or passed over. */
  #forget(index: number): void {
    const destination = this.#destinations[index]!
    if (destination.entries > 0 || destination.idle) return
    this.#byName.delete(destination.name)
    destination.name = ''
    destination.soonestExpiryMs = NEVER
    this.#unused.push(index)
  }

  #slot(): number {
    if (this.#free !== NONE) {
      const slot = this.#free
      this.#free = this.#next[slot]!
      return slot
    }
    if (this.#used === this.#keys.length) this.#grow()
    return this.#used++
  }

  #release(slot: number): void {
    this.#next[slot] = this.#free
    this.#free = slot
    this.#size -= 1
  }

  #grow(): void {
    const capacity = this.#keys.length * 2
    const wider = <T extends Float64Array | Int32Array | Uint8Array>(old: T, made: T): T => {
      made.set(old)
      return made
    }
    this.#keys = wider(this.#keys, new Float64Array(capacity))
    this.#dues = wider(this.#dues, new Float64Array(capacity))
    this.#messages = wider(this.#messages, new Float64Array(capacity))
    this.#expiries = wider(this.#expiries, new Float64Array(capacity))
    this.#domains = wider(this.#domains, new Int32Array(capacity))
    this.#levels = wider(this.#levels, new Uint8Array(capacity))
    this.#next = wider(this.#next, new Int32Array(capacity))
    this.#heap = wider(this.#heap, new Int32Array(capacity))
  }

  #push(slot: number): void {
    let at = this.#heapSize++
    const due = this.#dues[slot]!
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#dues[this.#heap[parent]!]! <= due) break
      this.#heap[at] = this.#heap[parent]!
      at = parent
    }
    this.#heap[at] = slot
  }

  #pop(): number {
    const top = this.#heap[0]!
    const last = this.#heap[--this.#heapSize]!
    const due = this.#dues[last]!
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.#heapSize) break
      if (child + 1 < this.#heapSize && this.#dues[this.#heap[child + 1]!]! < this.#dues[this.#heap[child]!]!)
        child += 1
      if (this.#dues[this.#heap[child]!]! >= due) break
      this.#heap[at] = this.#heap[child]!
      at = child
    }
    this.#heap[at] = last
    return top
  }
}
