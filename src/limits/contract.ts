/** A steady rate: `limit` events in `perMs`, of which up to `burst` may come at once. */
export type Rate = { readonly limit: number; readonly perMs: number; readonly burst: number }

export type RateAnswer = { readonly granted: true } | { readonly granted: false; readonly retryAfterMs: number }

/** A slot of a concurrency limit; it frees itself when its time is over, so a lost holder blocks nobody for ever. */
export type Slot = { readonly key: string; readonly id: string }

/**
 * Counts what several sessions, and with Redis several machines, must share: rates, concurrency, flags that end by
 * themselves (breaker state), and who leads. What must survive a crash is not here: it moves in the settle transaction.
 * No method rejects because the shared engine is away: the driver then goes on with this node's share of each limit.
 */
export interface Limiter extends AsyncDisposable {
  /** Takes `count` from the rate (GCRA), all or nothing. */
  take(key: string, rate: Rate, count?: number): Promise<RateAnswer>
  /** A slot of `max`, held for at most `ttlMs`; null when all are taken. */
  acquire(key: string, max: number, ttlMs: number): Promise<Slot | null>
  release(slot: Slot): Promise<void>
  /** A small value for all nodes that ends after `ttlMs`. */
  set(key: string, value: string, ttlMs: number): Promise<void>
  get(key: string): Promise<string | null>
  clear(key: string): Promise<void>
  /** True for the one holder until `ttlMs` after its last successful call; call again before that to stay. */
  lead(name: string, holder: string, ttlMs: number): Promise<boolean>
  /** `shared`: as configured; `degraded`: the shared engine is away and each node keeps to its share. */
  standing(): 'shared' | 'degraded'
}

/** The share of a limit that one of `nodes` may use alone; never nothing and never more than the whole. */
export function shareOfRate(rate: Rate, nodes: number): Rate {
  return { limit: rate.limit, perMs: rate.perMs * nodes, burst: Math.max(1, Math.floor(rate.burst / nodes)) }
}

export function shareOfSlots(max: number, nodes: number): number {
  return Math.max(1, Math.floor(max / nodes))
}
