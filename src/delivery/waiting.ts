import { PRIORITIES, type Priority } from '#queue'

/** Domains that wait for the same thing: those with the strongest mail first, in turn among equals. */
export class Waiting {
  readonly #levels = PRIORITIES.map(() => new Set<string>())
  readonly #levelOf = new Map<string, number>()

  get size(): number {
    return this.#levelOf.size
  }

  has(domain: string): boolean {
    return this.#levelOf.has(domain)
  }

  /** It waits with mail of this priority or a stronger one. */
  holds(domain: string, priority: Priority): boolean {
    const level = this.#levelOf.get(domain)
    return level !== undefined && level <= PRIORITIES.indexOf(priority)
  }

  /** One that waits already keeps its place unless this priority is stronger. */
  add(domain: string, priority: Priority): void {
    const level = PRIORITIES.indexOf(priority)
    const before = this.#levelOf.get(domain)
    if (before !== undefined) {
      if (before <= level) return
      this.#levels[before]!.delete(domain)
    }
    this.#levels[level]!.add(domain)
    this.#levelOf.set(domain, level)
  }

  delete(domain: string): void {
    const level = this.#levelOf.get(domain)
    if (level === undefined) return
    this.#levels[level]!.delete(domain)
    this.#levelOf.delete(domain)
  }

  /** Whose turn it is; null when nobody waits. */
  take(): string | null {
    for (const level of this.#levels)
      for (const domain of level) {
        level.delete(domain)
        this.#levelOf.delete(domain)
        return domain
      }
    return null
  }
}
