import { readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import { type Clock, EX, Fault, isoTime, messageOf } from '#base'
import type { Records } from '#store'

const DAY_MS = 86_400_000

/** config/warmup.toml: the volume of each day, how much of it must have been sent to go on, and the shares. */
export type WarmUpPlan = {
  readonly daily: readonly number[]
  readonly advanceShare: number
  readonly providerShare: ReadonlyMap<string, number>
}

export type Reservation =
  | {
      readonly granted: true
      readonly recipients: number
      readonly counters: readonly { readonly name: string; readonly period: string }[]
    }
  | { readonly granted: false; readonly untilMs: number; readonly detail: string }

export type WarmUpStanding = {
  readonly source: string
  /** Day of the plan, from 1; null: warm. */
  readonly day: number | null
  readonly volume: number | null
  readonly sentToday: number
}

type Count = { sent: number; inFlight: number }
type Source = { dayIndex: number; date: string; total: Count; byProvider: Map<string, Count> }

export function loadWarmUpPlan(file: string): WarmUpPlan {
  let document: Record<string, unknown>
  try {
    document = parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw fault(file, `cannot be read: ${messageOf(error)}`)
  }
  const daily = document.daily
  if (!Array.isArray(daily) || daily.length === 0 || daily.some((n) => !Number.isInteger(n) || n < 1))
    throw fault(file, 'needs daily, a list of whole numbers of 1 or more')
  const falls = daily.findIndex((volume, i) => i > 0 && volume < daily[i - 1])
  if (falls > 0) throw fault(file, `has a volume that falls: day ${falls + 1} is less than day ${falls}`)
  const advanceShare = document.advance_share ?? 0.5
  if (typeof advanceShare !== 'number' || advanceShare <= 0 || advanceShare > 1)
    throw fault(file, 'needs advance_share above 0 and up to 1')
  const shares = Object.entries((document.mailbox_provider_share ?? {}) as Record<string, unknown>)
  const odd = shares.find(([, share]) => typeof share !== 'number' || share <= 0 || share > 1)
  if (odd !== undefined) throw fault(file, `has a share for ${odd[0]} that is not above 0 and up to 1`)
  return { daily: daily as number[], advanceShare, providerShare: new Map(shares as [string, number][]) }
}

/**
 * Holds new source addresses to the day's volume. What was sent is counted in Records within the settle transaction
 * (counters `warmup:<source>` and `warmup:<source>:<mailbox provider>` by day), so a crash forgets nothing; which day of
 * the plan an address is in follows from those counts alone.
 */
export class WarmUp {
  readonly #records: Records
  readonly #plan: WarmUpPlan
  readonly #clock: Clock
  readonly #sources = new Map<string, Source>()

  private constructor(records: Records, plan: WarmUpPlan, clock: Clock) {
    this.#records = records
    this.#plan = plan
    this.#clock = clock
  }

  static async open(records: Records, plan: WarmUpPlan, clock: Clock, sources: readonly string[]): Promise<WarmUp> {
    const warmUp = new WarmUp(records, plan, clock)
    for (const source of sources) warmUp.#sources.set(source, await warmUp.#load(source))
    return warmUp
  }

  /** Room for up to `recipients` now, or when the next day begins. Each recipient granted ends with `done`. */
  reserve(source: string, mailboxProvider: string, recipients = 1): Reservation {
    const state = this.#today(source)
    const volume = state === undefined ? undefined : this.#plan.daily[state.dayIndex]
    if (state === undefined || volume === undefined) return { granted: true, recipients, counters: [] }
    const part = this.#part(state, mailboxProvider)
    const share = this.#plan.providerShare.get(mailboxProvider)
    const partVolume = share === undefined ? volume : Math.max(1, Math.floor(volume * share))
    const day = `day ${state.dayIndex + 1} of the warm-up of ${label(source)}`
    if (state.total.sent + state.total.inFlight >= volume)
      return { granted: false, untilMs: this.#nextDayMs(), detail: `${volume} messages are sent on ${day}` }
    if (part.sent + part.inFlight >= partVolume)
      return {
        granted: false,
        untilMs: this.#nextDayMs(),
        detail: `${partVolume} messages are sent to ${mailboxProvider} on ${day}`,
      }
    const left = Math.min(
      volume - state.total.sent - state.total.inFlight,
      partVolume - part.sent - part.inFlight,
      recipients,
    )
    state.total.inFlight += left
    part.inFlight += left
    const name = counterName(source)
    return {
      granted: true,
      recipients: left,
      counters: [
        { name, period: state.date },
        { name: `${name}:${mailboxProvider}`, period: state.date },
      ],
    }
  }

  /** The reserved message was sent (and counted durably by its settlement), or was not. */
  done(source: string, mailboxProvider: string, sent: boolean): void {
    const state = this.#sources.get(source)
    if (state === undefined) return
    for (const count of [state.total, this.#part(state, mailboxProvider)]) {
      count.inFlight = Math.max(0, count.inFlight - 1)
      if (sent) count.sent += 1
    }
  }

  standing(): readonly WarmUpStanding[] {
    return [...this.#sources.keys()].map((source) => {
      const state = this.#today(source)!
      const volume = this.#plan.daily[state.dayIndex] ?? null
      return { source, day: volume === null ? null : state.dayIndex + 1, volume, sentToday: state.total.sent }
    })
  }

  #today(source: string): Source | undefined {
    const state = this.#sources.get(source)
    if (state === undefined) return undefined
    const date = isoTime(this.#clock.now()).slice(0, 10)
    // A clock that jumps back must not open a day twice.
    if (date <= state.date) return state
    const volume = this.#plan.daily[state.dayIndex]
    if (volume !== undefined && state.total.sent >= volume * this.#plan.advanceShare) state.dayIndex += 1
    state.date = date
    // Those in flight over midnight count for the day they end in.
    state.total.sent = 0
    for (const count of state.byProvider.values()) count.sent = 0
    return state
  }

  #part(state: Source, mailboxProvider: string): Count {
    let part = state.byProvider.get(mailboxProvider)
    if (part === undefined) {
      part = { sent: 0, inFlight: 0 }
      state.byProvider.set(mailboxProvider, part)
    }
    return part
  }

  #nextDayMs(): number {
    return (Math.floor(this.#clock.now() / DAY_MS) + 1) * DAY_MS
  }

  async #load(source: string): Promise<Source> {
    const name = counterName(source)
    const today = isoTime(this.#clock.now()).slice(0, 10)
    const { query } = this.#records
    const days = await this.#records.read(
      query.selectFrom('counters').select(['period', 'value']).where('name', '=', name).orderBy('period'),
    )
    let dayIndex = 0
    for (const day of days) {
      const volume = this.#plan.daily[dayIndex]
      if (day.period < today && volume !== undefined && day.value >= volume * this.#plan.advanceShare) dayIndex += 1
    }
    const parts = await this.#records.read(
      query
        .selectFrom('counters')
        .select(['name', 'value'])
        .where('period', '=', today)
        .where('name', '>', `${name}:`)
        .where('name', '<', `${name};`),
    )
    return {
      dayIndex,
      date: today,
      total: { sent: days.find((day) => day.period === today)?.value ?? 0, inFlight: 0 },
      byProvider: new Map(parts.map((part) => [part.name.slice(name.length + 1), { sent: part.value, inFlight: 0 }])),
    }
  }
}

/** `;` follows `:` in ASCII, so the range over `<name>:` holds the parts of one source; IPv6 colons become dots for that. */
function counterName(source: string): string {
  return `warmup:${source === '' ? 'default' : source.replaceAll(':', '.')}`
}

function label(source: string): string {
  return source === '' ? 'this host' : source
}

function fault(file: string, problem: string): Fault {
  return new Fault(`${file} ${problem}`, {
    code: 'bad-rule-file',
    field: 'rules.warmup_file',
    remedy: 'Correct it; the file shipped in config/warmup.toml shows the form.',
    exitCode: EX.CONFIG,
  })
}
