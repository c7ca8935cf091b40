import { newId } from '#base'
import { OUTCOME_EVENTS } from '#events'
import { isFinal, type NewEvent, type NewMessage, type RecipientState } from '#queue'
import { type DnsEntry, type DnsServer, type ManualClock, manualClock, openDns, type TempDir, tempDir } from '#world'
import { ScenarioHosts } from './scenario-hosts.ts'
import type { Crash, DomainPlan, HostPlan, MessagePlan, Scenario, Step, WorldPlan } from './scenario-plan.ts'
import { ScenarioProcess } from './scenario-process.ts'

const MINUTE_MS = 60_000
/** Of the machine's time: a host that was not heard of for this long, and is not silent by its plan, is waited for no longer. */
const QUIET_MS = 60
/** Of the machine's time: what goes on for so long without time passing goes on for ever. */
const STUCK_MS = 60_000
/** Mail may end this much later than its lifetime says: the last look at it comes when somebody has time. */
export const LATE_MS = 3_600_000
const SENDER_DOMAIN = 'sending.test'

export type Tracked = {
  readonly id: string
  readonly scenario: number
  readonly plan: MessagePlan
  readonly message: NewMessage
  readonly addresses: readonly string[]
  acked: boolean
}

/** What somebody did, and from when on it must hold. */
export type Done = {
  readonly do: Step['do']
  readonly order: number
  readonly recipient: string
  readonly messageId: string
  /** Order of the release after a hold. */
  until: number
}

export type SeenEvent = {
  readonly type: string
  readonly message_id: string
  readonly recipient: string
  readonly detail: Readonly<Record<string, unknown>>
}

export type SeenRecipient = {
  readonly key: number
  readonly id: string
  readonly submitter: string
  readonly address: string
  readonly state: RecipientState
  readonly reason: string
  readonly uncertain: number
  readonly maybe_duplicate: number
  readonly settled_ms: number | null
  readonly expires_ms: number
  readonly notify: string | null
  readonly reverse_path: string
  readonly subject: string
}

/** What is left when all is over: for the rules of scenario-rules.ts. */
export type Aftermath = {
  readonly plan: WorldPlan
  readonly messages: readonly Tracked[]
  readonly recipients: readonly SeenRecipient[]
  readonly events: readonly SeenEvent[]
  readonly copies: ScenarioHosts['copies']
  readonly done: readonly Done[]
  /** Starts that ended without a stop. */
  readonly crashed: ReadonlySet<number>
  readonly problems: readonly string[]
  /** Questions that the name server was asked. */
  readonly questions: number
  readonly startMs: number
  readonly virtualMs: number
}

/** A miniature internet with one Relevo in it, played by a plan, on a clock that goes on when nobody has anything to do. */
export class ScenarioWorld {
  readonly #plan: WorldPlan
  readonly #clock: ManualClock = manualClock()
  readonly #startMs: number
  readonly #problems: string[] = []
  readonly #messages: Tracked[] = []
  readonly #done: Done[] = []
  readonly #crashed = new Set<number>()
  readonly #plans = new Map<string, HostPlan>()
  readonly #mute = new Set<string>()
  #dns!: DnsServer
  #hosts!: ScenarioHosts
  #directory!: TempDir
  #process!: ScenarioProcess
  #life = 0
  #order = 0
  #commands = 0
  #taken = 0
  #dead = false
  /** Crashes that are still to come. */
  #crashes: Crash[]

  private constructor(plan: WorldPlan) {
    this.#plan = plan
    this.#startMs = this.#clock.now()
    this.#crashes = [...plan.crashes]
  }

