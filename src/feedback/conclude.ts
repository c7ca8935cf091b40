import type { Config } from '#config'
import type { Classified, ProviderRef, RecipientResult, Reply, TryTrace } from '#delivery'
import { type About, deferredEvent, failedEvent, sentEvent } from '#events'
import type {
  AttemptRecord,
  Claim,
  ClaimedRecipient,
  CounterMove,
  MessageHead,
  NewEvent,
  NewMessage,
  NewSuppression,
  Settlement,
} from '#queue'

/** What the attempt knows besides the result. */
export type ConcludeContext = {
  /** Null when no connection was tried (suppressed, expired, refused by DNS). */
  readonly trace: TryTrace | null
  readonly provider: ProviderRef
  readonly nowMs: number
  /** Counters of the route that move when it was sent (warm-up, quota). */
  readonly counters: readonly { readonly name: string; readonly period: string }[]
}

export type RetryQuestion = {
  readonly nowMs: number
  /** Attempts that count, this one included. */
  readonly attempts: number
  readonly infrastructure: boolean
  /** Set: a relay answered; so often it has deferred this recipient, this time included. */
  readonly relayAnswers?: number
  /** What the peer asked for, when it did. */
  readonly retryAfterMs: number | null
}

/** Something that the sender of a message may want to be told of by DSN. */
export type Notice = {
  readonly message: MessageHead
  readonly recipient: Pick<ClaimedRecipient, 'key' | 'address' | 'notify' | 'originalRecipient'>
  readonly action: 'failed' | 'delayed' | 'relayed' | 'delivered' | 'expanded'
  readonly status: string
  readonly diagnostic: string
  readonly remoteHost: string
  readonly nowMs: number
}

export type ConcludeParts = {
  readonly config: Pick<
    Config['delivery'],
    'max_attempts' | 'uncertain_attempts' | 'delay_notice' | 'lifetime' | 'relay_retry_after'
  >
  /** How often this provider has deferred this recipient before. */
  deferralsBy(recipientKey: number, provider: string): Promise<number>
  classify(reply: Reply | null, stage: string, reason: string): Classified
  nextDueMs(question: RetryQuestion): number
  /** The DSN, or null when none is wanted. */
  dsnFor(notice: Notice): Promise<NewMessage | null>
}

export type Conclude = (
  claim: Claim,
  recipient: ClaimedRecipient,
  result: RecipientResult,
  context: ConcludeContext,
) => Settlement | Promise<Settlement>

/** A refusal of us, not of the recipient, is tried again this often, so that another way can take it. */
const BLOCKED_ATTEMPTS = 3
const BLOCKED_RETRY_MS = 60_000
/** What sandbox replies suppress is forgotten after a day: they were asked for. */
const SANDBOX_SUPPRESSION_MS = 86_400_000

/**
 * Makes of one result what is committed: the new state, the attempt, the event, the suppression, the counters and the
 * DSN, all in one settlement. A direct reply and a bounce that comes back later are judged by the same classes.
 */
export function makeConclude(parts: ConcludeParts): Conclude {
  return function conclude(claim, recipient, result, context) {
    switch (result.kind) {
      case 'delivered':
        return delivered(parts, claim, recipient, result, context)
      case 'refused':
        return refused(parts, claim, recipient, result, context)
      case 'deferred':
        return context.provider.kind === 'smarthost' && !result.infrastructure
          ? deferredByRelay(parts, claim, recipient, result, context)
          : deferred(parts, claim, recipient, result, context)
      case 'uncertain':
        return uncertain(parts, claim, recipient, result, context)
      case 'suppressed':
        return ended(parts, claim, recipient, context, {
          to: 'suppressed',
          reason: result.reason,
          status: '5.7.1',
          diagnostic: result.detail,
          classified: { class: 'suppressed', hard: null, action: 'bounce' },
        })
    }
  }
}

/** The outcome of a recipient whose time is over before anybody took it. */
export function makeExpire(parts: ConcludeParts) {
  return function expire(
    claim: Claim,
    recipient: ClaimedRecipient,
    lastReply: string,
    context: ConcludeContext,
  ): Promise<Settlement> {
    return ended(parts, claim, recipient, context, {
      to: 'expired',
      reason: 'lifetime-over',
      // RFC 3463 §3.5: delivery time expired
      status: '4.4.7',
      diagnostic: lastReply || 'the message could not be delivered within its lifetime',
      classified: { class: 'expired', hard: false, action: 'bounce' },
    })
  }
}

