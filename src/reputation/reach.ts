import type { Clock } from '#base'

const MIN_FAILURES = 10
const MIN_SITES = 3

type State = { failures: number; sites: Set<string>; lastSuccessMs: number; unreachable: boolean }

/**
 * Tells "their host is down" from "we cannot reach port 25 at all": many connects failed, to several different sites,
 * and none succeeded since the first of them. One successful connect takes it back.
 */
export class Reach {
  readonly #clock: Clock
  readonly #onChange: (source: string, reachable: boolean) => void
  readonly #states = new Map<string, State>()

  constructor(clock: Clock, onChange: (source: string, reachable: boolean) => void) {
    this.#clock = clock
    this.#onChange = onChange
  }

  connected(source: string): void {
    const state = this.#states.get(source)
    if (state === undefined) return
    this.#states.delete(source)
    if (state.unreachable) this.#onChange(source, true)
  }

  failed(source: string, site: string): void {
    let state = this.#states.get(source)
    if (state === undefined) {
      state = { failures: 0, sites: new Set(), lastSuccessMs: this.#clock.now(), unreachable: false }
      this.#states.set(source, state)
    }
    state.failures += 1
    if (state.sites.size < MIN_SITES) state.sites.add(site)
    if (state.unreachable || state.failures < MIN_FAILURES || state.sites.size < MIN_SITES) return
    state.unreachable = true
    this.#onChange(source, false)
  }

  unreachable(source: string): boolean {
    return this.#states.get(source)?.unreachable ?? false
  }
}
