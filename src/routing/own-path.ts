import type { Clock } from '#base'
import type { Limiter } from '#limits'
import type { Reach, Shaping, Standings, WarmUp } from '#reputation'
import type { SourceAddress } from './contract.ts'

export type OwnGrant = {
  readonly source: SourceAddress
  readonly probe: boolean
  readonly counters: readonly { readonly name: string; readonly period: string }[]
}

export type OwnAnswer =
  | { readonly ok: true; readonly grant: OwnGrant }
  | {
      readonly ok: false
      readonly reason: 'own-paused' | 'warmup-cap' | 'mailbox-provider-rate' | 'port-25-unreachable'
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

  async ask(mailboxProvider: string, alternatives: boolean): Promise<OwnAnswer> {
    const { sources } = this.#parts
    let best: Extract<OwnAnswer, { ok: false }> | null = null
    this.#turn = (this.#turn + 1) % sources.length
    for (let i = 0; i < sources.length; i++) {
      const answer = await this.#askSource(sources[(this.#turn + i) % sources.length]!, mailboxProvider, alternatives)
      if (answer.ok) return answer
      if (best === null || answer.untilMs < best.untilMs) best = answer
    }
    return best!
  }

  /** What was granted and not used, or ended without being sent. */
  giveBack(source: string, mailboxProvider: string, probe: boolean): void {
    this.#parts.warmUp?.done(source, mailboxProvider, false)
    if (probe) this.#parts.standings.unused(source, mailboxProvider)
  }

  async #askSource(source: SourceAddress, mailboxProvider: string, alternatives: boolean): Promise<OwnAnswer> {
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
    const room = warmUp?.reserve(address, mailboxProvider)
    if (room !== undefined && !room.granted) {
      if (probe) standings.unused(address, mailboxProvider)
      return { ok: false, reason: 'warmup-cap', untilMs: room.untilMs, detail: room.detail }
    }
    const rate = shaping.ruleOf(mailboxProvider)?.rate
    if (rate) {
      const taken = await limiter.take(`mailbox:${mailboxProvider}:${address}`, rate)
      if (!taken.granted) {
        this.giveBack(address, mailboxProvider, probe)
        return {
          ok: false,
          reason: 'mailbox-provider-rate',
          untilMs: nowMs + taken.retryAfterMs,
          detail: `${rate.limit} messages per ${rate.perMs} ms to ${mailboxProvider}`,
        }
      }
    }
    return { ok: true, grant: { source, probe, counters: room?.counters ?? [] } }
  }
}
