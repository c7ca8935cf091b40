/** `quick`: the last that is known is an answer. `slow`: it last kept a lane waiting. `new`: nothing is known. */
export type SiteStanding = 'quick' | 'slow' | 'new'

type Site = { failures: number; standing: SiteStanding }

const MAX_REMEMBERED = 10_000

/** What is known of a site beyond its lanes of now: whether it answers, and how often in a row it could not be reached. */
export class SiteMemory {
  readonly #sites = new Map<string, Site>()

  standing(name: string): SiteStanding {
    return this.#sites.get(name)?.standing ?? 'new'
  }

  answered(name: string): void {
    const site = this.#site(name)
    site.failures = 0
    site.standing = 'quick'
  }

  slow(name: string): void {
    this.#site(name).standing = 'slow'
  }

  /** @returns failures in a row, this one included */
  failed(name: string): number {
    const site = this.#site(name)
    site.failures += 1
    return site.failures
  }

  forget(name: string): void {
    this.#sites.delete(name)
  }

  /** Forgets the one that was longest not heard of when there are too many. */
  #site(name: string): Site {
    const site = this.#sites.get(name) ?? { failures: 0, standing: 'new' }
    this.#sites.delete(name)
    if (this.#sites.size >= MAX_REMEMBERED) this.#sites.delete(this.#sites.keys().next().value!)
    this.#sites.set(name, site)
    return site
  }
}
