import { setMaxListeners } from 'node:events'
import { type Clock, type Log, messageOf } from '#base'
import type { Config } from '#config'
import { type Claim, type Priority, type Queue, type Settlement, STRONG_PRIORITIES } from '#queue'
import type { RouteRequest } from '#routing'
import { type Attempted, type AttemptParts, attempt } from './attempt.ts'
import { type Cage, type Carry, keyOf, type Opened } from './carry.ts'
import type { Destination, RecipientResult } from './contract.ts'
import type { Destinations, Resolved } from './direct/destinations.ts'
import { LaneGroups } from './lane-groups.ts'
import type { Pool } from './pool.ts'
import { siteWaitMs } from './retry.ts'

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
/** A message whose attempt failed inside so often is held for a person to look at. */
const INTERNAL_ATTEMPTS = 2
/** Of the stop's deadline, this much is kept for settling what was cut off. */
const SETTLE_MS = 1000
/** Messages a lane carries before it makes room for another destination that waits. */
const TURN_MESSAGES = 10
/** Claims of a destination without hosts that are concluded in one commit. */
const FAILED_TOGETHER = 50
const MAX_REMEMBERED = 10_000

type Lane = {
  readonly domain: string
  readonly destination: Destination
  readonly group: string
  readonly priority: Priority
  readonly messagesPerConnection: number
}
type Done = {
  readonly settlements: readonly Settlement[]
  readonly opened: Opened | null
  /** The lane should end. */
  readonly rest: boolean
}

