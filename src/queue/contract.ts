/** Claim order, strongest first. A lower index always goes before a higher one at every level. */
export const PRIORITIES = ['urgent', 'high', 'normal', 'low'] as const
export type Priority = (typeof PRIORITIES)[number]
/** Those that the last connections are kept for. */
export const STRONG_PRIORITIES: ReadonlySet<Priority> = new Set<Priority>(['urgent', 'high'])

export type Notify = 'never' | 'success' | 'failure' | 'delay'

/** Where a recipient stands. The table of moves and each state's crash argument: `states.ts`. */
export type RecipientState =
  | 'scheduled'
  | 'ready'
  | 'leased'
  | 'deferred'
  | 'held'
  | 'sent'
  | 'bounced'
  | 'uncertain'
  | 'suppressed'
  | 'expired'
  | 'cancelled'

export type FinalState = 'sent' | 'bounced' | 'uncertain' | 'suppressed' | 'expired' | 'cancelled'

export type NewRecipient = {
  /** Forward-path as it will be said in RCPT: local part as given, domain lower-case A-label. */
  readonly address: string
  readonly domain: string
  /** ORCPT (RFC 3461 §4.2), decoded form `rfc822;user@example`, when the client gave one. */
  readonly originalRecipient?: string
  /** NOTIFY (RFC 3461 §4.1); absent: the client said nothing. */
  readonly notify?: readonly Notify[]
  /** Set when it is recorded as suppressed at acceptance instead of being refused; it is final at once. */
  readonly suppressed?: { readonly reason: string; readonly detail: string }
}

export type NewMessage = {
  readonly id: string
  readonly acceptedMs: number
  /** Reverse-path of the submission, `''` for the null sender. Return-path tokens replace it on the wire, not here. */
  readonly reversePath: string
  /** The sending domain that signs (DKIM d=) and bounds who may see the message. */
  readonly sendingDomain: string
  /** Header and body as they leave, CRLF, 7-bit, before signing. Transferred: do not use it after the call unless `keepContent`. */
  readonly content: Uint8Array
  readonly messageIdHeader: string
  readonly headerFrom: string
  readonly subject: string
  readonly priority: Priority
  readonly sandbox: boolean
  /** When the first attempt may start; absent: at once. FUTURERELEASE, X-Relevo-Send-At. */
  readonly notBeforeMs?: number
  readonly expiresMs: number
  readonly smtpUtf8: boolean
  /** `required`: REQUIRETLS (RFC 8689); `optional`: `TLS-Required: no`. Absent: the policy of the recipient's domain decides. */
  readonly tls?: 'required' | 'optional'
  /** RFC 3461 ENVID and RET. */
  readonly envelopeId?: string
  readonly ret?: 'full' | 'hdrs'
  /** `smtp:<username>`, `token:<id>`, `trusted:<address>`, `system` (DSNs). */
  readonly submitter: string
  readonly tags: readonly string[]
  readonly metadata: Readonly<Record<string, string>>
  readonly category?: string
  readonly campaign?: string
  /** X-Relevo-Route: name of a provider the submitter prefers. */
  readonly route?: string
  /** Same scope and key: the same answer and one message; `fingerprint` tells whether the content is the same. */
  readonly idempotency?: { readonly scope: string; readonly key: string; readonly fingerprint: string }
  readonly recipients: readonly NewRecipient[]
}

export type AcceptResult =
  | { readonly kind: 'accepted'; readonly id: string }
  /** An earlier message with this idempotency key; `same` false: its content differs (HTTP 409). */
  | { readonly kind: 'repeated'; readonly id: string; readonly same: boolean }

/** One recipient leased for one attempt. `fence` grows with each lease of this recipient; settle refuses an older one. */
export type ClaimedRecipient = {
  readonly key: number
  readonly fence: number
  readonly address: string
  readonly domain: string
  readonly originalRecipient: string | null
  readonly notify: readonly Notify[] | null
  /** Attempts that count (answered with a transient reply about this message). */
  readonly attempts: number
  /** Attempts whose end stayed ambiguous. */
  readonly uncertain: number
  /** A copy may have been taken by a peer before (crash or ambiguous end). */
  readonly maybeDuplicate: boolean
}

/** What a delivery needs of a message without its content. */
export type MessageHead = {
  readonly id: string
  readonly acceptedMs: number
  readonly expiresMs: number
  readonly reversePath: string
  readonly sendingDomain: string
  readonly headerFrom: string
  readonly messageIdHeader: string
  readonly subject: string
  readonly size: number
  readonly priority: Priority
  readonly sandbox: boolean
  readonly smtpUtf8: boolean
  readonly tls: 'required' | 'optional' | null
  readonly envelopeId: string | null
  readonly ret: 'full' | 'hdrs' | null
  readonly submitter: string
  readonly tags: readonly string[]
  readonly category: string | null
  readonly campaign: string | null
  readonly route: string | null
}

