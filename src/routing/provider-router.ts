import type { Clock } from '#base'
import type { Config } from '#config'
import { outcomeKind, type Reach, type Standings, type WarmUp } from '#reputation'
import type { Breakers } from './breaker.ts'
import type { RouteDecision, RouteReport, RouteRequest, Router } from './contract.ts'
import type { OwnPath } from './own-path.ts'
import type { Provider, Providers } from './providers.ts'

export type RouterParts = {
  readonly providers: Providers
  readonly own: OwnPath
  readonly breakers: Breakers
  readonly standings: Standings
  readonly reach: Reach
  readonly warmUp: WarmUp | null
  readonly overflow: Config['warmup']['overflow']
  readonly clock: Clock
}

type Obstacle = {
  readonly provider: Provider
  readonly reason: string
  readonly untilMs: number
  readonly detail: string
}

/** With nobody active at all, look again after this. */
const NOBODY_MS = 60_000

/**
 * Chooses who carries a recipient: the provider the message asks for, else the strongest by priority (by weight among
 * equals); when that one cannot now, its fallback chain, then the others by priority. With none, the mail waits for the
 * first that can, under the reason of the one that should have carried it.
 */
export class ProviderRouter implements Router {
  readonly #parts: RouterParts

  constructor(parts: RouterParts) {
    this.#parts = parts
  }

  wantsMx(request: Pick<RouteRequest, 'priority' | 'preferred'>): boolean {
    const first = this.#order(request).find(
      ({ kind, id }) => kind === 'own' || this.#parts.breakers.state(id) !== 'open',
    )
    return first?.kind === 'own'
  }

  async choose(request: RouteRequest): Promise<RouteDecision> {
    const { clock } = this.#parts
    const order = this.#order(request)
    let first: Obstacle | null = null
    let untilMs = Number.POSITIVE_INFINITY
    for (const provider of order) {
      const alternatives = order.some(
        (other) => other.id !== provider.id && this.#parts.breakers.state(other.id) !== 'open',
      )
      const answer: RouteDecision | Obstacle =
        provider.kind === 'own'
          ? await this.#askOwn(provider, request, alternatives, first)
          : await this.#askRelay(provider, request, first)
      if ('kind' in answer) return answer
      first ??= answer
      untilMs = Math.min(untilMs, answer.untilMs)
      if (answer.reason === 'warmup-cap' && this.#parts.overflow === 'wait') break
    }
    if (first === null)
      return { kind: 'wait', reason: 'no-provider', untilMs: clock.now() + NOBODY_MS, detail: 'no provider is active' }
    return { kind: 'wait', reason: first.reason, untilMs, detail: `${first.provider.name}: ${first.detail}` }
  }

  report(report: RouteReport): void {
    const provider = this.#parts.providers.byName(report.providerId)
    if (provider === undefined) return
    if (provider.kind === 'own') {
      this.#reportOwn(report)
      return
    }
    if (report.result === 'infrastructure') this.#parts.breakers.failed(provider.id, `${report.stage}: ${report.class}`)
    else this.#parts.breakers.succeeded(provider.id)
  }

  release(decision: RouteDecision, recipients?: number): void {
    if (decision.kind !== 'carry') return
    const unused = recipients ?? decision.recipients
    const probe = decision.probe && unused === decision.recipients
    if (decision.provider.kind === 'own')
      this.#parts.own.giveBack(decision.source?.address ?? '', decision.mailboxProvider, probe, unused)
    else if (unused === decision.recipients) this.#parts.breakers.unused(decision.provider.id)
  }

  #reportOwn(report: RouteReport): void {
    const { standings, reach, warmUp } = this.#parts
    const { source, mailboxProvider } = report
    warmUp?.done(source, mailboxProvider, report.result === 'delivered')
    if (report.result !== 'infrastructure') reach.connected(source)
    else if (report.stage === 'connect') reach.failed(source, report.site)
    standings.report(source, mailboxProvider, outcomeKind(report.result, report.class), report.class, report.probe)
  }

  #order(request: Pick<RouteRequest, 'priority' | 'preferred'>): readonly Provider[] {
    const active = this.#parts.providers.list().filter((provider) => provider.active)
    const shuffled = active
      .map((provider) => ({ provider, draw: Math.random() ** (1 / Math.max(1, provider.weight)) }))
      .sort((a, b) => a.provider.priority - b.provider.priority || b.draw - a.draw)
      .map((one) => one.provider)
    const wanted = request.preferred === null ? undefined : shuffled.find((one) => one.name === request.preferred)
    const start = wanted ?? shuffled[0]
    if (start === undefined || shuffled.length === 1) return shuffled
    const chain: Provider[] = []
    for (let next: Provider | undefined = start; next !== undefined && !chain.includes(next); ) {
      chain.push(next)
      const fallback: string | null = next.fallback
      next = fallback === null ? undefined : active.find((one) => one.id === fallback)
    }
    return [...chain, ...shuffled.filter((one) => !chain.includes(one))]
  }

  async #askOwn(
    provider: Provider,
    request: RouteRequest,
    alternatives: boolean,
    before: Obstacle | null,
  ): Promise<RouteDecision | Obstacle> {
    const answer = await this.#parts.own.ask(request, alternatives)
    if (!answer.ok) return { provider, reason: answer.reason, untilMs: answer.untilMs, detail: answer.detail }
    const { source, probe, recipients, counters } = answer.grant
    return {
      kind: 'carry',
      provider: { id: provider.id, name: provider.name, kind: 'own' },
      source,
      smarthost: null,
      mailboxProvider: request.mailboxProvider,
      recipients,
      probe,
      reason: probe ? 'probe' : reasonOf(request, provider, before),
      counters,
    }
  }

  async #askRelay(
    provider: Provider,
    request: RouteRequest,
    before: Obstacle | null,
  ): Promise<RouteDecision | Obstacle> {
    const answer = await this.#parts.breakers.admit(provider.id)
    if (!answer.granted)
      return {
        provider,
        reason: 'breaker-open',
        untilMs: answer.untilMs,
        detail: 'its infrastructure failed several times in a row',
      }
    return {
      kind: 'carry',
      provider: { id: provider.id, name: provider.name, kind: 'smarthost' },
      source: null,
      smarthost: provider.smarthost,
      mailboxProvider: request.mailboxProvider,
      recipients: answer.probe ? 1 : (request.recipients ?? 1),
      probe: answer.probe,
      reason: answer.probe ? 'probe' : reasonOf(request, provider, before),
      counters: [],
    }
  }
}

/** Why this one: because another could not, because it was asked for, or by its priority. */
function reasonOf(request: RouteRequest, provider: Provider, before: Obstacle | null): string {
  if (before !== null) return before.reason === 'warmup-cap' ? 'warmup-overflow' : before.reason
  return request.preferred === provider.name ? 'preferred' : 'priority'
}
