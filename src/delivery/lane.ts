import { isMachineError, messageOf } from '#base'
import type { Claim, Priority, Settlement } from '#queue'
import { attempt, demandOf, type Ending } from './attempt.ts'
import { type Cage, type Carry, keyOf, type Opened, type OpenResult, type Place } from './carry.ts'
import type { Destination } from './contract.ts'
import type { DispatcherOptions } from './dispatcher.ts'
import type { LaneGroups } from './lane-groups.ts'
import type { LaneWatch, Watched } from './lane-watch.ts'
import { learn } from './learn.ts'
import { back } from './settlements.ts'
import type { SiteMemory } from './site-memory.ts'

/** What lanes share. */
export type LaneParts = {
  readonly options: DispatcherOptions
  readonly groups: LaneGroups
  readonly sites: SiteMemory
  readonly watch: LaneWatch
  /** Messages whose attempt failed inside, with how often. */
  readonly failedInside: Map<string, number>
  readonly stop: AbortSignal
  stopping(): boolean
  /** Others wait for any lane at all. */
  crowded(): boolean
}

export type LaneStart = {
  readonly domain: string
  /** Without hosts when a relay was expected to carry it: nobody asked for its MX then. */
  readonly destination: Destination
  /** Its site or mailbox provider, and how many lanes that may have; null: it needs no place there (a relay carries it). */
  readonly place: Place | null
  readonly priority: Priority
  readonly messagesPerConnection: number
}

/** How a lane ended: `wants-mx` when direct delivery is to carry it after all and its hosts are not known. */
export type LaneEnd = 'done' | 'wants-mx'

type Done = {
  readonly settlements: readonly Settlement[]
  /** The lane should end. */
  readonly rest: boolean
  /** The group that the domain is to wait in. */
  readonly waitIn?: string
  readonly wantsMx?: boolean
}

const INTERNAL_RETRY_MS = 60_000
/** A message whose attempt failed inside so often is held for a person to look at. */
const INTERNAL_ATTEMPTS = 2
/** Messages a lane carries before it makes room for another destination that waits. */
const TURN_MESSAGES = 10
const MAX_REMEMBERED = 10_000
const RELAY_RETRY_MS = 30_000

/** Mail to one mailbox provider waits for a route together. */
export function routeGroup(mailboxProvider: string): string {
  return `route ${mailboxProvider}`
}

/**
 * One connection at work for one domain: claims, attempts and settles in turn. Settling the former message and leasing the
 * next share a commit. The domain is blocked when a lane is made; it is unblocked once the first message is claimed.
 */
export class Lane {
  readonly #start: LaneStart
  readonly #parts: LaneParts
  readonly #options: DispatcherOptions
  readonly #watched: Watched | null
  readonly #routeGroup: string
  readonly #families: { readonly families?: ReadonlySet<4 | 6> }
  #opened: Opened | null = null
  #relay: string | null = null
  #blocked = true

  constructor(start: LaneStart, parts: LaneParts) {
    this.#start = start
    this.#parts = parts
    this.#options = parts.options
    const { place, destination } = start
    this.#routeGroup = routeGroup(destination.mailboxProvider)
    this.#families = destination.hosts.length === 0 ? {} : { families: familiesOf(destination) }
    if (place !== null) parts.groups.take(place.group, place.limit)
    this.#watched = place === null ? null : parts.watch.add(place.group)
  }