/** Recipients of one message in one domain, leased together for one transaction (one unless several are asked for). */
export type Claim = { readonly message: MessageHead; readonly recipients: readonly ClaimedRecipient[] }

/** One try, as it is kept and shown. */
export type AttemptRecord = {
  readonly startedMs: number
  readonly endedMs: number
  readonly provider: string
  /** Local address used, `''` when no connection came about. */
  readonly source: string
  /** Remote host name and address, `''` when none. */
  readonly remoteHost: string
  readonly remoteAddress: string
  /** `TLSv1.3 TLS_AES_256_GCM_SHA384`, `''` for clear text. */
  readonly tls: string
  readonly stage: string
  readonly replyCode: number | null
  readonly enhanced: string | null
  /**
   * The reply's lines joined by a space, as received (untrusted), at most 2 KiB. Without a `replyCode` nothing was said: then what
   * we found, such as which TLS policy was not met and why.
   */
  readonly reply: string
  readonly class: string
  /** Kept for failed attempts, at most 16 KiB; content is never in it. */
  readonly transcript: string | null
}

export type NewEvent = {
  readonly id: string
  readonly atMs: number
  readonly type: string
  readonly messageId: string | null
  readonly recipientKey: number | null
  readonly recipient: string | null
  readonly provider: string | null
  readonly class: string | null
  readonly status: string | null
  readonly detail: Readonly<Record<string, unknown>>
}

export type NewSuppression = {
  readonly address: string
  readonly scope: string
  readonly reason: 'hard-bounce' | 'soft-bounce' | 'complaint' | 'unsubscribe' | 'manual'
  readonly class: string
  readonly smtpCode: string
  readonly detail: string
  readonly atMs: number
  readonly untilMs: number | null
}

export type CounterMove = { readonly name: string; readonly period: string; readonly delta: number }

/** What one attempt, or one decision, makes of a leased recipient. Everything in it is committed together or not at all. */
export type Settlement = {
  readonly messageId: string
  readonly key: number
  readonly fence: number
  readonly to: Exclude<RecipientState, 'scheduled' | 'leased' | 'ready'> | 'ready'
  readonly atMs: number
  /** For `deferred` (and `ready` after an infrastructure failure): when it is due again. */
  readonly dueMs?: number
  /** Named reason (`greylisted`, `mailbox-full`, `warmup-cap` …); nothing waits or ends without one. */
  readonly reason: string
  /** Adds one to the attempts that count. */
  readonly countsAsAttempt: boolean
  readonly ambiguous: boolean
  readonly attempt: AttemptRecord | null
  readonly events: readonly NewEvent[]
  readonly suppressions: readonly NewSuppression[]
  readonly counters: readonly CounterMove[]
  /** A message born of this (a DSN), accepted in the same transaction unless one with its idempotency key was. */
  readonly spawn: NewMessage | null
}

export type SettleResult =
  | { readonly kind: 'settled' }
  /** The lease was taken back meanwhile (expired, cancelled, another node): nothing was written. */
  | { readonly kind: 'stale' }

/** One row of the rebuild at start, and of every change that makes a recipient due. */
export type ScheduleRow = {
  readonly key: number
  readonly messageKey: number
  readonly domain: string
  readonly priority: Priority
  readonly dueMs: number
  /** When the message's lifetime is over; absent: not known. */
  readonly expiresMs?: number
  /** Its time is one that somebody chose, by the wall clock; all others are waits, by a clock that nobody sets. */
  readonly appointed?: true
  /** It was leased in two crashes or more, so it may be their cause: never two of these at once. */
  readonly suspect?: true
}

export type QueueFilter = {
  readonly states?: readonly RecipientState[]
  readonly messageId?: string
  readonly recipient?: string
  readonly domain?: string
  readonly sendingDomain?: string
  readonly priority?: Priority
  readonly tag?: string
  readonly campaign?: string
  /** Held by a restore, and not before it. */
  readonly restored?: true
  readonly acceptedBeforeMs?: number
  readonly acceptedAfterMs?: number
}

export type RecipientView = {
  readonly key: number
  readonly address: string
  readonly domain: string
  readonly state: RecipientState
  readonly reason: string
  readonly dueMs: number | null
  readonly attempts: number
  readonly uncertain: number
  readonly maybeDuplicate: boolean
  readonly settledMs: number | null
  /** What the sender wants to be told (RFC 3461 §4.1, §4.2). */
  readonly notify: readonly Notify[] | null
  readonly originalRecipient: string | null
}

export type QueueRow = MessageHead & { readonly recipient: RecipientView }

