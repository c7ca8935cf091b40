/** Time as a value that can be given: the only place that asks the machine what time it is. */
export interface Clock {
  /** Wall-clock time, milliseconds since the epoch. May jump; use it for what is stored or shown. */
  now(): number
  /** Monotonic milliseconds. Never jumps; use it for durations and deadlines. */
  monotonicMs(): number
  /** Calls `fire` once after `ms`; the returned function cancels. Never keeps the process alive by itself. */
  after(ms: number, fire: () => void): () => void
}

/** setTimeout overflows above this (about 24.8 days) and would fire at once. */
const MAX_TIMER_MS = 2_147_483_647

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(ms, fire) {
    const timer = setTimeout(fire, Math.min(Math.max(0, ms), MAX_TIMER_MS))
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/** Resolves after `ms` by the clock; rejects with the signal's reason when aborted first. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error)
      return
    }
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    function onAbort(): void {
      cancel()
      reject(signal?.reason as Error)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** RFC 3339 UTC with milliseconds, for logs and JSON. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