  async run(): Promise<LaneEnd> {
    const { groups, watch } = this.#parts
    const { domain, place } = this.#start
    let unsettled: readonly Settlement[] = []
    let end: LaneEnd = 'done'
    try {
      for (let carried = 0; !this.#parts.stopping(); carried++) {
        if (carried >= TURN_MESSAGES && this.#othersWait()) break
        const decision = await this.#choose()
        if (decision === null) break
        if (decision === 'wants-mx') {
          end = this.#wantsMx()
          break
        }
        const claiming = this.#claim(decision)
        // Taken from the schedule already: another lane may begin on what is left.
        if (this.#blocked) this.#options.queue.unblock(domain)
        this.#blocked = false
        const [claim] = await Promise.all([claiming, this.#settle(unsettled)])
        unsettled = []
        if (claim === undefined) {
          this.#options.router.release(decision)
          break
        }
        const done = await this.#one(claim, this.#justFor(claim, decision))
        unsettled = done.settlements
        if (done.waitIn !== undefined) this.#hold(done.waitIn)
        if (done.wantsMx) end = this.#wantsMx()
        if (done.rest) break
      }
    } finally {
      if (this.#blocked) this.#options.queue.unblock(domain)
      // The places are given up with the connection, not before.
      await this.#finish(unsettled).finally(() => {
        if (this.#relay !== null) groups.leave(this.#relay)
        if (this.#watched !== null) watch.remove(this.#watched)
        if (place !== null) groups.leave(place.group)
      })
    }
    return end
  }

  /** Carries one message that is claimed already, and settles it. */
  async carry(claim: Claim): Promise<void> {
    const { message, recipients } = claim
    const { clock } = this.#options
    this.#blocked = false
    let unsettled: readonly Settlement[] = []
    try {
      const decision = await this.#preferred(claim, message.route, clock.now())
      const done = 'settlements' in decision ? decision : await this.#attempt(claim, decision)
      const waits = done.waitIn !== undefined || done.wantsMx === true
      unsettled = waits
        ? back({ message, recipients }, clock.now(), 'deferred', 'relay-concurrency', clock.now() + RELAY_RETRY_MS)
        : done.settlements
    } finally {
      await this.#finish(unsettled).finally(() => {
        if (this.#relay !== null) this.#parts.groups.leave(this.#relay)
      })
    }
  }

  /** Who carries the next message, with a place there; null: the domain waits, or has nothing due. */
  async #choose(): Promise<Carry | 'wants-mx' | null> {
    const { domain, destination, priority } = this.#start
    const { router, queue, maxRecipients } = this.#options
    const due = queue.dueFor(domain)
    if (due === 0) return null
    const { mailboxProvider } = destination
    const recipients = Math.min(maxRecipients, due)
    const decision = await router.choose({
      domain,
      mailboxProvider,
      priority,
      preferred: null,
      ...this.#families,
      recipients,
    })
    if (decision.kind === 'wait') {
      // Of this domain's own kind, or the same for all of the mailbox provider.
      if (decision.reason === 'no-source-address') queue.park(domain, decision.untilMs, decision.reason)
      else {
        this.#parts.groups.pause(this.#routeGroup, decision.untilMs, decision.reason)
        this.#hold(this.#routeGroup)
      }
      return null
    }
    this.#parts.groups.goesOn(this.#routeGroup)
    if (this.#needsHosts(decision)) {
      router.release(decision)
      return 'wants-mx'
    }
    const relay = relayOf(decision)
    if (this.#opened === null ? this.#enterRelay(relay) : relay === this.#relay) return decision
    router.release(decision)
    // What the connection carried is not recorded yet, so it is not given back: another lane goes that other way.
    if (this.#opened === null) this.#hold(relay!)
    return null
  }

  #needsHosts(decision: Carry): boolean {
    return decision.smarthost === null && this.#start.destination.hosts.length === 0 && this.#options.sandbox === null
  }

  async #claim(decision: Carry): Promise<Claim | undefined> {
    try {
      const claims = await this.#options.queue.claim(this.#start.domain, decision.recipients)
      return claims[0]
    } catch (error) {
      this.#options.router.release(decision)
      throw error
    }
  }

  /** The decision for as many recipients as there are. */
  #justFor({ recipients }: Claim, decision: Carry): Carry {
    const unused = decision.recipients - recipients.length
    if (unused === 0) return decision
    this.#options.router.release(decision, unused)
    return { ...decision, recipients: recipients.length }
  }

  /** A connection is only given to others once what it carried is recorded. */
  async #finish(unsettled: readonly Settlement[]): Promise<void> {
    try {
      await this.#settle(unsettled)
    } catch (error) {
      if (this.#opened !== null) this.#options.carrier.discard(this.#opened)
      throw error
    }
    this.#giveBack()
  }

  /** One message: what need not be tried, the way it asks for, and the attempt. */
  async #one(claim: Claim, decided: Carry): Promise<Done> {
    const { message } = claim
    const { router, sandbox, clock } = this.#options
    const nowMs = clock.now()
    if (message.expiresMs <= nowMs) {
      router.release(decided)
      const context = { trace: null, provider: decided.provider, nowMs, counters: [] }
      const settlements = await Promise.all(
        claim.recipients.map((recipient) => this.#options.concluder.expire(claim, recipient, context)),
      )
      return { settlements, rest: false }
    }
    if (sandbox !== null && !message.sandbox) {
      router.release(decided)
      return { settlements: back(claim, nowMs, 'held', 'sandbox-mode'), rest: false }
    }
    if (message.route === null || message.route === decided.provider.name) return this.#attempt(claim, decided)
    router.release(decided)
    const preferred = await this.#preferred(claim, message.route, nowMs)
    return 'settlements' in preferred ? preferred : this.#attempt(claim, preferred)
  }

  async #attempt(claim: Claim, decision: Carry): Promise<Done> {
    const { message } = claim
    const { destination, messagesPerConnection } = this.#start
    const { router, sandbox, clock } = this.#options
    const cage = message.sandbox ? (sandbox ?? this.#options.cage) : null
    const demand = demandOf(message)
    const held = this.#opened
    if (
      held !== null &&
      (held.key !== keyOf(decision, destination, cage, demand) ||
        !held.connection.usable ||
        held.connection.messagesSent >= messagesPerConnection)
    )
      this.#giveBack()
    const teaches = cage === null || sandbox !== null
    const place = this.#placeOf(decision, cage)
    const way = { decision, destination, cage, demand, messagesPerConnection, teaches, place }
    try {
      const done = await attempt(claim, way, this.#opened, this.#options, this.#ending())
      this.#opened = done.opened
      const rests = learn(this.#start, { relay: this.#relay, watched: this.#watched }, decision, done, this.#parts)
      this.#parts.failedInside.delete(message.id)
      return { settlements: done.settlements, rest: rests || done.unreachable !== false || done.cutOff }
    } catch (error) {
      this.#opened = null
      router.release(decision)
      return { settlements: this.#failedInside(claim, clock.now(), error), rest: false }
    }
  }

  /** The way a message asks for, with a place there; or what becomes of it without. */
  async #preferred(claim: Claim, route: string | null, nowMs: number): Promise<Carry | Done> {
    const { domain, destination } = this.#start
    const { router } = this.#options
    const { mailboxProvider } = destination
    const decision = await router.choose({
      ...{ domain, mailboxProvider, priority: claim.message.priority, preferred: route },
      recipients: claim.recipients.length,
    })
    if (decision.kind === 'wait')
      return { settlements: back(claim, nowMs, 'deferred', decision.reason, decision.untilMs), rest: false }
    if (this.#needsHosts(decision) && !claim.message.sandbox) {
      router.release(decision)
      return { settlements: back(claim, nowMs, 'ready', 'wants-mx'), rest: true, wantsMx: true }
    }
    // Less was granted than is leased already: the day's volume is nearly out.
    if (decision.recipients < claim.recipients.length) {
      router.release(decision)
      return { settlements: back(claim, nowMs, 'deferred', 'warmup-cap', nowMs + INTERNAL_RETRY_MS), rest: false }
    }
    const relay = relayOf(decision)
    if (relay !== this.#relay) this.#giveBack()
    if (this.#enterRelay(relay)) return decision
    router.release(decision)
    return { settlements: back(claim, nowMs, 'ready', 'relay-concurrency'), rest: true, waitIn: relay! }
  }

  /** A bug, or the store. The mail is safe: it is tried again, and held when it fails like this again. */
  #failedInside(claim: Claim, nowMs: number, error: unknown): readonly Settlement[] {
    const { id } = claim.message
    const { failedInside } = this.#parts
    this.#options.log.error({ message_id: id, error: messageOf(error) }, 'an attempt failed inside')
    // No descriptors, a disk that cannot be read: nothing that the message did, and nothing that holding it would mend.
    if (isMachineError(error)) return back(claim, nowMs, 'deferred', 'machine-error', nowMs + INTERNAL_RETRY_MS)
    const failures = (failedInside.get(id) ?? 0) + 1
    failedInside.delete(id)
    if (failures >= INTERNAL_ATTEMPTS) return back(claim, nowMs, 'held', 'internal-error')
    if (failedInside.size >= MAX_REMEMBERED) failedInside.delete(failedInside.keys().next().value!)
    failedInside.set(id, failures)
    return back(claim, nowMs, 'deferred', 'internal-error', nowMs + INTERNAL_RETRY_MS, true)
  }

  #ending(): Ending {
    const { stop } = this.#parts
    const watched = this.#watched
    return {
      stop,
      async opening(open: (signal: AbortSignal) => Promise<OpenResult>): Promise<OpenResult> {
        if (watched === null) return open(stop)
        const cut = new AbortController()
        watched.cut = () => cut.abort(new Error('room is needed for others'))
        try {
          return await open(AbortSignal.any([stop, cut.signal]))
        } finally {
          watched.cut = null
        }
      },
    }
  }

  async #settle(settlements: readonly Settlement[]): Promise<void> {
    if (settlements.length === 0) return
    await this.#options.queue.settle(settlements)
    for (const { to, messageId } of settlements)
      if (to !== 'deferred' && to !== 'ready') this.#options.signer.forget(messageId)
  }

  #placeOf(decision: Carry, cage: Cage | null): Place {
    const limit = this.#options.config.connections_per_site
    if (cage !== null) return { group: 'sink', limit }
    const relay = relayOf(decision)
    return relay === null ? this.#start.place! : { group: relay, limit }
  }

  #giveBack(): void {
    if (this.#opened !== null) this.#options.carrier.giveBack(this.#opened, this.#start.messagesPerConnection)
    this.#opened = null
  }

  /** Moves from the relay it had a place at to this one; false: there is no place. */
  #enterRelay(relay: string | null): boolean {
    const { groups } = this.#parts
    if (relay === this.#relay) return true
    if (this.#relay !== null) groups.leave(this.#relay)
    this.#relay = null
    if (relay !== null && !groups.enter(relay, this.#options.config.connections_per_site)) return false
    this.#relay = relay
    return true
  }

  /** The domain waits in this group, whatever else it has due. */
  #hold(group: string): void {
    const { domain, priority } = this.#start
    const paused = this.#parts.groups.paused(group)
    this.#options.queue.block(domain, paused?.reason, paused?.untilMs)
    this.#parts.groups.hold(group, domain, priority)
    this.#blocked = false
  }

  /** It stays blocked until its hosts are known. */
  #wantsMx(): LaneEnd {
    this.#options.queue.block(this.#start.domain)
    this.#blocked = false
    return 'wants-mx'
  }

  #othersWait(): boolean {
    const { place, domain } = this.#start
    const { groups } = this.#parts
    return (
      (place !== null && groups.crowded(place.group, domain)) ||
      (this.#relay !== null && groups.crowded(this.#relay, domain)) ||
      this.#parts.crowded()
    )
  }
}

function relayOf(decision: Carry): string | null {
  return decision.smarthost === null ? null : `relay ${decision.provider.id}`
}

function familiesOf({ hosts }: Destination): ReadonlySet<4 | 6> {
  const families = new Set<4 | 6>()
  for (const { addresses } of hosts) for (const address of addresses) families.add(address.includes(':') ? 6 : 4)
  return families
}