  static async play(plan: WorldPlan): Promise<Aftermath> {
    await using stack = new AsyncDisposableStack()
    const world = new ScenarioWorld(plan)
    world.#directory = stack.use(await tempDir('in memory'))
    world.#dns = stack.use(await openDns(world.#zones(), { negativeTtl: 5 }))
    world.#hosts = stack.use(
      await ScenarioHosts.open({
        plans: (address) => world.#plans.get(address),
        order: () => ++world.#order,
        life: () => world.#life,
        onCommand: () => world.#onCommand(),
        onTaken: (say) => world.#onTaken(say),
      }),
    )
    stack.defer(async () => {
      await world.#process.bury()
      await world.#clock.advance(MINUTE_MS)
    })
    await world.#start()
    await world.#addRelays()
    await world.#run().catch((error: unknown) => world.#problems.push(String(error)))
    return await world.#aftermath()
  }

  async #run(): Promise<void> {
    const todo = this.#agenda()
    const messages = this.#plan.scenarios.reduce((sum, scenario) => sum + scenario.messages.length, 0)
    const endMs = this.#startMs + this.#plan.lifetimeMin * 2 * MINUTE_MS + LATE_MS
    for (;;) {
      await this.#idle()
      if (this.#dead) await this.#restart()
      const nowMs = this.#clock.now()
      const next = todo[0]
      if (next !== undefined && next.atMs <= nowMs) {
        todo.shift()
        await this.#unlessKilled(next.act())
        continue
      }
      if (this.#messages.length === messages && (await this.#over())) return
      if (nowMs > endMs) return
      const waitMs = Math.max(1, (next?.atMs ?? endMs + 1) - nowMs)
      await this.#clock.advance(Math.min(waitMs, Math.max(0, this.#clock.nextInMs ?? waitMs)))
    }
  }

  /** Everything with a time of its own, in order. */
  #agenda(): { readonly atMs: number; act(): Promise<void> }[] {
    const at = (minute: number, act: () => Promise<void>) => ({ atMs: this.#startMs + minute * MINUTE_MS, act })
    const todo = this.#plan.scenarios.flatMap((scenario, s) => [
      ...scenario.messages.map((message) => at(message.atMin, () => this.#accept(s, scenario, message))),
      ...scenario.steps.map((step) => at(step.atMin, () => this.#step(s, step))),
      ...scenario.domains.flatMap((domain, d) =>
        domain.mendsAfterMin === null
          ? []
          : [at(domain.mendsAfterMin, async () => this.#setZone(s, d, { ...domain, dns: 'mx' }))],
      ),
    ])
    for (const crash of this.#plan.crashes) if (crash.at === 'minute') todo.push(at(crash.n, async () => this.#crash()))
    for (const minute of this.#plan.stops) todo.push(at(minute, () => this.#stop()))
    // What is still held then is let go, so that everything ends.
    todo.push(at(this.#plan.lifetimeMin + 30, () => this.#releaseAll()))
    return todo.sort((a, b) => a.atMs - b.atMs)
  }

  // Time

  /** Waits until nothing goes on by itself: each lane at work waits for a host or a name server that is silent by its plan. */
  async #idle(): Promise<void> {
    let seen = -1
    let sinceMs = performance.now()
    const beganMs = sinceMs
    for (let turns = 0; ; turns++) {
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#dead) return
      if (performance.now() - beganMs > STUCK_MS) throw new Error('something goes on for ever without time passing')
      const process = this.#process
      const activity = this.#hosts.activity + this.#dns.queries.length
      if (activity !== seen || process.busy) {
        seen = activity
        sinceMs = performance.now()
        turns = 0
        continue
      }
      if (process.lanes === 0 && turns > 2) return
      const mute = [...process.lookedUp].filter((domain) => this.#mute.has(domain)).length
      const quietMs = performance.now() - sinceMs
      if (process.lanes <= this.#hosts.silent + mute && quietMs > 1) return
      if (quietMs > QUIET_MS) return
    }
  }

  async #over(): Promise<boolean> {
    const { ready, leased, deferred, scheduled, held } = await this.#process.queue.counts()
    return ready + leased + deferred + scheduled + held === 0 && this.#process.lanes === 0
  }

  // The process

  async #start(): Promise<void> {
    this.#life += 1
    const life = this.#life
    this.#process = await ScenarioProcess.open({
      directory: this.#directory.path,
      clock: this.#clock,
      dnsServer: this.#dns.address,
      port: this.#hosts.port,
      lifetimeMs: this.#plan.lifetimeMin * MINUTE_MS,
      maxRecipients: this.#plan.maxRecipients,
      mailboxProviderOf: (domain) => domain.split('.').at(-2) ?? '',
      onEvents: () => {},
      onError: (what) => this.#problems.push(`start ${life}: ${what}`),
    })
  }

  #crash(): void {
    if (this.#dead) return
    this.#dead = true
    this.#crashed.add(this.#life)
    this.#process.kill()
    this.#hosts.cutAll()
  }

  async #restart(): Promise<void> {
    await this.#process.bury()
    await this.#start()
    this.#dead = false
  }

  async #stop(): Promise<void> {
    if (this.#dead) return
    let stopped = false
    const stopping = this.#process.stop(3000).then(() => {
      stopped = true
    })
    while (!stopped && !this.#dead) {
      await this.#idle()
      await this.#clock.advance(Math.min(100, this.#clock.nextInMs ?? 100))
    }
    if (this.#dead) return
    await stopping
    this.#hosts.cutAll()
    await this.#start()
  }

  /** What was asked of a process that died meanwhile is never answered. */
  async #unlessKilled(asked: Promise<void>): Promise<void> {
    let answered = false
    void asked.then(
      () => {
        answered = true
      },
      (error: unknown) => {
        answered = true
        this.#problems.push(`a step failed: ${String(error)}`)
      },
    )
    while (!answered && !this.#dead) await new Promise((resolve) => setImmediate(resolve))
  }

  #onCommand(): void {
    this.#commands += 1
    const due = this.#crashes.find((crash) => crash.at === 'command' && crash.n <= this.#commands)
    if (due === undefined || this.#dead) return
    this.#crashes = this.#crashes.filter((crash) => crash !== due)
    this.#crash()
  }

  #onTaken(say: () => void): void {
    this.#taken += 1
    const due = this.#crashes.find((crash) => crash.at === 'taken' && crash.n <= this.#taken)
    if (due === undefined || due.at !== 'taken') {
      say()
      return
    }
    this.#crashes = this.#crashes.filter((crash) => crash !== due)
    if (due.answered) say()
    // The answer is on its way, and half a dozen steps of ours can have followed.
    setImmediate(() => this.#crash())
  }

  // People

  async #accept(s: number, scenario: Scenario, plan: MessagePlan): Promise<void> {
    const nowMs = this.#clock.now()
    const id = newId(nowMs)
    const addresses = plan.recipients.map(
      ({ domain }, i) => `r${this.#messages.length}-${i}@${nameOf(s, domain % scenario.domains.length)}`,
    )
    const head = `From: <app@s${s}.${SENDER_DOMAIN}>\r\nMessage-ID: <${id}@${SENDER_DOMAIN}>\r\nSubject: a test\r\n\r\n`
    const filler = 'All work and no play makes a dull test.\r\n'
    const message: NewMessage = {
      id,
      acceptedMs: nowMs,
      reversePath: plan.nullSender ? '' : `app@s${s}.${SENDER_DOMAIN}`,
      sendingDomain: SENDER_DOMAIN,
      content: Buffer.from(head + filler.repeat(Math.ceil(plan.bytes / filler.length))),
      messageIdHeader: `<${id}@${SENDER_DOMAIN}>`,
      headerFrom: `app@s${s}.${SENDER_DOMAIN}`,
      subject: 'a test',
      priority: plan.priority,
      sandbox: false,
      ...(plan.sendAfterMin === 0 ? {} : { notBeforeMs: nowMs + plan.sendAfterMin * MINUTE_MS }),
      expiresMs: nowMs + this.#plan.lifetimeMin * MINUTE_MS,
      smtpUtf8: false,
      submitter: 'smtp:test',
      tags: [],
      metadata: {},
      ...(plan.route === null ? {} : { route: plan.route }),
      recipients: addresses.map((address, i) => {
        const { notify } = plan.recipients[i]!
        return {
          address,
          domain: address.slice(address.indexOf('@') + 1),
          ...(notify === null ? {} : { notify }),
        }
      }),
    }
    const tracked: Tracked = { id, scenario: s, plan, message, addresses, acked: false }
    this.#messages.push(tracked)
    const process = this.#process
    await process.queue.accept(message, [])
    tracked.acked = true
  }

  async #step(s: number, step: Step): Promise<void> {
    const mine = this.#messages.filter((message) => message.scenario === s)
    const tracked = mine[step.message % Math.max(1, mine.length)]
    if (tracked === undefined) return
    const recipient = tracked.addresses[step.recipient % tracked.addresses.length]!
    const { queue, suppressions } = this.#process
    // A moment of rest, so that what is under way does not blur what must follow.
    if (this.#process.lanes > 0 && step.do !== 'retry') await this.#rest()
    if (this.#dead) return
    const done: Done = { do: step.do, order: 0, recipient, messageId: tracked.id, until: Number.POSITIVE_INFINITY }
    if (step.do === 'suppress') {
      await suppressions.add([{ address: recipient }])
      this.#done.push({ ...done, order: ++this.#order })
    } else {
      const before = ++this.#order
      if (step.do === 'release') this.#letGo(tracked.id, recipient, before)
      const filter = { messageId: tracked.id, recipient }
      const { count } = await queue.steer(step.do, filter, 'test', { dryRun: false, limit: 10 })
      if (count > 0) this.#done.push({ ...done, order: ++this.#order })
    }
    await this.#reasons()
  }

  #letGo(messageId: string, recipient: string | null, order: number): void {
    for (const one of this.#done)
      if (one.do === 'hold' && one.messageId === messageId && (recipient === null || one.recipient === recipient))
        one.until = Math.min(one.until, order)
  }

  /** Lets the attempts under way end, in the clock's time, without anything of the agenda. */
  async #rest(): Promise<void> {
    for (let steps = 0; steps < 200 && this.#process.lanes > 0 && !this.#dead; steps++) {
      await this.#idle()
      if (this.#process.lanes === 0) return
      await this.#clock.advance(Math.max(1, this.#clock.nextInMs ?? 1000))
    }
  }

  /** Nothing waits without a named reason. */
  async #reasons(): Promise<void> {
    const { queue } = this.#process
    const states: RecipientState[] = ['scheduled', 'ready', 'leased', 'deferred', 'held']
    const { rows } = await queue.list({ states }, null, 500)
    for (const { id, recipient } of rows)
      if (recipient.reason === '')
        this.#problems.push(`${id} ${recipient.address} is ${recipient.state} without reason`)
    const first = rows[0]
    if (first === undefined) return
    for (const why of await queue.why(first.id))
      if (why.reason === '') this.#problems.push(`why ${first.id} ${why.address}: no reason`)
  }

  async #releaseAll(): Promise<void> {
    this.#order += 1
    for (const { id } of this.#messages) this.#letGo(id, null, this.#order)
    await this.#process.queue.steer('release', { states: ['held'] }, 'test', { dryRun: false, limit: 10_000 })
  }

  // Names

  #zones(): Record<string, DnsEntry> {
    const zones: Record<string, DnsEntry> = {}
    for (const [s, scenario] of this.#plan.scenarios.entries()) {
      zones[`s${s}.${SENDER_DOMAIN}`] = { A: [`127.3.${s}.1`], ttl: 60 }
      for (const [d, domain] of scenario.domains.entries()) {
        Object.assign(zones, this.#zoneOf(s, d, domain))
        for (const [h, host] of domain.hosts.entries()) this.#plans.set(addressOf(s, d, h), host)
      }
    }
    for (const [i, plan] of this.#plan.relays.entries()) this.#plans.set(`127.2.0.${i + 1}`, plan)
    return zones
  }

  #setZone(s: number, d: number, domain: DomainPlan): void {
    for (const [name, entry] of Object.entries(this.#zoneOf(s, d, domain))) this.#dns.set(name, entry)
  }

  #zoneOf(s: number, d: number, { dns }: DomainPlan): Record<string, DnsEntry> {
    const name = nameOf(s, d)
    const ttl = 30
    const [first, second] = [addressOf(s, d, 0), addressOf(s, d, 1)]
    const hosts = { [`a.${name}`]: { A: [first], ttl }, [`b.${name}`]: { A: [second], ttl } }
    this.#mute.delete(name)
    switch (dns) {
      case 'mx':
        return { ...hosts, [name]: { MX: [[10, `a.${name}`]], ttl } }
      case 'two-mx':
        return {
          ...hosts,
          [name]: {
            MX: [
              [10, `a.${name}`],
              [20, `b.${name}`],
            ],
            ttl,
          },
        }
      case 'implicit':
        return { [name]: { A: [first], ttl } }
      case 'nxdomain':
        return { [name]: { fault: 'nxdomain' } }
      case 'null-mx':
        return { [name]: { MX: [[0, '.']], ttl } }
      case 'no-address':
        return { [`a.${name}`]: { TXT: ['no address'], ttl }, [name]: { MX: [[10, `a.${name}`]], ttl } }
      case 'silence':
      case 'garbage':
        this.#mute.add(name)
        return { [name]: { fault: dns } }
      case 'servfail':
      case 'refused':
        return { [name]: { fault: dns } }
    }
  }

  async #addRelays(): Promise<void> {
    const priority = this.#plan.relayFirst ? 5 : 20
    for (const [i, name] of ['relay-a', 'relay-b'].entries())
      await this.#process.providers.add({
        name,
        host: `127.2.0.${i + 1}`,
        port: this.#hosts.port,
        tls: 'none',
        priority: priority + i,
      })
  }

  async #aftermath(): Promise<Aftermath> {
    const { database } = this.#process
    const all = <T>(sql: string): Promise<T[]> => database.read<T[]>('records.read', { sql, parameters: [] })
    const events = await all<{ type: string; message_id: string; recipient: string; detail: string }>(
      `SELECT type, message_id, recipient, detail FROM events WHERE type IN (${OUTCOME_EVENTS.map((type) => `'${type}'`).join()})`,
    )
    const recipients = await all<Omit<SeenRecipient, 'state'> & { state: number }>(
      `SELECT r.key, m.id, m.submitter, r.address, r.state, r.reason, r.uncertain, r.maybe_duplicate, r.settled_ms,
         m.expires_ms, r.notify, m.reverse_path, m.subject
       FROM recipients r JOIN messages m ON m.key = r.message`,
    )
    return {
      plan: this.#plan,
      messages: this.#messages,
      recipients: recipients.map((row) => ({ ...row, state: STATE_NAMES[row.state]! })),
      events: events.map((event) => ({ ...event, detail: JSON.parse(event.detail) as NewEvent['detail'] })),
      copies: this.#hosts.copies,
      done: this.#done,
      crashed: this.#crashed,
      problems: this.#problems,
      questions: this.#dns.queries.length,
      startMs: this.#startMs,
      virtualMs: this.#clock.now() - this.#startMs,
    }
  }
}

/** The numbers of the states in the file. */
const STATE_NAMES: readonly RecipientState[] = [
  ...(['scheduled', 'ready', 'leased', 'deferred', 'held'] as const),
  ...(['sent', 'bounced', 'uncertain', 'suppressed', 'expired', 'cancelled'] as const),
]

function nameOf(s: number, d: number): string {
  return `d${d}.s${s}.test`
}

function addressOf(s: number, d: number, h: number): string {
  return `127.1.${s}.${d * 2 + h + 1}`
}

export function ended({ state }: SeenRecipient): boolean {
  return isFinal(state)
}
