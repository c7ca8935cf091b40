import type { Clock } from '#base'
import type { Limiter } from '#limits'

type State = { failures: number; openUntilMs: number; probing: boolean }

export type BreakerState = 'closed' | 'open' | 'half-open'

/** Other nodes' breakers are looked at this often, not for every message. */
const SHARED_LOOK_MS = 1000

/**
 * Keeps mail away from a provider whose infrastructure fails: `failures` in a row open it for `openMs`, then one message
 * (or health check) is let through and decides. What a recipient did wrong never counts here.
 */
export class Breakers {
  readonly #failures: number
  readonly #openMs: number
  readonly #limiter: Limiter
  readonly #clock: Clock
  readonly #onChange: (providerId: string, state: 'open' | 'closed', reason: string) => void
  readonly #states = new Map<string, State>()
  readonly #looked = new Map<string, number>()

  constructor(
    options: { readonly failures: number; readonly openMs: number },
    limiter: Limiter,
    clock: Clock,
    onChange: (providerId: string, state: 'open' | 'closed', reason: string) => void,
  ) {
    this.#failures = options.failures
    this.#openMs = options.openMs
    this.#limiter = limiter
    this.#clock = clock
    this.#onChange = onChange
  }

  /** Whether a message may go; in the half-open state it takes the one probe. Ends with succeeded, failed or unused. */
  async admit(
    providerId: string,
  ): Promise<
    { readonly granted: true; readonly probe: boolean } | { readonly granted: false; readonly untilMs: number }
  > {
    await this.#lookAtOthers(providerId)
    const state = this.#states.get(providerId)
    if (state === undefined || state.openUntilMs === 0) return { granted: true, probe: false }
    const nowMs = this.#clock.now()
    if (nowMs < state.openUntilMs) return { granted: false, untilMs: state.openUntilMs }
    if (state.probing) return { granted: false, untilMs: nowMs + 1000 }
    state.probing = true
    return { granted: true, probe: true }
  }

  state(providerId: string): BreakerState {
    const state = this.#states.get(providerId)
    if (state === undefined || state.openUntilMs === 0) return 'closed'
    return this.#clock.now() < state.openUntilMs ? 'open' : 'half-open'
  }

  succeeded(providerId: string): void {
    const state = this.#states.get(providerId)
    if (state === undefined) return
    this.#states.delete(providerId)
    if (state.openUntilMs === 0) return
    void this.#limiter.clear(flag(providerId))
    this.#onChange(providerId, 'closed', 'it works again')
  }

  failed(providerId: string, reason: string): void {
    const state = this.#states.get(providerId) ?? { failures: 0, openUntilMs: 0, probing: false }
    this.#states.set(providerId, state)
    state.failures += 1
    const wasOpen = state.openUntilMs > 0
    if (!wasOpen && state.failures < this.#failures) return
    // Failures of messages that were under way when it opened do not prolong it; only the probe's does.
    if (wasOpen && !state.probing) return
    state.probing = false
    state.openUntilMs = this.#clock.now() + this.#openMs
    void this.#limiter.set(flag(providerId), String(state.openUntilMs), this.#openMs)
    if (!wasOpen) this.#onChange(providerId, 'open', reason)
  }

  unused(providerId: string): void {
    const state = this.#states.get(providerId)
    if (state !== undefined) state.probing = false
  }

  async #lookAtOthers(providerId: string): Promise<void> {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - (this.#looked.get(providerId) ?? -SHARED_LOOK_MS) < SHARED_LOOK_MS) return
    this.#looked.set(providerId, nowMs)
    const until = Number(await this.#limiter.get(flag(providerId)))
    if (until > this.#clock.now() && !this.#states.has(providerId))
      this.#states.set(providerId, { failures: this.#failures, openUntilMs: until, probing: false })
  }
}

function flag(providerId: string): string {
  return `breaker:${providerId}`
}
