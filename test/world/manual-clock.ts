import type { Clock } from '#base'

export interface ManualClock extends Clock {
  /** Moves both times on and fires what falls due, in order, letting promises settle in between. */
  advance(ms: number): Promise<void>
  /** Moves the wall clock alone, as an administrator or NTP would. */
  jump(ms: number): void
  /** Moves both times on, and fires nothing: as a machine that was asleep. */
  skip(ms: number): void
  /** Timers that have not fired. */
  readonly waiting: number
  /** Milliseconds until the next timer; null when there is none. */
  readonly nextInMs: number | null
}

/** A clock that stands still until it is told to go. Starts at noon UTC on 24 November 2026 unless told otherwise. */
export function manualClock(startMs: number = Date.UTC(2026, 10, 24, 12)): ManualClock {
  let wallMs = startMs
  let monotonicMs = 0
  let order = 0
  const timers = new Map<number, { readonly dueMs: number; readonly fire: () => void }>()

  function nextDue(untilMs: number): number | null {
    let found: number | null = null
    let best = untilMs
    for (const [id, timer] of timers) {
      if (timer.dueMs < best || (timer.dueMs === best && found === null)) {
        found = id
        best = timer.dueMs
      }
    }
    return found
  }

  return {
    now: () => wallMs,
    monotonicMs: () => monotonicMs,
    after(ms, fire) {
      const id = order++
      timers.set(id, { dueMs: monotonicMs + Math.max(0, ms), fire })
      return () => {
        timers.delete(id)
      }
    },
    jump(ms) {
      wallMs += ms
    },
    skip(ms) {
      wallMs += ms
      monotonicMs += ms
    },
    get waiting() {
      return timers.size
    },
    get nextInMs() {
      const id = nextDue(Number.POSITIVE_INFINITY)
      return id === null ? null : timers.get(id)!.dueMs - monotonicMs
    },
    async advance(ms) {
      const untilMs = monotonicMs + ms
      await settled()
      for (let id = nextDue(untilMs); id !== null; id = nextDue(untilMs)) {
        const timer = timers.get(id)!
        timers.delete(id)
        wallMs += timer.dueMs - monotonicMs
        monotonicMs = timer.dueMs
        timer.fire()
        await settled()
      }
      wallMs += untilMs - monotonicMs
      monotonicMs = untilMs
    },
  }
}

/** Lets everything that is ready to run do so, without letting time pass. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The real clock, `factor` times as fast: an hour's deadline in seconds, with real sockets. */
export function fastClock(factor: number): Clock {
  const wallStartMs = Date.now()
  const startMs = performance.now()
  const monotonicMs = (): number => (performance.now() - startMs) * factor
  return {
    now: () => Math.floor(wallStartMs + monotonicMs()),
    monotonicMs,
    after(ms, fire) {
      const timer = setTimeout(fire, Math.max(0, ms) / factor)
      timer.unref()
      return () => clearTimeout(timer)
    },
  }
}
