import ipaddr from 'ipaddr.js'
import type { Clock } from '#base'

const FAILURE_WINDOW_MS = 600_000
const FIRST_DELAY_MS = 250
const LONGEST_DELAY_MS = 8_000
/** Addresses remembered for failed log-ins; the oldest go first. */
const MAX_REMEMBERED = 20_000

export type GateLimits = {
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  readonly maxFailedLogins: number
}

/** What one client address may do: connections at one time, failed log-ins within ten minutes. All listeners share one. */
export class ClientGate {
  readonly #limits: GateLimits
  readonly #clock: Clock
  readonly #open = new Map<string, number>()
  readonly #failures = new Map<string, { count: number; sinceMs: number }>()
  #total = 0

  constructor(limits: GateLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  get connections(): number {
    return this.#total
  }

  /** Null when the connection may stay (pair it with `leave`), else the text of the 421. */
  enter(address: string): string | null {
    const key = addressKey(address)
    if (this.isTurnedAway(address)) return '4.7.0 too many failed log-ins from your address, try again in ten minutes'
    if (this.#total >= this.#limits.maxConnections) return '4.3.2 too many connections, try again later'
    const open = this.#open.get(key) ?? 0
    if (open >= this.#limits.maxConnectionsPerAddress) return '4.7.0 too many connections from your address'
    this.#open.set(key, open + 1)
    this.#total += 1
    return null
  }

  leave(address: string): void {
    const key = addressKey(address)
    const open = this.#open.get(key) ?? 0
    if (open > 1) this.#open.set(key, open - 1)
    else this.#open.delete(key)
    this.#total -= 1
  }

  isTurnedAway(address: string): boolean {
    return this.#failuresOf(addressKey(address)) >= this.#limits.maxFailedLogins
  }

  /** Counts a failed log-in; returns how long to wait before the answer. */
  loginFailed(address: string): number {
    const key = addressKey(address)
    const count = this.#failuresOf(key) + 1
    const sinceMs = count === 1 ? this.#clock.monotonicMs() : this.#failures.get(key)!.sinceMs
    this.#failures.delete(key)
    this.#failures.set(key, { count, sinceMs })
    if (this.#failures.size > MAX_REMEMBERED) this.#failures.delete(this.#failures.keys().next().value!)
    return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(count - 1, 10))
  }

  loginSucceeded(address: string): void {
    this.#failures.delete(addressKey(address))
  }

  #failuresOf(key: string): number {
    const failure = this.#failures.get(key)
    if (failure === undefined) return 0
    if (this.#clock.monotonicMs() - failure.sinceMs < FAILURE_WINDOW_MS) return failure.count
    this.#failures.delete(key)
    return 0
  }
}

/** One customer has a whole /64 of IPv6: it counts as one address. */
export function addressKey(address: string): string {
  if (!ipaddr.isValid(address)) return address
  const parsed = ipaddr.process(address)
  if (parsed.kind() === 'ipv4') return parsed.toString()
  return (parsed as ipaddr.IPv6).parts.slice(0, 4).join(':')
}