function delivered(
  parts: ConcludeParts,
  claim: Claim,
  recipient: ClaimedRecipient,
  { reply, peerNotifies, early }: Extract<RecipientResult, { kind: 'delivered' }>,
  context: ConcludeContext,
): Settlement | Promise<Settlement> {
  const { provider, trace, nowMs } = context
  const event = sentEvent(nowMs, aboutOf(claim, recipient), {
    provider: provider.name,
    by: provider.kind === 'smarthost' ? 'relay' : 'mx',
    reply: `${reply.code} ${reply.text}`.slice(0, 500),
    remoteHost: trace?.remoteHost ?? '',
    tls: trace?.tls ?? '',
    queueMs: nowMs - claim.message.acceptedMs,
    sendMs: trace === null ? 0 : Math.round(trace.endedMs - trace.startedMs),
    ...(trace?.tlsFailure ? { tlsFailure: trace.tlsFailure } : {}),
    ...(early === undefined ? {} : { earlyReply: `${early.code} ${early.text}`.slice(0, 500) }),
    maybeDuplicate: recipient.maybeDuplicate,
  })
  const settlement: Settlement = {
    ...base(claim, recipient, context),
    to: 'sent',
    reason: 'delivered',
    attempt: attemptOf(context, 'dot', reply, 'delivered', Boolean(trace?.tlsFailure) || early !== undefined),
    events: [event],
    counters: context.counters.map((counter): CounterMove => ({ ...counter, delta: 1 })),
  }
  if (peerNotifies || !recipient.notify?.includes('success')) return settlement
  // RFC 3461 §5.2.2: a host that offers no DSN will not tell, so that it was passed on is told here.
  return telling(parts, settlement, {
    ...{ message: claim.message, recipient, action: 'relayed', nowMs },
    // RFC 3463 §2: a success without a detail of its own
    status: '2.0.0',
    diagnostic: `${reply.code} ${reply.text}`,
    remoteHost: trace?.remoteHost ?? '',
  })
}

/** The settlement with the notice in it, so that both are kept or neither. */
async function telling(parts: ConcludeParts, settlement: Settlement, notice: Notice): Promise<Settlement> {
  return { ...settlement, spawn: await parts.dsnFor(notice) }
}

function refused(
  parts: ConcludeParts,
  claim: Claim,
  recipient: ClaimedRecipient,
  result: Extract<RecipientResult, { kind: 'refused' }>,
  context: ConcludeContext,
): Settlement | Promise<Settlement> {
  const classified = parts.classify(result.reply, result.stage, result.reason)
  const aboutUs = classified.action === 'pause-provider' || classified.action === 'slow-down'
  if (aboutUs && context.provider.kind === 'own' && recipient.attempts + 1 < BLOCKED_ATTEMPTS) {
    const dueMs = context.nowMs + BLOCKED_RETRY_MS * (recipient.attempts + 1)
    if (dueMs < claim.message.expiresMs)
      return waiting(parts, claim, recipient, context, {
        reason: 'blocked',
        dueMs,
        countsAsAttempt: true,
        ambiguous: false,
        stage: result.stage,
        reply: result.reply,
        classified,
        status: result.status,
      })
  }
  return ended(parts, claim, recipient, context, {
    to: 'bounced',
    // What we found ourselves has its own name already.
    reason: classified.class === 'unclassified' || result.detail !== undefined ? result.reason : classified.class,
    status: result.status,
    diagnostic: diagnosticOf(result),
    classified,
    stage: result.stage,
    reply: result.reply,
  })
}

/** A relay has its own queue and schedule: what it puts off again and again it will not take. */
async function deferredByRelay(
  parts: ConcludeParts,
  claim: Claim,
  recipient: ClaimedRecipient,
  result: Extract<RecipientResult, { kind: 'deferred' }>,
  context: ConcludeContext,
): Promise<Settlement> {
  const relayAnswers = 1 + (await parts.deferralsBy(recipient.key, context.provider.name))
  return deferred(parts, claim, recipient, result, context, relayAnswers)
}

