import { type Clock, type Log, messageOf } from '#base'
import type { Config } from '#config'
import { type Claim, type Priority, type Queue, type Settlement, STRONG_PRIORITIES } from '#queue'
import type { RouteRequest } from '#routing'
import { type AttemptParts, attempt } from './attempt.ts'
import { type Cage, type Carry, keyOf, type Opened } from './carry.ts'
import type { Destination } from './contract.ts'
import type { Destinations, Resolved } from './direct/destinations.ts'
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
/** Of the stop's deadline, this much is kept for settling what was cut off. */
const SETTLE_MS = 1000

/**
 * Moves due mail: for each destination offered by the queue it runs lanes, each with one connection, that claim, attempt
 * and settle in turn. Settling the former and leasing the next share a commit. A destination that cannot be served now is
 * parked with a named reason or blocked until one of its lanes ends, and holds back nobody else.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #queue: Queue
  readonly #clock: Clock
  readonly #abort = new AbortController()
  readonly #lanes = new Set<Promise<void>>()
  readonly #groupLanes = new Map<string, number>()
  readonly #blocked = new Map<string, Set<string>>()
  readonly #siteFailures = new Map<string, number>()
  readonly #unlisten: () => void
  #pumping = false
  #stopping = false

  constructor(options: DispatcherOptions) {
    this.#options = options
    this.#queue = options.queue
    this.#clock = options.clock
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
    this.#stopping = true
    this.#unlisten()
    const cancel = this.#clock.after(Math.max(0, deadlineMs - SETTLE_MS), () =>
      this.#abort.abort(new Error('stopping')),
    )
    while (this.#lanes.size > 0) await Promise.all(this.#lanes)
    cancel()
    await this.#options.pool.close()
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
    const lane = this.#run(domain, priority)
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

  async #run(domain: string, priority: Priority): Promise<void> {
    const resolved = await this.#resolve(domain)
    if (resolved.kind !== 'destination') {
      await this.#failAll(domain, resolved)
      this.#queue.unblock(domain)
      return
    }
    const { destination } = resolved
    const group = this.#groupOf(destination)
    const lanes = this.#groupLanes.get(group) ?? 0
    if (lanes >= this.#limitOf(destination)) {
      this.#holdBack(group, domain)
      return
    }
    this.#groupLanes.set(group, lanes + 1)
    try {
      await this.#serve(domain, destination, priority)
    } finally {
      this.#leave(group)
    }
  }

  async #serve(domain: string, destination: Destination, priority: Priority): Promise<void> {
    const { mailboxProvider } = destination
    const per =
      this.#options.limitsOf(mailboxProvider)?.messagesPerConnection ?? this.#options.config.messages_per_connection
    let opened: Opened | null = null
    let unsettled: readonly Settlement[] = []
    let first = true
    try {
      while (!this.#stopping) {
        const decision = await this.#options.router.choose(requestOf(domain, mailboxProvider, priority, null))
        if (decision.kind === 'wait') {
          this.#queue.park(domain, decision.untilMs, decision.reason)
          break
        }
        const claiming = this.#queue.claim(domain, this.#options.maxRecipients)
        // Taken from the schedule already: another lane may begin on what is left.
        if (first) this.#queue.unblock(domain)
        first = false
        const [claims] = await Promise.all([claiming, this.#settle(unsettled)])
        unsettled = []
        const claim = claims[0]
        if (claim === undefined) {
          this.#options.router.release(decision)
          break
        }
        const done = await this.#one(claim, decision, destination, per, opened)
        opened = done.opened
        unsettled = done.settlements
        if (done.rest) break
      }
    } finally {
      if (first) this.#queue.unblock(domain)
      await this.#settle(unsettled)
      if (opened !== null) this.#options.carrier.giveBack(opened, per)
    }
  }

  async #one(
    claim: Claim,
    decided: Carry,
    destination: Destination,
    per: number,
    held: Opened | null,
  ): Promise<{ readonly settlements: readonly Settlement[]; readonly opened: Opened | null; readonly rest: boolean }> {
    const { message } = claim
    const nowMs = this.#clock.now()
    if (message.expiresMs <= nowMs) {
      this.#options.router.release(decided)
      const context = { trace: null, provider: decided.provider, nowMs, counters: [] }
      const settlements = await Promise.all(
        claim.recipients.map((recipient) => this.#options.concluder.expire(claim, recipient, context)),
      )
      return { settlements, opened: held, rest: false }
    }
    if (this.#options.sandbox !== null && !message.sandbox) {
      this.#options.router.release(decided)
      return { settlements: back(claim, nowMs, 'held', 'sandbox-mode'), opened: held, rest: false }
    }
    let decision: Carry = decided
    if (message.route !== null && message.route !== decided.provider.name) {
      this.#options.router.release(decided)
      const again = await this.#options.router.choose(
        requestOf(destination.domain, destination.mailboxProvider, message.priority, message.route),
      )
      if (again.kind === 'wait')
        return { settlements: back(claim, nowMs, 'deferred', again.reason, again.untilMs), opened: held, rest: false }
      decision = again
    }
    const cage = message.sandbox ? (this.#options.sandbox ?? this.#options.cage) : null
    let usable = held
    if (
      held !== null &&
      (held.key !== keyOf(decision, destination, cage) ||
        !held.connection.usable ||
        held.connection.messagesSent >= per)
    ) {
      this.#options.carrier.giveBack(held, per)
      usable = null
    }
    try {
      const done = await attempt(claim, decision, destination, cage, per, usable, this.#options, this.#abort.signal)
      if (decision.provider.kind === 'own' && cage === null) this.#siteTold(destination, done.unreachable)
      return { settlements: done.settlements, opened: done.opened, rest: done.unreachable }
    } catch (error) {
      // A bug, or the store. The mail is safe: it is tried again, and held when it fails like this again and again.
      this.#options.log.error({ message_id: message.id, error: messageOf(error) }, 'an attempt failed inside')
      this.#options.router.release(decision)
      usable?.connection.destroy()
      const poisoned = claim.recipients.some((recipient) => recipient.attempts > 0 && recipient.fence > 2)
      return {
        settlements: poisoned
          ? back(claim, nowMs, 'held', 'internal-error')
          : back(claim, nowMs, 'deferred', 'internal-error', nowMs + INTERNAL_RETRY_MS, true),
        opened: null,
        rest: true,
      }
    }
  }

  async #settle(settlements: readonly Settlement[]): Promise<void> {
    if (settlements.length === 0) return
    await this.#queue.settle(settlements)
    for (const { to, messageId } of settlements) if (to !== 'deferred') this.#options.signer.forget(messageId)
  }

  async #resolve(domain: string): Promise<Resolved> {
    if (this.#options.sandbox === null)
      return this.#options.destinations.known(domain) ?? this.#options.destinations.resolve(domain)
    const mailboxProvider = this.#options.mailboxProviderOf(domain)
    return { kind: 'destination', destination: { domain, hosts: [], site: 'sandbox sink', mailboxProvider } }
  }

  /** The domain has no MX to try: each due recipient ends, or waits, with that reason. */
  async #failAll(domain: string, resolved: Exclude<Resolved, { kind: 'destination' }>): Promise<void> {
    for (;;) {
      const claims = await this.#queue.claim(domain, this.#options.maxRecipients)
      if (claims.length === 0 || this.#stopping) break
      const nowMs = this.#clock.now()
      const context = {
        trace: noTrace(nowMs),
        provider: { id: 'own', name: 'own', kind: 'own' as const },
        nowMs,
        counters: [],
      }
      const { concluder } = this.#options
      const settlements = await Promise.all(
        claims.flatMap((claim) =>
          claim.recipients.map((recipient) => {
            if (claim.message.expiresMs <= nowMs) return concluder.expire(claim, recipient, { ...context, trace: null })
            const common = { stage: 'dns' as const, reply: null, reason: resolved.reason }
            return resolved.kind === 'refused'
              ? concluder.conclude(claim, recipient, { kind: 'refused', ...common, status: resolved.status }, context)
              : // RFC 3463 §3.4: directory server failure
                concluder.conclude(
                  claim,
                  recipient,
                  { kind: 'deferred', ...common, status: '4.4.3', infrastructure: true },
                  context,
                )
          }),
        ),
      )
      await this.#settle(settlements)
    }
  }

  /** A site without any answer rests, longer each time, unless another lane has it on the line. */
  #siteTold(destination: Destination, unreachable: boolean): void {
    const { site, domain } = destination
    if (!unreachable) {
      this.#siteFailures.delete(site)
      return
    }
    const failures = (this.#siteFailures.get(site) ?? 0) + 1
    this.#siteFailures.set(site, failures)
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

  /** Stays blocked until a lane of its group ends. */
  #holdBack(group: string, domain: string): void {
    const waiting = this.#blocked.get(group)
    if (waiting === undefined) this.#blocked.set(group, new Set([domain]))
    else waiting.add(domain)
  }

  #leave(group: string): void {
    const lanes = (this.#groupLanes.get(group) ?? 1) - 1
    if (lanes === 0) this.#groupLanes.delete(group)
    else this.#groupLanes.set(group, lanes)
    const waiting = this.#blocked.get(group)
    if (waiting === undefined) return
    this.#blocked.delete(group)
    for (const domain of waiting) this.#queue.unblock(domain)
  }
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
