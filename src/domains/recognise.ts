import type { ReturnPaths } from './return-paths.ts'
import type { SendingDomains } from './sending-domains.ts'

export type OurAddress = 'bounce' | 'complaint' | 'report' | 'postmaster' | 'abuse'

/** Where feedback loops of mailbox providers are asked to send complaints: `fbl@<bounce host>`. */
const FEEDBACK_LOOP = 'fbl'
/** Where DMARC and TLS reports are asked for: `reports@<bounce host>`. */
const REPORTS = 'reports'

/** Knows which addresses are ours to take mail for: return paths that hold, the feedback loop, reports, postmaster and abuse. */
export class Recogniser {
  readonly #domains: SendingDomains
  readonly #returnPaths: ReturnPaths
  readonly #own: ReadonlySet<string>

  constructor(domains: SendingDomains, returnPaths: ReturnPaths, hostname: string, localDomains: readonly string[]) {
    this.#domains = domains
    this.#returnPaths = returnPaths
    this.#own = new Set([hostname, ...localDomains].map((name) => name.toLowerCase()))
  }

  recognise(address: string): { readonly kind: OurAddress } | null {
    const at = address.lastIndexOf('@')
    const local = address.slice(0, at).toLowerCase()
    const domain = address.slice(at + 1).toLowerCase()
    if (!this.isOurDomain(domain)) return null
    // RFC 2142: these two exist wherever mail is taken.
    if (local === 'postmaster' || local === 'abuse') return { kind: local }
    if (this.#domains.byBounceHost(domain) === undefined) return null
    if (local === FEEDBACK_LOOP) return { kind: 'complaint' }
    if (local === REPORTS) return { kind: 'report' }
    return this.#returnPaths.read(address).ok ? { kind: 'bounce' } : null
  }

  isOurDomain(domain: string): boolean {
    return (
      this.#own.has(domain) ||
      this.#domains.byBounceHost(domain) !== undefined ||
      this.#domains.get(domain) !== undefined
    )
  }
}
