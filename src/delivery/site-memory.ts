/** `quick`: the last that is known is an answer. `slow`: it last kept a lane waiting. `new`: nothing is known. */
export type SiteStanding = 'quick' | 'slow' | 'new'

type Site = { failures: number; deferrals: number; standing: SiteStanding }

const MAX_REMEMBERED = 10_000

/** What is known of a site beyond its lanes of now: whether it answers, and how often in a row it could not be reached. */
export class SiteMemory {
  readonly #sites = new Map<string, Site>()

  standing(name: string): SiteStanding {
    return this.#sites.get(name)?.standing ?? 'new'
  }

  /** @param took it took a message, or refused one for good */
  answered(name: string, took: boolean): void {
    const site = this.#site(name)
    site.failures = 0
    site.standing = 'quick'
    if (took) site.deferrals = 0
  }

  /** Its host put off a message before it looked at the recipient. @returns how often in a row, this time included */
  deferred(name: string): number {
    const site = this.#site(name)
    site.deferrals += 1
    return site.deferrals
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
    const site = this.#sites.get(name) ?? { failures: 0, deferrals: 0, standing: 'new' }
    this.#sites.delete(name)
    if (this.#sites.size >= MAX_REMEMBERED) this.#sites.delete(this.#sites.keys().next().value!)
    this.#sites.set(name, site)
    return site
  }
}
