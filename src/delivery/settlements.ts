import type { Claim, Settlement } from '#queue'

/** The whole claim back to the queue, or on hold, without an attempt that counts (unless told), and without an event. */
export function back(
  claim: Claim,
  atMs: number,
  to: 'ready' | 'deferred' | 'held',
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