export type MessageView = MessageHead & {
  readonly metadata: Readonly<Record<string, string>>
  readonly contentKept: boolean
  readonly recipients: readonly (RecipientView & { readonly tries: readonly AttemptRecord[] })[]
}

/** May hold fewer rows than asked for, even none, while `next` is set: one call looks at a bounded number. */
export type Page<T> = { readonly rows: readonly T[]; readonly next: string | null }

export type QueueCounts = Readonly<Record<RecipientState, number>>

/** What people may do to waiting mail. Only recipients in a state that allows it are moved. */
export type Steer = 'hold' | 'release' | 'cancel' | 'retry'

/** The stored content does not match its checksum: it must not be sent. */
export class DamagedContent extends Error {
  readonly messageId: string
  constructor(messageId: string) {
    super(`content of message ${messageId} does not match its checksum`)
    this.name = 'DamagedContent'
    this.messageId = messageId
  }
}

/**
 * Keeps every message until each recipient is settled. Speaks of messages, recipients and leases, never of rows or files.
 * All methods reject with the driver's I/O error (`ENOSPC`, `SQLITE_FULL` as code) when nothing could be kept.
 */
export interface QueueStore extends AsyncDisposable {
  /** Resolves after the message, its content and its events are on disk. */
  accept(
    message: NewMessage,
    events: readonly NewEvent[],
  ): Promise<{ readonly result: AcceptResult; readonly due: readonly ScheduleRow[] }>
  /**
   * `ready`/due `deferred`/`scheduled` → `leased`, durable before it resolves; what is no longer claimable is left out.
   * @param now times that somebody chose are over by `wallMs`, waits by `waitedMs`
   */
  lease(
    keys: readonly number[],
    owner: string,
    now: number | { readonly wallMs: number; readonly waitedMs: number },
    untilMs: number,
  ): Promise<readonly Claim[]>
  /** All settlements in one transaction; `due` holds what became due later (deferred, spawned). */
  settle(settlements: readonly Settlement[]): Promise<{
    readonly results: readonly SettleResult[]
    readonly due: readonly ScheduleRow[]
    /** Messages whose last recipient was settled. */
    readonly done: readonly string[]
  }>
  /** The content, its checksum verified; rejects with DamagedContent, or with the machine's error when it cannot be told. */
  content(messageId: string): Promise<Buffer>
  /** Everything of the message that waits goes to `held`, reason `damaged`; returns how many recipients. */
  holdDamaged(messageId: string, nowMs: number): Promise<number>
  /** Leases of `owner` (or expired ones when null) go back to `ready`, flagged maybeDuplicate; called at start and periodically. */
  reclaim(owner: string | null, nowMs: number): Promise<readonly ScheduleRow[]>
  /** Looks whether what is derived agrees with what it is derived from; rejects with a Fault `damaged-store`. */
  verify(): Promise<void>
  /** Everything that is or will be due, in pages by key, to rebuild the schedule at start. */
  schedule(afterKey: number, limit: number): Promise<readonly ScheduleRow[]>
  steer(
    action: Steer,
    filter: QueueFilter,
    reason: string,
    nowMs: number,
    options: { readonly dryRun: boolean; readonly limit: number },
  ): Promise<{
    readonly count: number
    readonly due: readonly ScheduleRow[]
    /** Recipients no longer due (held, cancelled). */
    readonly gone: readonly number[]
    /** Messages whose last recipient was cancelled. */
    readonly done: readonly string[]
    readonly more: boolean
  }>
  message(messageId: string): Promise<MessageView | null>
  /** The recipient a return-path token names, with its message; null when unknown or removed. */
  recipient(key: number): Promise<QueueRow | null>
  /** Tries of a recipient by this provider that were answered with a transient reply. */
  deferralsBy(recipientKey: number, provider: string): Promise<number>
  /** Events that follow a final outcome (late bounce, complaint): events, suppressions and counters together. */
  note(
    events: readonly NewEvent[],
    suppressions: readonly NewSuppression[],
    counters: readonly CounterMove[],
  ): Promise<void>
  list(filter: QueueFilter, cursor: string | null, limit: number): Promise<Page<QueueRow>>
  counts(): Promise<QueueCounts>
  /** Removes messages settled before the time, in bounded steps: at most `limit`, and of one with many recipients a part. */
  retire(settledBeforeMs: number, limit: number): Promise<{ readonly removed: number; readonly more: boolean }>
  /** Forgets idempotency keys that are a week old, in bounded steps; returns how many went. */
  forgetKeys(nowMs: number, limit: number): Promise<number>
  /** Removes the oldest events and mail that came back, from before the time, in bounded steps; returns how many went. */
  forgetEvents(beforeMs: number, limit: number): Promise<number>
  /** Gives freed space back in a small step: compacts one mostly dead segment, frees database pages. True when more is to do. */
  reclaimSpace(nowMs: number): Promise<boolean>
}
