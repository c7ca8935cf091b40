import type { Config } from '#config'

export type RetryQuestion = {
  readonly nowMs: number
  /** Attempts that count, this one included. */
  readonly attempts: number
  /** Nothing was said about this message: no connection, no DNS. */
  readonly infrastructure: boolean
  /** Set: a relay answered; so often it has deferred this recipient, this time included. */
  readonly relayAnswers?: number
  /** What the peer asked for, when it did. */
  readonly retryAfterMs: number | null
}

/** Up to this much of a wait is added, so that what failed together does not come back together. */
const JITTER = 0.1
const MAX_ASKED_MS = 14_400_000

/** When a deferred recipient is due again: the configured waits, the last of which repeats. */
export function nextDueMs(
  config: Pick<Config['delivery'], 'retry_after' | 'relay_retry_after'>,
  question: RetryQuestion,
): number {
  const waits = question.relayAnswers === undefined ? config.retry_after : config.relay_retry_after
  const index = question.infrastructure ? 0 : Math.max(0, (question.relayAnswers ?? question.attempts) - 1)
  const waitMs = (waits[Math.min(index, waits.length - 1)] ?? 300) * 1000
  const wantedMs = Math.max(waitMs, Math.min(question.retryAfterMs ?? 0, MAX_ASKED_MS))
  return question.nowMs + Math.round(wantedMs * (1 + Math.random() * JITTER))
}

/** Waits of a site that cannot be reached, by failures in a row. */
const SITE_WAITS_MS = [30_000, 60_000, 120_000, 300_000, 600_000]

export function siteWaitMs(failures: number): number {
  const waitMs = SITE_WAITS_MS[Math.min(failures, SITE_WAITS_MS.length) - 1] ?? SITE_WAITS_MS[0]!
  return Math.round(waitMs * (1 + Math.random() * JITTER))
}

/** Waits of a domain that the DNS cannot tell about now, by failures in a row: most last seconds. */
const LOOK_UP_WAITS_MS = [5000, 30_000, 60_000, 120_000, 300_000]

export function lookUpWaitMs(failures: number): number {
  const waitMs = LOOK_UP_WAITS_MS[Math.min(failures, LOOK_UP_WAITS_MS.length) - 1] ?? LOOK_UP_WAITS_MS[0]!
  return Math.round(waitMs * (1 + Math.random() * JITTER))
}