/**
 * Moves due mail: for each destination offered by the queue it runs lanes, each with one connection, that claim, attempt
 * and settle in turn. Settling the former and leasing the next share a commit. A destination that cannot be served now is
 * parked with a named reason or blocked until it is its turn, and holds back nobody else.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #queue: Queue
  readonly #clock: Clock
  readonly #abort = new AbortController()
  readonly #stopped = Promise.withResolvers<null>()
  readonly #lanes = new Set<Promise<void>>()
  readonly #groups: LaneGroups
  readonly #siteFailures = new Map<string, number>()
  readonly #failedInside = new Map<string, number>()
  readonly #unlisten: () => void
  #pumping = false
  #stopping = false

  constructor(options: DispatcherOptions) {
    this.#options = options
    this.#queue = options.queue
    this.#clock = options.clock
    this.#groups = new LaneGroups(options.clock, (domain) => this.#queue.unblock(domain))
    // One listener for each connection.
    setMaxListeners(0, this.#abort.signal)
    this.#unlisten = options.queue.onDue(() => this.#pump())
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
    this.#unlisten()
    this.#groups.stop()
    const cancel = this.#clock.after(Math.max(0, deadlineMs - SETTLE_MS), () =>
      this.#abort.abort(new Error('stopping')),
    )
    while (this.#lanes.size > 0) await Promise.all(this.#lanes)
    cancel()
    await this.#options.pool.close(Math.max(0, endMs - this.#clock.monotonicMs()))
  }

  #pump(): void {
    if (this.#pumping || this.#stopping) return
    this.#pumping = true
    setImmediate(() => {
      this.#pumping = false
      const { max_connections: max } = this.#options.config
      while (!this.#stopping && this.#lanes.size < max) {
        const next = this.#queue.nextDestination()
        if (next === null) return
        if (!STRONG_PRIORITIES.has(next.priority) && this.#lanes.size >= max * (1 - HEADROOM)) return
        this.#offer(next.domain, next.priority)
      }
    })
  }

  /** One lane is begun for a destination at a time; once it has claimed, the destination is offered again. */
  #offer(domain: string, priority: Priority): void {
    this.#queue.block(domain)
    const known = this.#known(domain)
    if (known?.kind === 'destination' && this.#mustWait(domain, known.destination)) return
    const lane = this.#run(domain, priority, known)
      .catch((error: unknown) => {
        this.#options.log.error({ domain, error: messageOf(error) }, 'a delivery lane failed')
        this.#queue.park(domain, this.#clock.now() + INTERNAL_RETRY_MS, 'internal-error')
        this.#queue.unblock(domain)
      })
      .finally(() => {
        this.#lanes.delete(lane)
        this.#pump()
      })
    this.#lanes.add(lane)
  }

  async #run(domain: string, priority: Priority, known: Resolved | undefined): Promise<void> {
    // Nothing is claimed yet, so a stop need not wait for the DNS.
    const resolved = known ?? (await Promise.race([this.#options.destinations.resolve(domain), this.#stopped.promise]))
    if (resolved === null || this.#stopping) return
    if (resolved.kind !== 'destination') {
      await this.#failAll(domain, resolved)
      this.#queue.unblock(domain)
      return
    }
    const { destination } = resolved
    if (this.#mustWait(domain, destination)) return
    const group = this.#groupOf(destination)
    this.#groups.enter(group, this.#limitOf(destination))
    try {
      await this.#serve({
        domain,
        destination,
        group,
        priority,
        messagesPerConnection: this.#messagesPerConnection(destination.mailboxProvider),
      })
    } finally {
      this.#groups.leave(group)
    }
  }

  async #serve(lane: Lane): Promise<void> {
    const { domain, destination, priority } = lane
    let opened: Opened | null = null
    let unsettled: readonly Settlement[] = []
    let relay: string | null = null
    let blocked = true
    try {
      for (let carried = 0; !this.#stopping; carried++) {
        if (carried >= TURN_MESSAGES && this.#othersWait(lane)) break
        if (this.#queue.dueFor(domain) === 0) break
        const decision = await this.#options.router.choose(
          requestOf(domain, destination.mailboxProvider, priority, null),
        )
        if (decision.kind === 'wait') {
          this.#queue.park(domain, decision.untilMs, decision.reason)
          break
        }
        const wanted: string | null = decision.smarthost === null ? null : `relay ${decision.provider.id}`
        if (wanted !== relay) {
          if (relay !== null) this.#groups.leave(relay)
          relay = null
          if (wanted !== null && !this.#groups.enter(wanted, this.#options.config.connections_per_site)) {
            this.#options.router.release(decision)
            this.#queue.block(domain)
            this.#groups.hold(wanted, domain)
            blocked = false
            break
          }
          relay = wanted
        }
        const claiming = this.#claim(domain, decision)
        // Taken from the schedule already: another lane may begin on what is left.
        if (blocked) this.#queue.unblock(domain)
        blocked = false
        const [claim] = await Promise.all([claiming, this.#settle(unsettled)])
        unsettled = []
        if (claim === undefined) {
          this.#options.router.release(decision)
          break
        }
        const done = await this.#one(claim, decision, lane, relay, opened)
        opened = done.opened
        unsettled = done.settlements
        if (done.rest) break
      }
    } finally {
      if (blocked) this.#queue.unblock(domain)
      if (relay !== null) this.#groups.leave(relay)
      await this.#end(unsettled, opened, lane.messagesPerConnection)
    }
  }

  async #claim(domain: string, decision: Carry): Promise<Claim | undefined> {
    try {
      const claims = await this.#queue.claim(domain, this.#options.maxRecipients)
      return claims[0]
    } catch (error) {
      this.#options.router.release(decision)
      throw error
    }
  }

  /** A connection is only given to others once what it carried is recorded. */
  async #end(unsettled: readonly Settlement[], opened: Opened | null, messagesPerConnection: number): Promise<void> {
    try {
      await this.#settle(unsettled)
    } catch (error) {
      if (opened !== null) this.#options.carrier.discard(opened)
      throw error
    }
    if (opened !== null) this.#options.carrier.giveBack(opened, messagesPerConnection)
  }

  async #one(claim: Claim, decided: Carry, lane: Lane, relay: string | null, held: Opened | null): Promise<Done> {
    const { message } = claim
    const { destination, messagesPerConnection } = lane
    const { router, carrier, sandbox } = this.#options
    const nowMs = this.#clock.now()
    if (message.expiresMs <= nowMs) {
      router.release(decided)
      const context = { trace: null, provider: decided.provider, nowMs, counters: [] }
      const settlements = await Promise.all(
        claim.recipients.map((recipient) => this.#options.concluder.expire(claim, recipient, context)),
      )
      return { settlements, opened: held, rest: false }
    }
    if (sandbox !== null && !message.sandbox) {
      router.release(decided)
      return { settlements: back(claim, nowMs, 'held', 'sandbox-mode'), opened: held, rest: false }
    }
    let decision: Carry = decided
    if (message.route !== null && message.route !== decided.provider.name) {
      router.release(decided)
      const again = await router.choose(
        requestOf(destination.domain, destination.mailboxProvider, message.priority, message.route),
      )
      if (again.kind === 'wait')
        return { settlements: back(claim, nowMs, 'deferred', again.reason, again.untilMs), opened: held, rest: false }
      decision = again
    }
    const cage = message.sandbox ? (sandbox ?? this.#options.cage) : null
    let usable = held
    if (
      held !== null &&
      (held.key !== keyOf(decision, destination, cage) ||
        !held.connection.usable ||
        held.connection.messagesSent >= messagesPerConnection)
    ) {
      carrier.giveBack(held, messagesPerConnection)
      usable = null
    }
    const teaches = cage === null || sandbox !== null
    const way = { decision, destination, cage, messagesPerConnection, teaches }
    try {
      const done = await attempt(claim, way, usable, this.#options, this.#abort.signal)
      this.#learn(lane, decision, relay, done)
      this.#failedInside.delete(message.id)
      return { settlements: done.settlements, opened: done.opened, rest: done.unreachable }
    } catch (error) {
      // A bug, or the store. The mail is safe: it is tried again, and held when it fails like this again.
      this.#options.log.error({ message_id: message.id, error: messageOf(error) }, 'an attempt failed inside')
      router.release(decision)
      const failures = remembered(this.#failedInside, message.id)
      if (failures >= INTERNAL_ATTEMPTS) this.#failedInside.delete(message.id)
      return {
        settlements:
          failures >= INTERNAL_ATTEMPTS
            ? back(claim, nowMs, 'held', 'internal-error')
            : back(claim, nowMs, 'deferred', 'internal-error', nowMs + INTERNAL_RETRY_MS, true),
        opened: null,
        rest: false,
      }
    }
  }

  async #settle(settlements: readonly Settlement[]): Promise<void> {
    if (settlements.length === 0) return
    await this.#queue.settle(settlements)
    for (const { to, messageId } of settlements) if (to !== 'deferred') this.#options.signer.forget(messageId)
  }

  #known(domain: string): Resolved | undefined {
    return this.#options.sandbox === null
      ? this.#options.destinations.known(domain)
      : { kind: 'destination', destination: this.#sinkFor(domain) }
  }

  #sinkFor(domain: string): Destination {
    return { domain, hosts: [], site: 'sandbox sink', mailboxProvider: this.#options.mailboxProviderOf(domain) }
  }

  /** The domain has no MX to try: each due recipient ends, or waits, with that reason. */
  async #failAll(domain: string, resolved: Exclude<Resolved, { kind: 'destination' }>): Promise<void> {
    while (!this.#stopping) {
      const claiming = Array.from({ length: FAILED_TOGETHER }, () =>
        this.#queue.claim(domain, this.#options.maxRecipients),
      )
      const claims = (await Promise.all(claiming)).flat()
      if (claims.length === 0) return
      const settlements: Settlement[] = []
      for (const claim of claims) settlements.push(...(await this.#failOne(claim, resolved)))
      await this.#settle(settlements)
    }
  }

  async #failOne(claim: Claim, resolved: Exclude<Resolved, { kind: 'destination' }>): Promise<readonly Settlement[]> {
    const { concluder, sandbox } = this.#options
    const nowMs = this.#clock.now()
    const { message, recipients } = claim
    // Sandbox mail goes to the sink, whatever the DNS says of its domain.
    if (message.sandbox && sandbox === null && message.expiresMs > nowMs) return this.#toSink(claim)
    const provider = { id: 'own', name: 'own', kind: 'own' as const }
    const context = { trace: noTrace(nowMs), provider, nowMs, counters: [] }
    const common = { stage: 'dns' as const, reply: null, reason: resolved.reason }
    const result: RecipientResult =
      resolved.kind === 'refused'
        ? { kind: 'refused', ...common, status: resolved.status }
        : // RFC 3463 §3.4: directory server failure
          { kind: 'deferred', ...common, status: '4.4.3', infrastructure: true }
    const settlements: Settlement[] = []
    for (const recipient of recipients)
      settlements.push(
        message.expiresMs <= nowMs
          ? await concluder.expire(claim, recipient, { ...context, trace: null })
          : await concluder.conclude(claim, recipient, result, context),
      )
    return settlements
  }

  async #toSink(claim: Claim): Promise<readonly Settlement[]> {
    const domain = claim.recipients[0]!.domain
    const destination = this.#sinkFor(domain)
    const { mailboxProvider } = destination
    const { priority } = claim.message
    const decision = await this.#options.router.choose(requestOf(domain, mailboxProvider, priority, null))
    if (decision.kind === 'wait') return back(claim, this.#clock.now(), 'deferred', decision.reason, decision.untilMs)
    const messagesPerConnection = this.#messagesPerConnection(mailboxProvider)
    const lane: Lane = { domain, destination, group: '', priority, messagesPerConnection }
    const done = await this.#one(claim, decision, lane, null, null)
    if (done.opened !== null) this.#options.carrier.giveBack(done.opened, messagesPerConnection)
    return done.settlements
  }

  /** A site without any answer rests, longer each time; one that answers others of its lanes gets fewer. */
  #learn({ domain, destination, group }: Lane, decision: Carry, relay: string | null, done: Attempted): void {
    if (this.#stopping) return
    const limit = this.#limitOf(destination)
    if (done.answered) {
      this.#groups.answered(group, limit)
      if (relay !== null) this.#groups.answered(relay, this.#options.config.connections_per_site)
      this.#siteFailures.delete(destination.site)
      return
    }
    if (!done.unreachable) return
    if (decision.smarthost !== null) {
      if (relay !== null) this.#groups.failed(relay)
      return
    }
    if (this.#groups.failed(group)) return
    const failures = remembered(this.#siteFailures, destination.site)
    this.#queue.park(domain, this.#clock.now() + siteWaitMs(failures), 'destination-unreachable')
  }

  #groupOf(destination: Destination): string {
    return this.#options.limitsOf(destination.mailboxProvider) === undefined
      ? `site ${destination.site}`
      : `provider ${destination.mailboxProvider}`
  }

  #limitOf(destination: Destination): number {
    const { connections_per_site: perSite } = this.#options.config
    const shaped =
      this.#options.sandbox === null ? this.#options.limitsOf(destination.mailboxProvider)?.connections : undefined
    return Math.min(perSite, shaped ?? perSite)
  }

  #messagesPerConnection(mailboxProvider: string): number {
    return (
      this.#options.limitsOf(mailboxProvider)?.messagesPerConnection ?? this.#options.config.messages_per_connection
    )
  }

  /** The destination has all the lanes it may have: it stays blocked until one comes free. */
  #mustWait(domain: string, destination: Destination): boolean {
    const group = this.#groupOf(destination)
    if (!this.#groups.full(group, this.#limitOf(destination))) return false
    this.#groups.hold(group, domain)
    return true
  }

  #othersWait({ group, domain }: Lane): boolean {
    return (
      this.#groups.crowded(group, domain) || this.#lanes.size >= this.#options.config.max_connections * (1 - HEADROOM)
    )
  }
}

/** Counts one more for this name, and forgets the oldest name when there are too many. */
function remembered(counts: Map<string, number>, name: string): number {
  const count = (counts.get(name) ?? 0) + 1
  counts.delete(name)
  if (counts.size >= MAX_REMEMBERED) counts.delete(counts.keys().next().value!)
  counts.set(name, count)
  return count
}

function requestOf(
  domain: string,
  mailboxProvider: string,
  priority: Priority,
  preferred: string | null,
): RouteRequest {
  return { domain, mailboxProvider, priority, preferred }
}

/** The whole claim back to the queue, or on hold, without an attempt that counts. */
function back(
  claim: Claim,
  atMs: number,
  to: 'deferred' | 'held',
  reason: string,
  dueMs?: number,
  countsAsAttempt = false,
): readonly Settlement[] {
  return claim.recipients.map((recipient) => ({
    messageId: claim.message.id,
    key: recipient.key,
    fence: recipient.fence,
    to,
    atMs,
    ...(dueMs === undefined ? {} : { dueMs }),
    reason,
    countsAsAttempt,
    ambiguous: false,
    attempt: null,
    events: [],
    suppressions: [],
    counters: [],
    spawn: null,
  }))
}

function noTrace(nowMs: number) {
  return { startedMs: nowMs, endedMs: nowMs, source: '', remoteHost: '', remoteAddress: '', tls: '', transcript: null }
}
