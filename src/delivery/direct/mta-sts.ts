import { type Clock, type Log, messageOf } from '#base'
import type { Records } from '#store'
import type { Fetched, FetchFault } from './fetch-policy.ts'
import type { Resolver } from './resolver.ts'
import { readStsPolicy, type StsPolicy, stsId } from './sts-policy.ts'

export type StsFault = FetchFault | 'sts-policy-invalid'

/** The policy in force for a domain; null: none, or one that asks for nothing. */
export type StsInForce = { readonly id: string; readonly policy: StsPolicy }

export type MtaStsParts = {
  readonly records: Records
  readonly resolver: Resolver
  readonly clock: Clock
  readonly log: Log
  fetch(domain: string): Promise<Fetched>
  /** A policy was announced and could not be had, or not be read. */
  onFault(domain: string, fault: StsFault, detail: string): void
}

type Kept = StsInForce & {
  readonly fetchedMs: number
  /** It was asked for since it was fetched: worth fetching anew before it is over. */
  used: boolean
}

const MAX_KEPT = 20_000
/** RFC 8461 §3.3: after a fetch that failed no other within five minutes. */
const FAILED_MS = 300_000
const MAX_FAILED = 10_000
/** RFC 8461 §10.2: a policy is fetched anew well before it is over, so that whoever blocks the fetch must do so for long. */
const REFRESH_MS = 86_400_000
const SWEEP_MS = 3_600_000
const SWEEP_FETCHES = 200

/**
 * MTA-STS policies of recipient domains (RFC 8461), kept over restarts until their max_age is over. What is kept applies when the
 * DNS or the policy host say nothing; a new id in the DNS is fetched before the next delivery, the rest in the background.
 */
export class MtaSts implements Disposable {
  readonly #parts: MtaStsParts
  readonly #kept: Map<string, Kept>
  readonly #failed = new Map<string, { readonly id: string; readonly untilMs: number }>()
  readonly #fetching = new Map<string, Promise<StsInForce | null>>()
  #cancelSweep: () => void
  #stopped = false

  private constructor(parts: MtaStsParts, kept: Map<string, Kept>) {
    this.#parts = parts
    this.#kept = kept
    this.#cancelSweep = parts.clock.after(SWEEP_MS, () => this.#sweep())
  }

  static async open(parts: MtaStsParts): Promise<MtaSts> {
    const { records } = parts
    const rows = await records.read(
      records.query.selectFrom('mta_sts').selectAll().orderBy('fetched_ms', 'desc').limit(MAX_KEPT),
    )
    const kept = new Map<string, Kept>()
    for (const row of rows.reverse())
      kept.set(row.domain, {
        id: row.id,
        policy: JSON.parse(row.policy) as StsPolicy,
        fetchedMs: row.fetched_ms,
        used: false,
      })
    return new MtaSts(parts, kept)
  }

  /** Waits for the DNS, and for the policy host when the id is new. Never rejects: what cannot be had leaves what was known. */
  async inForce(domain: string): Promise<StsInForce | null> {
    const answer = await this.#parts.resolver.txt(`_mta-sts.${domain}`)
    const id = answer.kind === 'records' ? stsId(answer.records) : null
    const kept = this.#valid(domain)
    if (kept !== null) kept.used = true
    if (id === null) return active(kept)
    if (kept?.id === id) {
      if (this.#age(kept) >= refreshAfterMs(kept)) void this.#fetch(domain, id)
      return active(kept)
    }
    return active((await this.#fetch(domain, id)) ?? this.#valid(domain))
  }

  [Symbol.dispose](): void {
    this.#stopped = true
    this.#cancelSweep()
  }

  #valid(domain: string): Kept | null {
    const kept = this.#kept.get(domain)
    return kept !== undefined && this.#age(kept) < kept.policy.maxAgeMs ? kept : null
  }

  #age({ fetchedMs }: Kept): number {
    return Math.max(0, this.#parts.clock.now() - fetchedMs)
  }

  #fetch(domain: string, id: string): Promise<StsInForce | null> {
    const failed = this.#failed.get(domain)
    if (failed?.id === id && this.#parts.clock.monotonicMs() < failed.untilMs) return Promise.resolve(null)
    let fetching = this.#fetching.get(domain)
    if (fetching === undefined) {
      fetching = this.#fetchNow(domain, id).finally(() => this.#fetching.delete(domain))
      this.#fetching.set(domain, fetching)
    }
    return fetching
  }

  async #fetchNow(domain: string, id: string): Promise<StsInForce | null> {
    const fetched = await this.#parts.fetch(domain)
    const policy = fetched.ok ? readStsPolicy(fetched.text) : null
    if (policy !== null && typeof policy !== 'string') return this.#keep(domain, { id, policy })
    if (this.#stopped) return null
    const { clock, log, onFault } = this.#parts
    if (this.#failed.size >= MAX_FAILED) this.#failed.delete(this.#failed.keys().next().value!)
    this.#failed.set(domain, { id, untilMs: clock.monotonicMs() + FAILED_MS })
    const [fault, detail] = fetched.ok
      ? (['sts-policy-invalid', String(policy)] as const)
      : ([fetched.fault, fetched.detail] as const)
    log.warn({ domain, fault, detail }, 'an MTA-STS policy could not be had')
    onFault(domain, fault, detail)
    return null
  }

  /** In force at once; durable a moment later. */
  #keep(domain: string, { id, policy }: StsInForce): StsInForce {
    const { records, clock, log } = this.#parts
    const fetchedMs = clock.now()
    this.#failed.delete(domain)
    this.#kept.delete(domain)
    const oldest = this.#kept.size >= MAX_KEPT ? this.#kept.keys().next().value! : null
    if (oldest !== null) this.#kept.delete(oldest)
    this.#kept.set(domain, { id, policy, fetchedMs, used: false })
    const row = { id, policy: JSON.stringify(policy), fetched_ms: fetchedMs }
    const write = records.query
      .insertInto('mta_sts')
      .values({ domain, ...row })
      .onConflict((conflict) => conflict.column('domain').doUpdateSet(row))
    const forget = records.query.deleteFrom('mta_sts').where('domain', '=', oldest ?? '')
    records
      .write(write, ...(oldest === null ? [] : [forget]))
      .catch((error: unknown) => log.error({ domain, error: messageOf(error) }, 'an MTA-STS policy could not be kept'))
    return { id, policy }
  }

  /** Policies in use are fetched anew before they are over; those that nobody asks for are left to end. */
  #sweep(): void {
    this.#cancelSweep = this.#parts.clock.after(SWEEP_MS, () => this.#sweep())
    const due = [...this.#kept].filter(([, kept]) => kept.used && this.#age(kept) >= refreshAfterMs(kept))
    void this.#refresh(due.slice(0, SWEEP_FETCHES).map(([domain, { id }]) => ({ domain, id })))
  }

  async #refresh(due: readonly { readonly domain: string; readonly id: string }[]): Promise<void> {
    for (const { domain, id } of due) {
      if (this.#stopped) return
      const answer = await this.#parts.resolver.txt(`_mta-sts.${domain}`)
      await this.#fetch(domain, (answer.kind === 'records' ? stsId(answer.records) : null) ?? id)
    }
  }
}

function active(found: StsInForce | null): StsInForce | null {
  return found === null || found.policy.mode === 'none' ? null : { id: found.id, policy: found.policy }
}

function refreshAfterMs({ policy }: Kept): number {
  return Math.min(REFRESH_MS, policy.maxAgeMs / 2)
}
