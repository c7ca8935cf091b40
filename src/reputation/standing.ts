import type { Clock } from '#base'
import type { Config } from '#config'
import { OutcomeWindow } from './outcome-window.ts'

export type Verdict = 'healthy' | 'degraded' | 'paused'

/** How own delivery stands from one source address at one mailbox provider. */
export type Standing = {
  readonly source: string
  readonly mailboxProvider: string
  readonly verdict: Verdict
  readonly reason: string
  readonly sinceMs: number
  /** Share of the mail that goes directly, 0 to 1. */
  readonly share: number
  readonly good: number
  readonly blocked: number
  readonly deferred: number
}

export type Admission =
  | { readonly kind: 'direct' }
  | { readonly kind: 'probe' }
  | { readonly kind: 'away'; readonly reason: string; readonly untilMs: number }

export type OutcomeKind = 'good' | 'blocked' | 'deferred' | 'neutral'

/** Reply classes that speak of our address or name, not of the recipient or this message. */
const BLOCK_CLASSES = new Set(['ip-blocked', 'reputation', 'ptr-required'])
/** Deferrals that say "slow down"; a greylisting or a full mailbox says nothing of the kind. */
const SLOW_CLASSES = new Set(['rate-limit', 'system', 'policy', 'spam-content', 'unclassified'])

const DEGRADED_SHARE = 0.5
/** Without any other way, a paused path is still tried this often. */
const LONELY_PROBE_MS = 60_000
const MAX_PAUSE_FACTOR = 16

type Cell = {
  window: OutcomeWindow
  verdict: Verdict
  reason: string
  sinceMs: number
  share: number
  credit: number
  /** While paused: nothing goes directly before this. */
  pausedUntilMs: number
  pauseFactor: number
  probesOut: number
  probesGood: number
  lastProbeMs: number
}

export type StandingChange = { readonly before: Verdict; readonly now: Standing }

/** What outcome a report is, for the standing. */
export function outcomeKind(result: string, replyClass: string): OutcomeKind {
  if (result === 'delivered') return 'good'
  if (BLOCK_CLASSES.has(replyClass)) return 'blocked'
  if (result === 'deferred' && SLOW_CLASSES.has(replyClass)) return 'deferred'
  // The mailbox provider talked to us about a recipient: as a path it works.
  return result === 'refused' ? 'good' : 'neutral'
}

/**
 * The verdict per source address × mailbox provider, from real outcomes in a sliding window, with hysteresis: a paused
 * path waits, then a small share probes it, which doubles with good outcomes and falls back to nothing, for longer each
 * time, at the first block. So one bad provider moves only its own mail, and nothing flaps.
 */
export class Standings {
  readonly #config: Config['reputation']
  readonly #clock: Clock
  readonly #onChange: (change: StandingChange) => void
  readonly #cells = new Map<string, Cell>()

  constructor(config: Config['reputation'], clock: Clock, onChange: (change: StandingChange) => void) {
    this.#config = config
    this.#clock = clock
    this.#onChange = onChange
  }

