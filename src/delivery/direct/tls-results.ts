import type { Compilable } from 'kysely'
import { type Clock, type Log, messageOf } from '#base'
import type { Records } from '#store'

/** One session with an MX host, or one policy that could not be had, as RFC 8460 §4.2 and §4.3 count them. */
export type TlsResult = {
  /** The recipient domain. */
  readonly domain: string
  readonly policyType: 'tlsa' | 'sts' | 'no-policy-found'
  /** RFC 8460 §4.4 `policy-string` and, of MTA-STS, `mx-host`. */
  readonly policy: { readonly strings: readonly string[]; readonly mx: readonly string[] }
  /** `success`, or a result type of RFC 8460 §4.3. */
  readonly result: string
  readonly sendingIp: string
  readonly mxHost: string
  readonly mxAddress: string
  /** `failure-reason-code`: ours, for people. */
  readonly reason: string
}

export type TlsResultRow = TlsResult & { readonly day: string; readonly count: number }

/** Written this often, so that a crash costs at most so much of a statistic. */
const WRITE_MS = 5000
/** Different rows that wait for it. */
const MAX_WAITING = 5000
/** Different failures of a domain and day that are told apart; what comes after is counted without its particulars. */
const MAX_OF_A_DOMAIN = 200
const MAX_DOMAINS = 50_000
/** Reports speak of the day before (RFC 8460 §4.1); people look back further. */
const KEPT_DAYS = 35
const DAY_MS = 86_400_000
const MAX_REASON = 120

/** Counts what became of TLS with each recipient domain, by day (UTC), for people and for the reports that domains ask for. */
export class TlsResults implements AsyncDisposable {
  readonly #records: Records
  readonly #clock: Clock
  readonly #log: Log
  #waiting = new Map<string, TlsResult & { readonly day: string; count: number }>()
  /** Of the day that is counted: how many different rows each domain has. */
  #rows = new Map<string, Set<string>>()
  #day = ''
  #cancel: (() => void) | null = null
  #writing: Promise<void> = Promise.resolve()
  readonly #totals = new Map<string, number>()

  constructor(records: Records, clock: Clock, log: Log) {
    this.#records = records
    this.#clock = clock
    this.#log = log
  }

  /** Sessions since start by policy type and result, for metrics. */
  get totals(): ReadonlyMap<string, number> {
    return this.#totals
  }

  count(given: TlsResult): void {
    const day = new Date(this.#clock.now()).toISOString().slice(0, 10)
    if (day !== this.#day) this.#begin(day)
    const total = `${given.policyType} ${given.result}`
    this.#totals.set(total, (this.#totals.get(total) ?? 0) + 1)
    const result = this.#told(given)
    const key = keyOf(result)
    const waiting = this.#waiting.get(key)
    if (waiting !== undefined) waiting.count += 1
    else this.#waiting.set(key, { ...result, day, count: 1 })
    if (this.#waiting.size >= MAX_WAITING) this.#write()
    else this.#cancel ??= this.#clock.after(WRITE_MS, () => this.#write())
  }

  /** Rows of a day, or of a domain, the newest day first. */
  async list(
    filter: { readonly day?: string; readonly domain?: string },
    limit: number,
  ): Promise<readonly TlsResultRow[]> {
    this.#write()
    await this.#writing
    let query = this.#records.query
      .selectFrom('tls_results')
      .selectAll()
      .orderBy('day', 'desc')
      .orderBy('domain')
      .orderBy('count', 'desc')
      .limit(limit)
    if (filter.day !== undefined) query = query.where('day', '=', filter.day)
    if (filter.domain !== undefined) query = query.where('domain', '=', filter.domain)
    const rows = await this.#records.read(query)
    return rows.map((row) => ({
      day: row.day,
      domain: row.domain,
      policyType: row.policy_type,
      policy: JSON.parse(row.policy) as TlsResult['policy'],
      result: row.result,
      sendingIp: row.sending_ip,
      mxHost: row.mx_host,
      mxAddress: row.mx_address,
      reason: row.reason,
      count: row.count,
    }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#write()
    await this.#writing
  }

  #begin(day: string): void {
    this.#day = day
    this.#rows = new Map()
    const before = new Date(this.#clock.now() - KEPT_DAYS * DAY_MS).toISOString().slice(0, 10)
    this.#then(this.#records.query.deleteFrom('tls_results').where('day', '<', before))
  }

  /** Without its particulars, when there are too many different ones already. */
  #told(given: TlsResult): TlsResult {
    const result = { ...given, reason: given.reason.slice(0, MAX_REASON) }
    const general = { ...result, sendingIp: '', mxHost: '', mxAddress: '', reason: '' }
    let rows = this.#rows.get(given.domain)
    if (rows === undefined) {
      if (this.#rows.size >= MAX_DOMAINS) return { ...general, domain: 'other', policy: { strings: [], mx: [] } }
      rows = new Set()
      this.#rows.set(given.domain, rows)
    }
    const key = keyOf(result)
    if (rows.has(key)) return result
    if (rows.size >= MAX_OF_A_DOMAIN) return general
    rows.add(key)
    return result
  }

  #write(): void {
    this.#cancel?.()
    this.#cancel = null
    const rows = [...this.#waiting.values()]
    this.#waiting = new Map()
    for (let from = 0; from < rows.length; from += 500)
      this.#then(
        ...rows.slice(from, from + 500).map(({ day, domain, policyType, policy, count, ...row }) =>
          this.#records.query
            .insertInto('tls_results')
            .values({
              ...{ day, domain, count, policy: JSON.stringify(policy), policy_type: policyType, result: row.result },
              ...{ sending_ip: row.sendingIp, mx_host: row.mxHost, mx_address: row.mxAddress, reason: row.reason },
            })
            .onConflict((conflict) =>
              conflict
                .columns(['day', 'domain', 'policy_type', 'result', 'sending_ip', 'mx_host', 'mx_address', 'reason'])
                .doUpdateSet((current) => ({
                  count: current('tls_results.count', '+', count),
                  policy: JSON.stringify(policy),
                })),
            ),
        ),
      )
  }

  /** In order, and without anybody waiting for it: a statistic never holds up mail. */
  #then(...queries: readonly Compilable[]): void {
    this.#writing = this.#writing
      .then(() => this.#records.write(...queries))
      .then(
        () => undefined,
        (error: unknown) => this.#log.error({ error: messageOf(error) }, 'TLS results could not be kept'),
      )
  }
}

function keyOf(result: TlsResult): string {
  const { domain, policyType, result: what, sendingIp, mxHost, mxAddress, reason } = result
  return [domain, policyType, what, sendingIp, mxHost, mxAddress, reason].join('\n')
}
