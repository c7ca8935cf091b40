import { newId } from '#base'
import type { AttemptRecord, Claim, FinalState, NewEvent, NewMessage, RecipientState, Settlement } from '#queue'

/** Noon UTC on 24 November 2026: the time these tests begin at. */
export const T0 = Date.UTC(2026, 10, 24, 12)

export const FINAL: readonly FinalState[] = ['sent', 'bounced', 'uncertain', 'suppressed', 'expired', 'cancelled']

/** A message to these addresses, one at a.example when none are named. */
export function message(to: readonly string[] = ['user@a.example'], over: Partial<NewMessage> = {}): NewMessage {
  const acceptedMs = over.acceptedMs ?? T0
  const id = over.id ?? newId(acceptedMs)
  return {
    id,
    acceptedMs,
    reversePath: 'app@sender.example',
    sendingDomain: 'sender.example',
    content: body(`message ${id}`),
    messageIdHeader: `<${id}@sender.example>`,
    headerFrom: 'app@sender.example',
    subject: 'Hello',
    priority: 'normal',
    sandbox: false,
    expiresMs: acceptedMs + 345_600_000,
    smtpUtf8: false,
    submitter: 'smtp:app',
    tags: [],
    metadata: {},
    recipients: to.map((address) => ({ address, domain: address.slice(address.lastIndexOf('@') + 1) })),
    ...over,
  }
}

/** A content of at least this many bytes that begins with the text. */
export function body(text: string, bytes = 0): Uint8Array {
  const head = `Subject: Hello\r\n\r\n${text}\r\n`
  const filler = 'abcdefghijklmnopqrstuvwxyz0123456789\r\n'
  return new TextEncoder().encode(head + filler.repeat(Math.ceil(Math.max(0, bytes - head.length) / filler.length)))
}

export function event(type: string, over: Partial<NewEvent> = {}): NewEvent {
  const atMs = over.atMs ?? T0
  return {
    id: newId(atMs),
    atMs,
    type,
    messageId: null,
    recipientKey: null,
    recipient: null,
    provider: null,
    class: null,
    status: null,
    detail: {},
    ...over,
  }
}

/** One `queued` event for each recipient, as the acceptance writes them. */
export function queued({ id, acceptedMs, recipients }: NewMessage): NewEvent[] {
  return recipients.map(({ address, suppressed }) =>
    event(suppressed === undefined ? 'queued' : 'suppressed', {
      atMs: acceptedMs,
      messageId: id,
      recipient: address,
    }),
  )
}

export function attemptRecord(over: Partial<AttemptRecord> = {}): AttemptRecord {
  return {
    startedMs: T0,
    endedMs: T0 + 40,
    provider: 'own',
    source: '192.0.2.1',
    remoteHost: 'mx.a.example',
    remoteAddress: '192.0.2.25',
    tls: '',
    stage: 'dot',
    replyCode: 250,
    enhanced: '2.0.0',
    reply: '250 2.0.0 ok',
    class: 'ok',
    transcript: null,
    ...over,
  }
}

/** What settles the claim's recipient: with one event of the state's name where that state is final or deferred. */
export function settlement(
  { message: { id }, recipients }: Claim,
  to: Settlement['to'],
  over: Partial<Settlement> = {},
  at = 0,
): Settlement {
  const { key, fence, address } = recipients[at]!
  const atMs = over.atMs ?? T0
  const about = { atMs, messageId: id, recipientKey: key, recipient: address }
  return {
    messageId: id,
    key,
    fence,
    to,
    atMs,
    reason: to === 'sent' ? 'ok' : `test-${to}`,
    countsAsAttempt: to === 'deferred' || to === 'bounced',
    ambiguous: false,
    attempt: attemptRecord(),
    events: to === 'ready' ? [] : [event(to, about)],
    suppressions: [],
    counters: [],
    spawn: null,
    ...over,
  }
}

export function isFinalState(state: RecipientState): boolean {
  return (FINAL as readonly RecipientState[]).includes(state)
}
