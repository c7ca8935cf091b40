import type { Priority } from '#queue'

export type SourceAddress = { /** Empty: the system chooses. */ readonly address: string; readonly ehlo: string }

/** How a smarthost is reached. */
export type SmarthostSettings = {
  readonly host: string
  readonly port: number
  readonly tls: 'none' | 'starttls' | 'implicit'
  readonly username: string
  /** Opened from the vault, never logged. */
  readonly password: string
  /** A CA file to trust besides the system's; empty: none. */
  readonly caFile: string
}

export type RouteRequest = {
  readonly domain: string
  readonly mailboxProvider: string
  readonly priority: Priority
  /** Provider name the submitter asked for, or null. */
  readonly preferred: string | null
  /** Address families its MX hosts have; absent: not known, or no matter. */
  readonly families?: ReadonlySet<4 | 6>
  /** Recipients that could go in one transaction; absent: one. */
  readonly recipients?: number
}

/** Who carries this recipient now, or what it waits for. */
export type RouteDecision =
  | {
      readonly kind: 'carry'
      readonly provider: { readonly id: string; readonly name: string; readonly kind: 'own' | 'smarthost' }
      readonly source: SourceAddress | null
      readonly smarthost: SmarthostSettings | null
      /** As asked for; a decision given back must say where it was meant to go. */
      readonly mailboxProvider: string
      /** So many recipients may go by it, at most as many as were asked for; each is reported or released. */
      readonly recipients: number
      /** This one tests whether a paused own path works again. */
      readonly probe: boolean
      /** Why this one: `priority`, `preferred`, `own-paused`, `warmup-overflow`, `breaker-open`, `probe`, `fallback`. */
      readonly reason: string
      /** Counters to move in the settle transaction when it was sent (warm-up, quota). */
      readonly counters: readonly { readonly name: string; readonly period: string }[]
    }
  | { readonly kind: 'wait'; readonly reason: string; readonly untilMs: number; readonly detail: string }

/** What came of it, reported once per recipient and attempt. */
export type RouteReport = {
  readonly providerId: string
  readonly source: string
  readonly mailboxProvider: string
  /** Of the destination: tells one dead site from no way out at all. */
  readonly site: string
  readonly probe: boolean
  readonly result: 'delivered' | 'refused' | 'deferred' | 'infrastructure' | 'uncertain'
  /** Class of the reply (`ip-blocked`, `reputation`, `rate-limit`, `user-unknown` …), `''` when delivered. */
  readonly class: string
  /** The failing stage; `connect` on port 25 to everyone says more about us than about them. */
  readonly stage: string
  readonly durationMs: number
}

export interface Router {
  /** Whether direct delivery would be asked first, which needs the MX hosts of the domain; a relay looks them up itself. */
  wantsMx(request: Pick<RouteRequest, 'priority' | 'preferred'>): boolean
  choose(request: RouteRequest): Promise<RouteDecision>
  report(report: RouteReport): void
  /**
   * A carry decision that was not used (no connection slot, claim gone): gives its reservation back.
   * @param recipients how many were not used; absent: all
   */
  release(decision: RouteDecision, recipients?: number): void
}
