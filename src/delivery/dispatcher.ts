import { setMaxListeners } from 'node:events'
import { type Clock, type Log, messageOf } from '#base'
import type { Config } from '#config'
import { type Priority, type Queue, STRONG_PRIORITIES } from '#queue'
import type { AttemptParts } from './attempt.ts'
import type { Cage, Place } from './carry.ts'
import type { Destination } from './contract.ts'
import type { Destinations, Resolved } from './direct/destinations.ts'
import { NOTHING_PUBLISHED } from './direct/tls-policy.ts'
import { Expiry } from './expiry.ts'
import { Lane, type LaneParts, type LaneStart, routeGroup } from './lane.ts'
import { LaneGroups } from './lane-groups.ts'
import { LaneWatch, UNPROVEN } from './lane-watch.ts'
import type { Pool } from './pool.ts'
import { lookUpWaitMs } from './retry.ts'
import { SiteMemory } from './site-memory.ts'
import { endWithoutHosts, relayedStart } from './without-hosts.ts'

export type DispatcherOptions = AttemptParts & {
  readonly config: Config['delivery']
  /** Recipients of one message in one transaction: more than one only when return paths name messages. */
  readonly maxRecipients: number
  /** Null: live. Set: sandbox mode, everything goes to the sink. */
  readonly sandbox: Cage | null
  /** For sandbox mail that is found while the mode is live. */
  readonly cage: Cage
  readonly destinations: Destinations
  readonly pool: Pool
  readonly log: Log
  mailboxProviderOf(domain: string): string
  /** Connections and messages a connection, of a mailbox provider; undefined: the configured defaults. */
  limitsOf(
    mailboxProvider: string,
  ): { readonly connections: number; readonly messagesPerConnection: number } | undefined
}

/** Connections that only urgent and high mail may take: a tenth of all. */
const HEADROOM = 0.1
const INTERNAL_RETRY_MS = 60_000
/** Of the stop's deadline, this much is kept for settling what was cut off. */
const SETTLE_MS = 1000
/** Domains offered in one turn of the event loop. */
const OFFERS_A_TURN = 500
/** Domains whose hosts are asked for at one time; name servers that are silent hold up only each other's domains. */
const LOOK_UPS = 'look-ups'
const MAX_LOOK_UPS = 256