  /** Whether this message goes directly, as a probe, or away. Each `probe` ends with `report(…, probe: true)` or `unused`. */
  admit(source: string, mailboxProvider: string, alternatives: boolean): Admission {
    const cell = this.#cells.get(keyOf(source, mailboxProvider))
    if (cell === undefined || cell.verdict === 'healthy') return { kind: 'direct' }
    const nowMs = this.#clock.now()
    if (cell.verdict === 'degraded') {
      cell.credit = Math.min(1, cell.credit + cell.share)
      if (alternatives && cell.credit < 1) return { kind: 'away', reason: cell.reason, untilMs: nowMs + 1000 }
      cell.credit = Math.max(0, cell.credit - 1)
      return { kind: 'direct' }
    }
    if (nowMs < cell.pausedUntilMs) return { kind: 'away', reason: cell.reason, untilMs: cell.pausedUntilMs }
    cell.credit = Math.min(1, cell.credit + cell.share)
    const due = cell.credit >= 1 || nowMs - cell.lastProbeMs >= LONELY_PROBE_MS
    if (!due || cell.probesOut >= this.#config.probe_samples)
      return { kind: 'away', reason: cell.reason, untilMs: nowMs + Math.min(LONELY_PROBE_MS, 5000) }
    cell.credit = Math.max(0, cell.credit - 1)
    cell.probesOut += 1
    cell.lastProbeMs = nowMs
    return { kind: 'probe' }
  }

  /** A probe that was admitted and not sent. */
  unused(source: string, mailboxProvider: string): void {
    const cell = this.#cells.get(keyOf(source, mailboxProvider))
    if (cell !== undefined) cell.probesOut = Math.max(0, cell.probesOut - 1)
  }

  report(source: string, mailboxProvider: string, kind: OutcomeKind, replyClass: string, probe: boolean): void {
    const cell = this.#cell(source, mailboxProvider)
    const nowMs = this.#clock.now()
    if (probe) cell.probesOut = Math.max(0, cell.probesOut - 1)
    if (kind === 'neutral') return
    cell.window.add(kind, nowMs)
    if (cell.verdict === 'paused') {
      // Mail that was under way when the pause began says nothing new.
      if (probe) this.#judgeProbe(source, mailboxProvider, cell, kind, replyClass, nowMs)
      return
    }
    const { good, blocked, deferred } = cell.window.tally(nowMs)
    const all = good + blocked + deferred
    if (all < this.#config.min_samples) return
    if (blocked / all >= this.#config.block_share)
      this.#pause(
        source,
        mailboxProvider,
        cell,
        `${blocked} of ${all} replies block us (${replyClass || 'block'})`,
        nowMs,
      )
    else if (cell.verdict === 'healthy' && deferred / all >= this.#config.deferral_share) {
      cell.share = DEGRADED_SHARE
      this.#move(source, mailboxProvider, cell, 'degraded', `${deferred} of ${all} replies ask us to slow down`, nowMs)
    } else if (cell.verdict === 'degraded' && (blocked + deferred) / all <= this.#config.recover_share)
      this.#recover(source, mailboxProvider, cell, nowMs)
  }

  /** An outside finding (port 25 unreachable, a blocklist): pauses without waiting for replies. */
  pause(source: string, mailboxProvider: string, reason: string): void {
    const cell = this.#cell(source, mailboxProvider)
    if (cell.verdict !== 'paused') this.#pause(source, mailboxProvider, cell, reason, this.#clock.now())
  }

  list(): readonly Standing[] {
    return [...this.#cells].map(([key, cell]) => this.#view(...(key.split(' ') as [string, string]), cell))
  }

  /** Puts back what was kept over a restart; a pause that was on goes on. */
  restore(standings: readonly Standing[]): void {
    for (const standing of standings) {
      if (standing.verdict === 'healthy') continue
      const cell = this.#cell(standing.source, standing.mailboxProvider)
      cell.verdict = standing.verdict
      cell.reason = standing.reason
      cell.sinceMs = standing.sinceMs
      cell.share = standing.verdict === 'paused' ? this.#config.probe_share : DEGRADED_SHARE
      cell.pausedUntilMs = standing.sinceMs + this.#config.pause * 1000
    }
  }

  #judgeProbe(
    source: string,
    provider: string,
    cell: Cell,
    kind: OutcomeKind,
    replyClass: string,
    nowMs: number,
  ): void {
    if (kind === 'blocked' || kind === 'deferred') {
      cell.pauseFactor = Math.min(MAX_PAUSE_FACTOR, cell.pauseFactor * 2)
      this.#pause(source, provider, cell, `a probe was answered ${replyClass || kind}`, nowMs)
      return
    }
    cell.probesGood += 1
    if (cell.probesGood < this.#config.probe_samples) return
    cell.probesGood = 0
    cell.share *= 2
    if (cell.share >= 1) this.#recover(source, provider, cell, nowMs)
  }

  #pause(source: string, mailboxProvider: string, cell: Cell, reason: string, nowMs: number): void {
    cell.share = this.#config.probe_share
    cell.credit = 0
    cell.probesGood = 0
    cell.pausedUntilMs = nowMs + this.#config.pause * 1000 * cell.pauseFactor
    cell.lastProbeMs = nowMs
    this.#move(source, mailboxProvider, cell, 'paused', reason, nowMs)
  }

  #recover(source: string, mailboxProvider: string, cell: Cell, nowMs: number): void {
    cell.window.clear()
    cell.share = 1
    cell.pauseFactor = 1
    this.#move(source, mailboxProvider, cell, 'healthy', 'recovered', nowMs)
  }

  #move(source: string, mailboxProvider: string, cell: Cell, verdict: Verdict, reason: string, nowMs: number): void {
    const before = cell.verdict
    cell.reason = reason
    if (before !== verdict) cell.sinceMs = nowMs
    cell.verdict = verdict
    if (before !== verdict) this.#onChange({ before, now: this.#view(source, mailboxProvider, cell) })
  }

  #cell(source: string, mailboxProvider: string): Cell {
    const key = keyOf(source, mailboxProvider)
    let cell = this.#cells.get(key)
    if (cell === undefined) {
      const nowMs = this.#clock.now()
      cell = {
        window: new OutcomeWindow(this.#config.window * 1000, nowMs),
        verdict: 'healthy',
        reason: '',
        sinceMs: nowMs,
        share: 1,
        credit: 0,
        pausedUntilMs: 0,
        pauseFactor: 1,
        probesOut: 0,
        probesGood: 0,
        lastProbeMs: 0,
      }
      this.#cells.set(key, cell)
    }
    return cell
  }

  #view(source: string, mailboxProvider: string, cell: Cell): Standing {
    const { good, blocked, deferred } = cell.window.tally(this.#clock.now())
    const { verdict, reason, sinceMs } = cell
    const share = verdict === 'paused' && this.#clock.now() < cell.pausedUntilMs ? 0 : cell.share
    return { source, mailboxProvider, verdict, reason, sinceMs, share, good, blocked, deferred }
  }
}

/** Neither part has a space. */
function keyOf(source: string, mailboxProvider: string): string {
  return `${source} ${mailboxProvider}`
}
