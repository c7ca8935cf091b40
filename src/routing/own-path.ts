import { isIP } from 'node:net'
import type { Clock } from '#base'
import type { Limiter } from '#limits'
import type { Reach, Shaping, Standings, WarmUp } from '#reputation'
import type { RouteRequest, SourceAddress } from './contract.ts'

type Wanted = Pick<RouteRequest, 'mailboxProvider' | 'families' | 'recipients'>

export type OwnGrant = {
  readonly source: SourceAddress
  readonly probe: boolean
  readonly recipients: number
  readonly counters: readonly { readonly name: string; readonly period: string }[]
}

export type OwnAnswer =
  | { readonly ok: true; readonly grant: OwnGrant }
  | {
      readonly ok: false
      readonly reason: 'own-paused' | 'warmup-cap' | 'mailbox-provider-rate' | 'port-25-unreachable' | typeof NO_SOURCE
      readonly untilMs: number
      readonly detail: string
    }

export type OwnPathParts = {
  readonly sources: readonly SourceAddress[]
  readonly standings: Standings
  readonly reach: Reach
  /** Null: warm-up is off. */
  readonly warmUp: WarmUp | null
  readonly shaping: Shaping
  readonly limiter: Limiter
  readonly clock: Clock
}

/** Hosts of one address family, and source addresses of the other alone. */
const NO_SOURCE = 'no-source-address'
const NO_SOURCE_MS = 600_000
/** While port 25 seems closed, one message in this time tries again. */
const REACH_PROBE_MS = 60_000

/** Direct delivery as a provider: picks the source address whose standing, warm-up and rate allow this message now. */
export class OwnPath {
  readonly #parts: OwnPathParts
  readonly #reachProbedMs = new Map<string, number>()
  #turn = 0

  constructor(parts: OwnPathParts) {
    this.#parts = parts
  }

  async ask(wanted: Wanted, alternatives: boolean): Promise<OwnAnswer> {
    const { clock } = this.#parts
    const sources = this.#parts.sources.filter(({ address }) => reaches(address, wanted.families))
    if (sources.length === 0)
      return {
        ok: false,
        reason: NO_SOURCE,
        untilMs: clock.now() + NO_SOURCE_MS,
        detail: `the hosts have only IPv${[...wanted.families!].join(' and IPv')} addresses, and no source address is of that kind`,
      }
    let best: Extract<OwnAnswer, { ok: false }> | null = null
    this.#turn = (this.#turn + 1) % sources.length
    for (let i = 0; i < sources.length; i++) {
      const answer = await this.#askSource(sources[(this.#turn + i) % sources.length]!, wanted, alternatives)
      if (answer.ok) return answer
      if (best === null || answer.untilMs < best.untilMs) best = answer
    }
    return best!
  }

  /** What was granted and not used, or ended without being sent. */
  giveBack(source: string, mailboxProvider: string, probe: boolean, recipients: number): void {
    for (let i = 0; i < recipients; i++) this.#parts.warmUp?.done(source, mailboxProvider, false)
    if (probe) this.#parts.standings.unused(source, mailboxProvider)
  }

  async #askSource(source: SourceAddress, wanted: Wanted, alternatives: boolean): Promise<OwnAnswer> {
    const { mailboxProvider } = wanted
    const { standings, reach, warmUp, shaping, limiter, clock } = this.#parts
    const nowMs = clock.now()
    const { address } = source
    if (reach.unreachable(address)) {
      const nextMs = (this.#reachProbedMs.get(address) ?? 0) + REACH_PROBE_MS
      if (nowMs < nextMs)
        return {
          ok: false,
          reason: 'port-25-unreachable',
          untilMs: nextMs,
          detail: 'no connection to any MX host came about lately',
        }
      this.#reachProbedMs.set(address, nowMs)
    }
    const admission = standings.admit(address, mailboxProvider, alternatives)
    if (admission.kind === 'away')
      return { ok: false, reason: 'own-paused', untilMs: admission.untilMs, detail: admission.reason }
    const probe = admission.kind === 'probe'
    const asked = probe ? 1 : (wanted.recipients ?? 1)
    const room = warmUp?.reserve(address, mailboxProvider, asked)
    if (room !== undefined && !room.granted) {
      if (probe) standings.unused(address, mailboxProvider)
      return { ok: false, reason: 'warmup-cap', untilMs: room.untilMs, detail: room.detail }
    }
    let recipients = room?.recipients ?? asked
    const rate = shaping.ruleOf(mailboxProvider)?.rate
    if (rate) {
      const key = `mailbox:${mailboxProvider}:${address}`
      let taken = await limiter.take(key, rate, recipients)
      if (!taken.granted && recipients > 1) {
        for (; recipients > 1; recipients--) warmUp?.done(address, mailboxProvider, false)
        taken = await limiter.take(key, rate)
      }
      if (!taken.granted) {
        this.giveBack(address, mailboxProvider, probe, recipients)
        return {
          ok: false,
          reason: 'mailbox-provider-rate',
          untilMs: nowMs + taken.retryAfterMs,
          detail: `${rate.limit} messages per ${rate.perMs} ms to ${mailboxProvider}`,
        }
      }
    }
    return { ok: true, grant: { source, probe, recipients, counters: room?.counters ?? [] } }
  }
}

/** Without an address of its own the system chooses one of the right kind. */
function reaches(source: string, families: ReadonlySet<4 | 6> | undefined): boolean {
  const family = isIP(source)
  return families === undefined || family === 0 || families.has(family as 4 | 6)
}
