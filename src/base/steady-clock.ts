import { uptime } from 'node:os'
import { type Clock, systemClock } from './clock.ts'

/** Up to this much a step of the machine's clock is followed at once: NTP, a leap second, a drift. */
const FOLLOWED_MS = 60_000
/** A clock set forward is believed when it has stood so long. */
const BELIEVED_AFTER_MS = 6 * 3_600_000

export type TimeSources = {
  /** The machine's clock, however it was set. */
  wallMs(): number
  monotonicMs(): number
  /** Since the machine was started, its sleep included. */
  sinceBootMs(): number
}

export type ClockSet = {
  /** How far the machine's clock is from this one: positive when it was set forward. */
  readonly byMs: number
  /** `held`: this clock goes on as before; `followed`: it took the new time over; `back`: the machine's clock is right again. */
  readonly kind: 'held' | 'followed' | 'back'
}

const MACHINE: TimeSources = {
  wallMs: systemClock.now,
  monotonicMs: systemClock.monotonicMs,
  sinceBootMs: () => uptime() * 1000,
}

/**
 * The machine's clock as long as it goes on evenly. When it is set by more than a minute this one goes on as before, so that
 * nothing expires, and nothing is retried or stands still, for a clock that was set wrong. Sleep of the machine is followed;
 * a clock set forward is believed after six hours; one set back is followed at the next start.
 * @param onSet told once of each change, and never in a turn of its own
 */
export function steadyClock(onSet: (set: ClockSet) => void, sources: TimeSources = MACHINE): Clock {
  const { wallMs, monotonicMs, sinceBootMs } = sources
  let anchorWallMs = wallMs()
  let anchorMs = monotonicMs()
  let asleepMs = sinceBootMs() - anchorMs
  let heldMs: number | null = null
  let heldSinceMs = 0

  function follow(nowWallMs: number, nowMs: number): number {
    anchorWallMs = nowWallMs
    anchorMs = nowMs
    heldMs = null
    return nowWallMs
  }

  function wasSet(byMs: number, nowMs: number): 'held' | 'followed' {
    if (heldMs === null || Math.abs(byMs - heldMs) > FOLLOWED_MS) {
      const slept = sinceBootMs() - nowMs - asleepMs
      asleepMs += slept
      if (byMs > 0 && Math.abs(byMs - slept) <= FOLLOWED_MS) return 'followed'
      heldMs = byMs
      heldSinceMs = nowMs
      onSet({ byMs, kind: 'held' })
    }
    if (byMs < 0 || nowMs - heldSinceMs < BELIEVED_AFTER_MS) return 'held'
    onSet({ byMs, kind: 'followed' })
    return 'followed'
  }

  return {
    ...systemClock,
    monotonicMs,
    now() {
      const nowWallMs = wallMs()
      const nowMs = monotonicMs()
      const lineMs = anchorWallMs + (nowMs - anchorMs)
      const byMs = nowWallMs - lineMs
      if (Math.abs(byMs) <= FOLLOWED_MS) {
        if (heldMs !== null) onSet({ byMs: heldMs, kind: 'back' })
        return follow(nowWallMs, nowMs)
      }
      return wasSet(byMs, nowMs) === 'followed' ? follow(nowWallMs, nowMs) : Math.floor(lineMs)
    },
  }
}