function deferred(
  parts: ConcludeParts,
  claim: Claim,
  recipient: ClaimedRecipient,
  result: Extract<RecipientResult, { kind: 'deferred' }>,
  context: ConcludeContext,
  relayAnswers?: number,
): Settlement | Promise<Settlement> {
  const classified = parts.classify(result.reply, result.stage, result.reason)
  const attempts = recipient.attempts + (result.infrastructure ? 0 : 1)
  const { max_attempts: maxAttempts, relay_retry_after: relayWaits } = parts.config
  const usedUp = (maxAttempts > 0 && attempts >= maxAttempts) || (relayAnswers ?? 0) > relayWaits.length
  if (!result.infrastructure && usedUp)
    return ended(parts, claim, recipient, context, {
      to: 'bounced',
      reason: 'attempts-used-up',
      status: result.status,
      diagnostic: diagnosticOf(result),
      classified: { ...classified, hard: classified.hard === true, action: 'bounce' },
      stage: result.stage,
      reply: result.reply,
    })
  const wantedMs = parts.nextDueMs({
    nowMs: context.nowMs,
    attempts,
    infrastructure: result.infrastructure,
    ...(relayAnswers === undefined ? {} : { relayAnswers }),
    retryAfterMs: result.retryAfterMs ?? null,
  })
  return waiting(parts, claim, recipient, context, {
    reason: result.reply === null || classified.class === 'unclassified' ? result.reason : classified.class,
    // Due at the end of its lifetime at the latest: that claim ends it.
    dueMs: Math.min(wantedMs, claim.message.expiresMs),
    countsAsAttempt: !result.infrastructure,
    ambiguous: false,
    stage: result.stage,
    reply: result.reply,
    detail: result.detail ?? '',
    classified,
    status: result.status,
  })
}

/** What the peer said, or else what we found. */
function diagnosticOf(result: Extract<RecipientResult, { kind: 'refused' | 'deferred' }>): string {
  return result.reply === null ? (result.detail ?? result.reason) : `${result.reply.code} ${result.reply.text}`
}

function uncertain(
  parts: ConcludeParts,
  claim: Claim,
  recipient: ClaimedRecipient,
  result: Extract<RecipientResult, { kind: 'uncertain' }>,
  context: ConcludeContext,
): Settlement | Promise<Settlement> {
  const classified: Classified = { class: 'network', hard: false, action: 'retry' }
  if (recipient.uncertain + 1 >= parts.config.uncertain_attempts)
    return ended(parts, claim, recipient, context, {
      to: 'uncertain',
      reason: result.reason,
      // RFC 3463 §3.5: bad connection
      status: '4.4.2',
      diagnostic: `the connection ended after the message was sent and before a reply, ${recipient.uncertain + 1} times: it may have arrived`,
      classified,
      stage: result.stage,
    })
  return waiting(parts, claim, recipient, context, {
    reason: result.reason,
    dueMs: Math.min(
      parts.nextDueMs({
        nowMs: context.nowMs,
        attempts: recipient.uncertain + 1,
        infrastructure: false,
        retryAfterMs: null,
      }),
      claim.message.expiresMs,
    ),
    countsAsAttempt: false,
    ambiguous: true,
    stage: result.stage,
    reply: null,
    classified,
    status: '4.4.2',
  })
}

type Waiting = {
  readonly reason: string
  readonly dueMs: number
  readonly countsAsAttempt: boolean
  readonly ambiguous: boolean
  readonly stage: string
  readonly reply: Reply | null
  /** What we found where nothing was said. */
  readonly detail?: string
  readonly classified: Classified
  readonly status: string
}

function waiting(
  parts: ConcludeParts,
  claim: Claim,
  recipient: ClaimedRecipient,
  context: ConcludeContext,
  why: Waiting,
): Settlement | Promise<Settlement> {
  const reply = why.reply === null ? (why.detail ?? '') : `${why.reply.code} ${why.reply.text}`
  const event = deferredEvent(context.nowMs, aboutOf(claim, recipient), {
    provider: context.provider.name,
    class: why.classified.class,
    status: why.status,
    reason: why.reason,
    stage: why.stage,
    reply: reply.slice(0, 500),
    dueMs: why.dueMs,
  })
  const settlement: Settlement = {
    ...base(claim, recipient, context),
    to: 'deferred',
    dueMs: why.dueMs,
    reason: why.reason,
    countsAsAttempt: why.countsAsAttempt,
    ambiguous: why.ambiguous,
    attempt: attemptOf(context, why.stage, why.reply, why.classified.class, true, why.detail),
    events: [event],
  }
  if (!isLate(parts.config, claim.message, recipient, why.dueMs)) return settlement
  return telling(parts, settlement, {
    ...{ message: claim.message, recipient, action: 'delayed', nowMs: context.nowMs },
    status: why.status,
    diagnostic: reply || why.reason,
    remoteHost: context.trace?.remoteHost ?? '',
  })
}

