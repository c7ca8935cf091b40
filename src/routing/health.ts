import { type Clock, type Log, messageOf } from '#base'
import type { BreakerState, Breakers } from './breaker.ts'
import type { Provider, Providers } from './providers.ts'

export type HealthCheck = (
  provider: Provider,
  signal: AbortSignal,
) => Promise<{ readonly ok: boolean; readonly detail: string }>

export type Health = {
  readonly provider: string
  readonly ok: boolean
  readonly detail: string
  readonly checkedMs: number
  readonly tookMs: number
  readonly breaker: BreakerState
}

export type HealthOptions = {
  readonly providers: Providers
  readonly breakers: Breakers
  readonly check: HealthCheck
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly clock: Clock
  readonly log: Log
}

/** Asks each active provider at intervals whether it works; the answers move the breaker like real mail does. */
export class HealthChecks {
  readonly #options: HealthOptions
  readonly #last = new Map<string, Health>()
  #cancel: (() => void) | null = null
  #stopped = false

  constructor(options: HealthOptions) {
    this.#options = options
    this.#plan()
  }

  list(): readonly Health[] {
    return [...this.#last.values()].map((health) => ({
      ...health,
      breaker: this.#options.breakers.state(this.#options.providers.byName(health.provider)?.id ?? ''),
    }))
  }

  /** Checks one provider now and tells what was found. */
  async run(provider: Provider): Promise<Health> {
    const { breakers, check, clock, timeoutMs } = this.#options
    const began = clock.monotonicMs()
    const abort = new AbortController()
    const outOfTime = Promise.withResolvers<{ ok: boolean; detail: string }>()
    const cancel = clock.after(timeoutMs, () => {
      abort.abort(new Error('health check out of time'))
      outOfTime.resolve({ ok: false, detail: `no answer within ${timeoutMs} ms` })
    })
    let found: { ok: boolean; detail: string }
    try {
      found = await Promise.race([check(provider, abort.signal), outOfTime.promise])
    } catch (error) {
      found = { ok: false, detail: messageOf(error) }
    } finally {
      cancel()
    }
    if (provider.kind === 'smarthost') {
      if (found.ok) breakers.succeeded(provider.id)
      else breakers.failed(provider.id, found.detail)
    }
    const health: Health = {
      provider: provider.name,
      ...found,
      checkedMs: clock.now(),
      tookMs: Math.round(clock.monotonicMs() - began),
      breaker: breakers.state(provider.id),
    }
    this.#last.set(provider.name, health)
    return health
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
  }

  #plan(): void {
    this.#cancel = this.#options.clock.after(this.#options.intervalMs, () => void this.#round())
  }

  async #round(): Promise<void> {
    const { providers, log } = this.#options
    try {
      await Promise.all(
        providers
          .list()
          .filter((one) => one.active)
          .map((provider) => this.run(provider)),
      )
    } catch (error) {
      log.error({ error: messageOf(error) }, 'a round of health checks failed')
    }
    if (!this.#stopped) this.#plan()
  }
}
