import { PRIORITIES, type Priority, type ScheduleRow } from '#queue'

type Entry = ScheduleRow & { readonly level: number; ready: boolean; order: number }
type Place = { parkedUntilMs: number | null; blocked: boolean }

/** What the schedule should be, in the plainest way: lists that are searched from end to end. */
export class ScheduleModel {
  readonly #entries = new Set<Entry>()
  readonly #places = new Map<string, Place>()
  /** For each priority and destination: offers of others since it could be offered itself. */
  readonly #passed = new Map<string, Map<string, number>>()
  #order = 0

  add(row: ScheduleRow, nowMs: number): void {
    const ready = row.dueMs <= nowMs
    this.#entries.add({ ...row, level: PRIORITIES.indexOf(row.priority), ready, order: ready ? this.#order++ : 0 })
  }

  mature(nowMs: number): void {
    for (const place of this.#places.values())
      if (place.parkedUntilMs !== null && place.parkedUntilMs <= nowMs) place.parkedUntilMs = null
    const due = [...this.#entries].filter(({ ready, dueMs }) => !ready && dueMs <= nowMs)
    for (const entry of due.sort((a, b) => a.dueMs - b.dueMs)) {
      entry.ready = true
      entry.order = this.#order++
    }
  }

  /** What is wrong with this answer, or null. */
  offered(answer: { readonly domain: string; readonly priority: Priority } | null): string | null {
    const open = this.#open()
    if (open.length === 0) return answer === null ? null : `${answer.domain} has nothing to offer`
    if (answer === null) return `${open[0]!.domain} was not offered`
    const level = Math.min(...open.map((entry) => entry.level))
    if (PRIORITIES.indexOf(answer.priority) !== level) return `${answer.priority} before ${PRIORITIES[level]}`
    const equals = new Set(open.filter((entry) => entry.level === level).map(({ domain }) => domain))
    if (!equals.has(answer.domain)) return `${answer.domain} has nothing of this priority`
    // Whoever can be offered is passed by each other at most once before its turn.
    for (const domain of equals) {
      const passed = this.#passedBy(level, domain)
      if (domain === answer.domain) {
        passed.clear()
        continue
      }
      const times = (passed.get(answer.domain) ?? 0) + 1
      if (times > 1) return `${answer.domain} twice before ${domain}`
      passed.set(answer.domain, times)
    }
    return null
  }

  take(domain: string, max: number): number[] {
    const due = [...this.#entries].filter((entry) => entry.ready && entry.domain === domain)
    if (due.length === 0) return []
    const level = Math.min(...due.map((entry) => entry.level))
    const line = due.filter((entry) => entry.level === level).sort((a, b) => a.order - b.order)
    const taken: number[] = []
    for (const entry of line) {
      if (taken.length === max || entry.messageKey !== line[0]!.messageKey) break
      this.#entries.delete(entry)
      taken.push(entry.key)
    }
    this.#forgetClosed()
    return taken
  }

  park(domain: string, untilMs: number): void {
    this.#place(domain).parkedUntilMs = untilMs
    this.#forgetClosed()
  }

  block(domain: string, blocked: boolean): void {
    this.#place(domain).blocked = blocked
    this.#forgetClosed()
  }

  get size(): number {
    return this.#entries.size
  }

  get offeredCount(): number {
    return this.#open().length
  }

  dueFor(domain: string): number {
    return [...this.#entries].filter((entry) => entry.ready && entry.domain === domain).length
  }

  nextTimeMs(): number | null {
    const times = [...this.#entries].filter(({ ready }) => !ready).map(({ dueMs }) => dueMs)
    for (const { parkedUntilMs } of this.#places.values()) if (parkedUntilMs !== null) times.push(parkedUntilMs)
    return times.length === 0 ? null : Math.min(...times)
  }

  waits(domain: string): boolean {
    const place = this.#places.get(domain)
    return place !== undefined && (place.blocked || place.parkedUntilMs !== null)
  }

  #open(): Entry[] {
    return [...this.#entries].filter(({ ready, domain }) => ready && !this.waits(domain))
  }

  /** Who has nothing to offer (any more) begins anew. */
  #forgetClosed(): void {
    const open = new Set(this.#open().map(({ level, domain }) => `${level} ${domain}`))
    for (const key of this.#passed.keys()) if (!open.has(key)) this.#passed.delete(key)
  }

  #passedBy(level: number, domain: string): Map<string, number> {
    const key = `${level} ${domain}`
    let passed = this.#passed.get(key)
    if (passed === undefined) {
      passed = new Map()
      this.#passed.set(key, passed)
    }
    return passed
  }

  #place(domain: string): Place {
    let place = this.#places.get(domain)
    if (place === undefined) {
      place = { parkedUntilMs: null, blocked: false }
      this.#places.set(domain, place)
    }
    return place
  }
}
