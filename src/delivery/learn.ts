import type { Attempted } from './attempt.ts'
import type { Carry } from './carry.ts'
import type { LaneParts, LaneStart } from './lane.ts'
import type { Watched } from './lane-watch.ts'
import { siteWaitMs } from './retry.ts'

/** The shared places that a lane holds besides that of its site. */
type Held = { readonly relay: string | null; readonly watched: Watched | null }

/** A host that puts off more messages than this in a row, before it looks at the recipient, is left alone for a while. */
const DEFERRALS_TO_REST = 10

/**
 * What an attempt says of its site: one without any answer rests, longer each time, and so does one that puts off everything;
 * one that answers others of its lanes gets fewer. @returns whether the domain rests
 */
export function learn(start: LaneStart, held: Held, decision: Carry, done: Attempted, parts: LaneParts): boolean {
  const { groups, sites } = parts
  const { domain, place } = start
  if (parts.stopping()) return false
  if (done.answered) return learnAnswer(start, held, done, parts)
  if (done.unreachable === false && !done.cutOff) return false
  // Its hosts were reached: other domains there are none the worse.
  if (done.unreachable === 'policy') return rest(domain, sites.failed(policyOf(domain)), 'tls-policy', parts)
  if (decision.smarthost !== null) {
    if (held.relay !== null) groups.failed(held.relay)
    return false
  }
  if (place === null || groups.failed(place.group)) return false
  const reason = done.cutOff ? 'destination-slow' : 'destination-unreachable'
  return rest(domain, sites.failed(place.group), reason, parts)
}

function learnAnswer(
  { domain, place }: LaneStart,
  { relay, watched }: Held,
  done: Attempted,
  parts: LaneParts,
): boolean {
  const { groups, sites, watch, options } = parts
  sites.forget(policyOf(domain))
  if (relay !== null) {
    groups.answered(relay, options.config.connections_per_site, done.deferred)
    return false
  }
  if (place === null) return false
  groups.answered(place.group, place.limit, done.deferred)
  if (watched !== null) watch.answered(watched, !done.deferred)
  const tooMany = done.hostDeferred ? sites.deferred(place.group) - DEFERRALS_TO_REST : 0
  return tooMany > 0 && rest(domain, tooMany, 'destination-deferring', parts)
}

function rest(domain: string, failures: number, reason: string, { options }: LaneParts): true {
  options.queue.park(domain, options.clock.now() + siteWaitMs(failures), reason)
  return true
}

/** Where it is remembered how often in a row the TLS policy of a domain was not met. */
function policyOf(domain: string): string {
  return `policy ${domain}`
}
