import { newId } from '#base'
import type { NewEvent } from '#queue'

/**
 * What can happen, in the order of a message's life. The first group ends or moves a recipient; a recipient has exactly
 * one of OUTCOME_EVENTS. The second group follows an outcome and changes statistics and suppression only. The third
 * speaks of Relevo itself.
 */
export const EVENT_TYPES = [
  'queued',
  'deferred',
  'held',
  'released',
  'sent',
  'bounced',
  'uncertain',
  'suppressed',
  'expired',
  'cancelled',
  'delivered',
  'late-bounce',
  'delayed',
  'complained',
  'unsubscribed',
  'auto-reply',
  'provider-paused',
  'provider-degraded',
  'provider-recovered',
  'breaker-opened',
  'breaker-closed',
  'dns-record-lost',
  'dns-record-restored',
  'dkim-changed-over',
  'dkim-change-over-waits',
  'dkim-key-retired',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

export const OUTCOME_EVENTS = ['sent', 'bounced', 'uncertain', 'suppressed', 'expired', 'cancelled'] as const

/** Whom an event is about. */
export type About = { readonly messageId: string; readonly recipientKey: number | null; readonly recipient: string }

type Facts = {
  readonly provider?: string
  readonly class?: string
  readonly status?: string
  readonly detail?: Readonly<Record<string, unknown>>
}

function make(type: EventType, atMs: number, about: About | null, facts: Facts): NewEvent {
  return {
    id: newId(atMs),
    atMs,
    type,
    messageId: about?.messageId ?? null,
    recipientKey: about?.recipientKey ?? null,
    recipient: about?.recipient ?? null,
    provider: facts.provider ?? null,
    class: facts.class ?? null,
    status: facts.status ?? null,
    detail: facts.detail ?? {},
  }
}

/** The message was accepted and is on disk. The recipient's key is filled in by the queue. */
export function queuedEvent(atMs: number, messageId: string, recipient: string, submitter: string): NewEvent {
  return make('queued', atMs, { messageId, recipientKey: null, recipient }, { detail: { submitter } })
}

/** A peer took it: `mx` is also delivered; for a `relay` the relay's own report follows later. */
export function sentEvent(
  atMs: number,
  about: About,
  facts: {
    readonly provider: string
    readonly by: 'mx' | 'relay'
    readonly reply: string
    readonly remoteHost: string
    readonly tls: string
    readonly queueMs: number
    readonly sendMs: number
    readonly maybeDuplicate: boolean
    /** It went in clear text because TLS, which was offered, failed so. */
    readonly tlsFailure?: string
    /** What the host said before the content was all there. */
    readonly earlyReply?: string
  },
): NewEvent {
  const { provider, by, ...detail } = facts
  return make('sent', atMs, about, { provider, class: by, status: '2.0.0', detail })
}

/** It waits for another attempt, and why. */
export function deferredEvent(
  atMs: number,
  about: About,
  facts: Facts & { readonly reason: string; readonly stage: string; readonly reply: string; readonly dueMs: number },
): NewEvent {
  const { reason, stage, reply, dueMs } = facts
  return make('deferred', atMs, about, { ...facts, detail: { reason, stage, reply, dueMs } })
}

/** It is over, and nobody has it. */
export function failedEvent(
  type: 'bounced' | 'expired' | 'uncertain' | 'suppressed' | 'cancelled',
  atMs: number,
  about: About,
  facts: Facts & {
    readonly reason: string
    readonly hard?: boolean | null
    readonly stage?: string
    readonly reply?: string
  },
): NewEvent {
  const { reason, hard = null, stage = '', reply = '' } = facts
  return make(type, atMs, about, { ...facts, detail: { reason, hard, stage, reply, ...facts.detail } })
}

export function heldEvent(atMs: number, about: About, reason: string): NewEvent {
  return make('held', atMs, about, { detail: { reason } })
}

/** Something came back after the outcome (a DSN, a complaint, an auto-reply). */
export function feedbackEvent(
  type: 'delivered' | 'late-bounce' | 'delayed' | 'complained' | 'unsubscribed' | 'auto-reply',
  atMs: number,
  about: About,
  facts: Facts,
): NewEvent {
  return make(type, atMs, about, facts)
}

/** Something about a sending domain's records or keys that people should know of. */
export function domainEvent(
  type: 'dns-record-lost' | 'dns-record-restored' | 'dkim-changed-over' | 'dkim-change-over-waits' | 'dkim-key-retired',
  atMs: number,
  domain: string,
  detail: Readonly<Record<string, unknown>>,
): NewEvent {
  return make(type, atMs, null, { detail: { domain, ...detail } })
}

/** How a way of delivery stands has changed. */
export function standingEvent(
  type: 'provider-paused' | 'provider-degraded' | 'provider-recovered' | 'breaker-opened' | 'breaker-closed',
  atMs: number,
  provider: string,
  detail: Readonly<Record<string, unknown>>,
): NewEvent {
  return make(type, atMs, null, { provider, detail })
}