/**
 * Whether the next try comes later than a sender that asked for it waits without a word. Counted from when the first
 * attempt might start: mail that was handed in for later is not late before its time.
 */
function isLate(
  { delay_notice: delay, lifetime }: ConcludeParts['config'],
  { acceptedMs, expiresMs }: MessageHead,
  { notify }: ClaimedRecipient,
  dueMs: number,
): boolean {
  if (delay === 0 || !notify?.includes('delay') || dueMs >= expiresMs) return false
  return dueMs >= Math.max(acceptedMs, expiresMs - lifetime * 1000) + delay * 1000
}

type Ended = {
  readonly to: 'bounced' | 'uncertain' | 'suppressed' | 'expired'
  readonly reason: string
  readonly status: string
  readonly diagnostic: string
  readonly classified: Classified
  readonly stage?: string
  readonly reply?: Reply | null
}

async function ended(
  parts: ConcludeParts,
  claim: Claim,
  recipient: ClaimedRecipient,
  context: ConcludeContext,
  end: Ended,
): Promise<Settlement> {
  const { nowMs } = context
  const { hard } = end.classified
  const event: NewEvent = failedEvent(end.to, nowMs, aboutOf(claim, recipient), {
    provider: context.provider.name,
    class: end.classified.class,
    status: end.status,
    reason: end.reason,
    hard,
    stage: end.stage ?? '',
    reply: end.diagnostic.slice(0, 500),
  })
  const spawn = await parts.dsnFor({
    ...{ message: claim.message, recipient, action: 'failed' },
    status: end.status,
    diagnostic: end.diagnostic,
    remoteHost: context.trace?.remoteHost ?? '',
    nowMs,
  })
  return {
    ...base(claim, recipient, context),
    to: end.to,
    reason: end.reason,
    countsAsAttempt: end.to === 'bounced',
    ambiguous: end.to === 'uncertain',
    attempt:
      context.trace === null
        ? null
        : attemptOf(
            context,
            end.stage ?? 'policy',
            end.reply ?? null,
            end.classified.class,
            true,
            end.diagnostic === end.reason ? '' : end.diagnostic,
          ),
    events: [event],
    suppressions: end.to === 'bounced' && hard === true ? [suppressionOf(claim, recipient, end, nowMs)] : [],
    spawn,
  }
}

function suppressionOf(claim: Claim, recipient: ClaimedRecipient, end: Ended, nowMs: number): NewSuppression {
  return {
    address: recipient.address.toLowerCase(),
    scope: 'everything',
    reason: 'hard-bounce',
    class: end.classified.class,
    smtpCode: end.reply ? String(end.reply.code) : '',
    detail: end.diagnostic.slice(0, 500),
    atMs: nowMs,
    untilMs: claim.message.sandbox ? nowMs + SANDBOX_SUPPRESSION_MS : null,
  }
}

function base(claim: Claim, recipient: ClaimedRecipient, context: ConcludeContext) {
  return {
    messageId: claim.message.id,
    key: recipient.key,
    fence: recipient.fence,
    atMs: context.nowMs,
    countsAsAttempt: false,
    ambiguous: false,
    suppressions: [] as readonly NewSuppression[],
    counters: [] as readonly CounterMove[],
    spawn: null as NewMessage | null,
  }
}

function aboutOf(claim: Claim, recipient: ClaimedRecipient): About {
  return { messageId: claim.message.id, recipientKey: recipient.key, recipient: recipient.address }
}

function attemptOf(
  context: ConcludeContext,
  stage: string,
  reply: Reply | null,
  replyClass: string,
  keepTranscript: boolean,
  detail = '',
): AttemptRecord | null {
  const { trace } = context
  return {
    startedMs: trace?.startedMs ?? context.nowMs,
    endedMs: trace?.endedMs ?? context.nowMs,
    provider: context.provider.name,
    source: trace?.source ?? '',
    remoteHost: trace?.remoteHost ?? '',
    remoteAddress: trace?.remoteAddress ?? '',
    tls: trace?.tls ?? '',
    stage,
    replyCode: reply?.code ?? null,
    enhanced: reply?.enhanced ?? null,
    reply: reply?.text ?? detail,
    class: replyClass,
    transcript: keepTranscript ? (trace?.transcript ?? null) : null,
  }
}