/**
 * Moves due mail: for each destination offered by the queue it runs lanes, each with one connection. A destination that
 * cannot be served now is parked with a named reason or blocked until it is its turn, and holds back nobody else.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #queue: Queue
  readonly #clock: Clock
  readonly #abort = new AbortController()
  readonly #stopped = Promise.withResolvers<null>()
  readonly #lanes = new Set<Promise<void>>()
  readonly #groups: LaneGroups
  readonly #sites = new SiteMemory()
  readonly #lookUps = new SiteMemory()
  readonly #parts: LaneParts
  readonly #watch: LaneWatch
  readonly #expiry: Expiry
  /** Of each site that waits to prove itself, the domain that stands for all of its others. */
  readonly #firsts = new Map<string, string>()
  readonly #firstOf = new Map<string, string>()
  readonly #ordinaryLanes: number
  readonly #unlisten: (() => void)[]
  #pumping = false
  #stopping = false

  constructor(options: DispatcherOptions) {
    const { clock, queue } = options
    const { max_connections: maxLanes } = options.config
    this.#options = options
    this.#queue = queue
    this.#clock = clock
    this.#ordinaryLanes = maxLanes * (1 - HEADROOM)
    this.#groups = new LaneGroups(
      clock,
      (domain) => this.#queue.unblock(domain),
      (domain) => this.#isFirst(domain, null),
    )
    this.#watch = new LaneWatch(clock, this.#groups, this.#sites, maxLanes, this.#ordinaryLanes)
    this.#expiry = new Expiry(options)
    // One listener for each connection.
    setMaxListeners(0, this.#abort.signal)
    this.#parts = {
      ...{ options, groups: this.#groups, sites: this.#sites, watch: this.#watch, failedInside: new Map() },
      stop: this.#abort.signal,
      stopping: () => this.#stopping,
      crowded: () => this.#lanes.size >= this.#ordinaryLanes,
    }
    this.#unlisten = [
      queue.onDue(() => this.#pump()),
      queue.onStronger((domain, priority) => {
        if (STRONG_PRIORITIES.has(priority)) this.#groups.recall(domain, priority)
        else this.#groups.promote(domain, priority)
      }),
    ]
    this.#pump()
  }

  /** Lanes at work. */
  get active(): number {
    return this.#lanes.size
  }

  /**
   * Claims nothing more and lets attempts end. What has not by the deadline is cut off: before the final dot it goes back
   * to the queue uncounted, after it the end is uncertain.
   */
  async stop(deadlineMs: number): Promise<void> {
    const endMs = this.#clock.monotonicMs() + deadlineMs
    this.#stopping = true
    this.#stopped.resolve(null)
    for (const unlisten of this.#unlisten) unlisten()
    this.#groups.stop()
    this.#watch.stop()
    const cancel = this.#clock.after(Math.max(0, deadlineMs - SETTLE_MS), () => {
      this.#abort.abort(new Error('stopping'))
      this.#queue.waitNoLonger()
    })
    while (this.#lanes.size > 0) await Promise.all(this.#lanes)
    await this.#expiry.stop()
    cancel()
    await this.#options.pool.close(Math.max(0, endMs - this.#clock.monotonicMs()))
  }

  #pump(): void {
    if (this.#pumping || this.#stopping) return
    this.#pumping = true
    setImmediate(() => {
      this.#pumping = false
      const { max_connections: max } = this.#options.config
      for (let offers = 0; !this.#stopping && this.#lanes.size < max; offers++) {
        const next = this.#queue.nextDestination()
        if (next === null) return
        if (!STRONG_PRIORITIES.has(next.priority) && this.#lanes.size >= this.#ordinaryLanes) return
        if (offers === OFFERS_A_TURN) return this.#pump()
        this.#offer(next.domain, next.priority)
      }
    })
  }

  /** One lane is begun for a destination at a time; once it has claimed, the destination is offered again. */
  #offer(domain: string, priority: Priority): void {
    this.#queue.block(domain)
    if (this.#options.sandbox === null && !this.#options.router.wantsMx({ priority, preferred: null }))
      this.#begin(relayedStart(domain, priority, this.#options))
    else this.#offerDirect(domain, priority)
  }

  #offerDirect(domain: string, priority: Priority): void {
    const known = this.#known(domain)
    if (known === undefined) this.#lookUp(domain, priority)
    else this.#goOn(domain, priority, known)
  }

  /** Nothing is claimed yet, so a stop need not wait for the DNS. */
  #lookUp(domain: string, priority: Priority): void {
    if (!this.#groups.enter(LOOK_UPS, MAX_LOOK_UPS, Number.POSITIVE_INFINITY)) {
      this.#groups.hold(LOOK_UPS, domain, priority)
      return
    }
    Promise.race([this.#options.destinations.resolve(domain), this.#stopped.promise])
      .then((resolved) => {
        if (resolved !== null && !this.#stopping) this.#goOn(domain, priority, resolved)
      })
      .catch((error: unknown) => this.#failed(domain, error))
      .finally(() => this.#groups.leave(LOOK_UPS))
  }

  #goOn(domain: string, priority: Priority, resolved: Resolved): void {
    if (this.#lanes.size >= this.#options.config.max_connections) {
      // No lane is free any more: it is offered again when one is.
      this.#queue.unblock(domain)
      return
    }
    switch (resolved.kind) {
      case 'destination':
        this.#lookUps.forget(domain)
        this.#begin(this.#directStart(domain, priority, resolved.destination))
        return
      case 'refused':
        this.#work(domain, async () => {
          await endWithoutHosts(domain, resolved, this.#parts)
          this.#queue.unblock(domain)
        })
        return
      case 'deferred': {
        // Nothing is known of any of its recipients, so none is claimed: the domain waits as a whole.
        const waitMs = lookUpWaitMs(this.#lookUps.failed(domain))
        this.#queue.park(domain, this.#clock.now() + waitMs, resolved.reason)
        this.#queue.unblock(domain)
      }
    }
  }

  #begin(start: LaneStart): void {
    const { domain, priority, place } = start
    const waitIn = this.#mustWaitIn(start)
    if (waitIn !== null) {
      const paused = this.#groups.paused(waitIn)
      this.#queue.block(domain, paused?.reason, paused?.untilMs)
      this.#groups.hold(waitIn, domain, priority)
      return
    }
    if (place !== null) this.#isFirst(domain, null)
    const lane = new Lane(start, this.#parts)
    this.#groups.began(domain)
    this.#work(domain, async () => {
      if ((await lane.run()) === 'wants-mx') this.#offerDirect(domain, priority)
    })
  }

  /** What is not free for a lane; null: all is. Urgent mail does not wait for others to prove themselves. */
  #mustWaitIn({ domain, destination, place, priority }: LaneStart): string | null {
    const route = routeGroup(destination.mailboxProvider)
    if (this.#groups.paused(route) !== null) return route
    if (place === null) return null
    if (this.#groups.full(place.group, place.limit)) return place.group
    const missing = this.#watch.missing(place.group)
    if (missing === null || (missing === UNPROVEN && STRONG_PRIORITIES.has(priority))) return null
    // One domain of each site waits there, the others for what becomes of it.
    const first = this.#firsts.get(place.group)
    if (this.#groups.lanes(place.group) > 0 || (first !== undefined && first !== domain)) return place.group
    this.#isFirst(domain, place.group)
    return missing
  }

  /** Null: it is first no more, and another of its site may be. */
  #isFirst(domain: string, group: string | null): void {
    const before = this.#firstOf.get(domain)
    if (before === group || (before === undefined && group === null)) return
    if (before !== undefined) {
      this.#firstOf.delete(domain)
      this.#firsts.delete(before)
      this.#groups.goesOn(before)
    }
    if (group === null) return
    this.#firstOf.set(domain, group)
    this.#firsts.set(group, domain)
  }

  #work(domain: string, run: () => Promise<void>): void {
    const lane = run()
      .catch((error: unknown) => this.#failed(domain, error))
      .finally(() => {
        this.#lanes.delete(lane)
        this.#pump()
      })
    this.#lanes.add(lane)
  }

  #failed(domain: string, error: unknown): void {
    this.#options.log.error({ domain, error: messageOf(error) }, 'a delivery lane failed')
    this.#queue.park(domain, this.#clock.now() + INTERNAL_RETRY_MS, 'internal-error')
    this.#queue.unblock(domain)
  }

  #known(domain: string): Resolved | undefined {
    if (this.#options.sandbox === null) return this.#options.destinations.known(domain)
    const mailboxProvider = this.#options.mailboxProviderOf(domain)
    const destination = { domain, hosts: [], site: 'sandbox sink', mailboxProvider, tls: NOTHING_PUBLISHED }
    return { kind: 'destination', destination }
  }

  #directStart(domain: string, priority: Priority, destination: Destination): LaneStart {
    const limits = this.#options.limitsOf(destination.mailboxProvider)
    const messagesPerConnection = limits?.messagesPerConnection ?? this.#options.config.messages_per_connection
    return { domain, priority, destination, place: this.#placeOf(destination), messagesPerConnection }
  }

  #placeOf({ mailboxProvider, site }: Destination): Place {
    const { connections_per_site: perSite } = this.#options.config
    const limits = this.#options.limitsOf(mailboxProvider)
    const shaped = this.#options.sandbox === null ? limits?.connections : undefined
    return {
      group: limits === undefined ? `site ${site}` : `provider ${mailboxProvider}`,
      limit: Math.min(perSite, shaped ?? perSite),
    }
  }
}
