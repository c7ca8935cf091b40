import type { Clock } from '#base'
import type { LaneGroups } from './lane-groups.ts'
import type { SiteMemory } from './site-memory.ts'

/** A lane as the watch sees it. */
export type Watched = {
  /** The site or mailbox provider it belongs to. */
  readonly group: string
  /** When it began, or a peer last answered about a recipient; monotonic. */
  sinceMs: number
  /** It holds a place of UNPROVEN; of SLOW. */
  unproven: boolean
  slow: boolean
  /** Ends the connection that is being opened; null when none is. */
  cut: (() => void) | null
}

const LOOK_MS = 1000
/** A site that never answered is slow after this, one that has after that. Many greet new clients late: six seconds with postscreen. */
const NEW_SLOW_MS = 7000
const QUICK_SLOW_MS = 30_000
/** Of all lanes, those of sites that are not known to answer may have this share, and those that are slow that one. */
const UNPROVEN_SHARE = 0.65
const SLOW_SHARE = 0.25

export const UNPROVEN = 'lanes of sites not known to answer'
export const SLOW = 'lanes that are slow'

/**
 * Sees to it that sites that keep lanes waiting never have them all: there is always room for those that answer, and
 * soon for those that nothing is known of.
 */
export class LaneWatch {
  readonly unprovenLimit: number
  readonly slowLimit: number
  readonly #clock: Clock
  readonly #groups: LaneGroups
  readonly #sites: SiteMemory
  readonly #crowdedAt: number
  readonly #lanes = new Set<Watched>()
  #cancel: (() => void) | null = null

  constructor(clock: Clock, groups: LaneGroups, sites: SiteMemory, maxLanes: number, crowdedAt: number) {
    this.#clock = clock
    this.#groups = groups
    this.#sites = sites
    this.#crowdedAt = crowdedAt
    this.unprovenLimit = Math.max(1, Math.floor(maxLanes * UNPROVEN_SHARE))
    this.slowLimit = Math.max(1, Math.floor(maxLanes * SLOW_SHARE))
  }

  /** The shared place that a lane of this group would need and that is not free; null: it may begin. */
  missing(group: string): string | null {
    const standing = this.#sites.standing(group)
    if (standing === 'quick') return null
    if (standing === 'slow' && this.#groups.full(SLOW, this.slowLimit)) return SLOW
    return this.#groups.full(UNPROVEN, this.unprovenLimit) ? UNPROVEN : null
  }

  add(group: string): Watched {
    const standing = this.#sites.standing(group)
    const lane: Watched = { group, sinceMs: this.#clock.monotonicMs(), unproven: false, slow: false, cut: null }
    if (standing !== 'quick') {
      lane.unproven = true
      this.#groups.take(UNPROVEN, this.unprovenLimit, Number.POSITIVE_INFINITY)
    }
    if (standing === 'slow') this.#becomesSlow(lane)
    this.#lanes.add(lane)
    this.#cancel ??= this.#clock.after(LOOK_MS, () => this.#look())
    return lane
  }

  answered(lane: Watched, took: boolean): void {
    lane.sinceMs = this.#clock.monotonicMs()
    this.#sites.answered(lane.group, took)
    this.#leave(lane)
  }

  remove(lane: Watched): void {
    this.#lanes.delete(lane)
    this.#leave(lane)
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = null
  }

  #leave(lane: Watched): void {
    if (lane.unproven) this.#groups.leave(UNPROVEN)
    if (lane.slow) this.#groups.leave(SLOW)
    lane.unproven = false
    lane.slow = false
  }

  #becomesSlow(lane: Watched): void {
    lane.slow = true
    this.#groups.take(SLOW, this.slowLimit, Number.POSITIVE_INFINITY)
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs()
    for (const lane of this.#lanes) {
      if (lane.slow || nowMs - lane.sinceMs < (lane.unproven ? NEW_SLOW_MS : QUICK_SLOW_MS)) continue
      this.#sites.slow(lane.group)
      this.#becomesSlow(lane)
    }
    if (this.#groups.crowded(UNPROVEN) || this.#lanes.size >= this.#crowdedAt) this.#makeRoom()
    this.#cancel = this.#lanes.size === 0 ? null : this.#clock.after(LOOK_MS, () => this.#look())
  }

  /** The slow lanes that are too many, the last come first: who waited longest is nearest to its answer. */
  #makeRoom(): void {
    let tooMany = this.#groups.lanes(SLOW) - this.slowLimit
    if (tooMany <= 0) return
    for (const lane of [...this.#lanes].reverse()) {
      if (!lane.slow || lane.cut === null) continue
      lane.cut()
      tooMany -= 1
      if (tooMany === 0) return
    }
  }
}
