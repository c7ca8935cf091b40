import { type Clock, type Log, messageOf, newId, type Result } from '#base'
import { failedEvent, queuedEvent } from '#events'
import type { Limiter } from '#limits'
import type { Address, CompletedMessage, CompleteOptions } from '#mail'
import type { AcceptResult, NewEvent, NewMessage, NewRecipient, Notify, Priority } from '#queue'
import { Backpressure } from './backpressure.ts'
import { type CompleteJob, type CompleteResult, completeJob } from './complete/complete-job.ts'
import { OffLoop, ownMemory } from './off-loop.ts'
import { overloaded, type Refusal, refusal, refuse, storageFull, storeFailed } from './refusal.ts'
import { maySendAs, mayUseNullSender, type Submitter } from './submitter.ts'

/** What intake needs of the sending domains. */
export interface KnownDomains {
  get(name: string): { readonly active: boolean } | undefined
}

/** What intake needs of the queue. */
export interface AcceptingQueue {
  /** Resolves after the commit. */
  accept(message: NewMessage, events: readonly NewEvent[]): Promise<AcceptResult>
  /** Messages accepted but not yet signed and handed to delivery. */
  backlog(): number
}

export type SubmittedRecipient = {
  readonly address: Address
  readonly notify?: readonly Notify[]
  readonly originalRecipient?: string
  /** Recorded instead of refused. */
  readonly suppressed?: { readonly reason: string; readonly detail: string }
}

/** One message as it was handed in, by whichever way. */
export type Submission = {
  readonly reversePath: Address | null
  readonly recipients: readonly SubmittedRecipient[]
  /** Belongs to the acceptor from now on: a large one moves to another thread. */
  readonly content: Buffer
  readonly submitter: Submitter
  readonly smtpUtf8: boolean
  /** REQUIRETLS (RFC 8689) was asked for. */
  readonly requireTls?: boolean
  readonly envelopeId?: string
  readonly ret?: 'full' | 'hdrs'
  readonly client: CompleteOptions['client']
  /** For Received: `ESMTPSA`, `HTTP` … */
  readonly protocol: string
  /** Said beside the content (HTTP); they win over control headers. */
  readonly settings?: {
    readonly priority?: Priority
    readonly sendAtMs?: number
    readonly expiresMs?: number
    readonly category?: string
    readonly tags?: readonly string[]
    readonly metadata?: Readonly<Record<string, string>>
    readonly route?: string
    readonly idempotencyKey?: string
    /** Of the request, where the content is composed anew each time. */
    readonly fingerprint?: string
  }
}

/** The id of the message that is kept; `repeated`: an earlier one with this idempotency key. */
export type Accepted = { readonly id: string; readonly repeated: boolean }

export type AcceptorOptions = {
  readonly hostname: string
  readonly hideClientAddress: boolean
  readonly maxBacklog: number
  readonly lifetimeMs: number
  /** Whether what is accepted now is sandbox mail for ever. */
  readonly sandbox: () => boolean
}

export type AcceptorDeps = {
  readonly queue: AcceptingQueue
  readonly domains: KnownDomains
  readonly limiter: Pick<Limiter, 'take'>
  readonly clock: Clock
  readonly log: Log
  /** Called just before the commit starts, so that signing runs beside it; must take what it needs of the content at once. */
  readonly presign?: (message: NewMessage) => void
  /** Called once when the store failed: nothing is taken any more. */
  readonly onStoreFailed?: (error: unknown) => void
}

const HOUR_MS = 3_600_000
const MAX_SEND_AT_MS = 366 * 24 * HOUR_MS
const LONGEST_WAIT_MS = 30_000
/** RFC 5321 §6.3 asks for a limit of at least 100; ours is the delivery's. */
const MAX_RECEIVED = 30
const FULL = new Set(['insufficient-storage', 'ENOSPC', 'EDQUOT', 'SQLITE_FULL'])

/** The one place that says 250: nothing is answered as kept before the queue has committed it. */
export class Acceptor {
  readonly #options: AcceptorOptions
  readonly #deps: AcceptorDeps
  readonly #backpressure: Backpressure
  readonly #completion = new OffLoop<CompleteJob, CompleteResult>({
    thread: new URL('./complete/worker.ts', import.meta.url),
    onLoopBytes: 524_288,
    sizeOf: (job) => job.raw.length,
    run: completeJob,
    handsOver: (job) => ownMemory(job.raw),
  })
  #storeFailed = false
  #storeFullUntilMs = 0
  /** Submitters over their rate, and until when: told at MAIL, before they send a content in vain. */
  readonly #overRateUntilMs = new Map<string, number>()

  constructor(options: AcceptorOptions, deps: AcceptorDeps) {
    this.#options = options
    this.#deps = deps
    this.#backpressure = new Backpressure(() => deps.queue.backlog(), options.maxBacklog, LONGEST_WAIT_MS, deps.clock)
  }

  /** False for ever once a commit failed in a way that leaves the store in doubt (RELIABILITY I-11). */
  get taking(): boolean {
    return !this.#storeFailed
  }

  /** Acceptances held back by the backlog at this moment. */
  get waiting(): number {
    return this.#backpressure.waiting
  }

  /** What would be refused whatever the message says; asked before it is read. */
  unavailable(): Refusal | null {
    if (this.#storeFailed) return storeFailed
    return this.#deps.clock.monotonicMs() < this.#storeFullUntilMs ? storageFull : null
  }

  /** Whether this submitter may use this reverse-path or author; null: yes. */
  senderRefusal(submitter: Submitter, sender: Address | null, field: string): Refusal | null {
    if (!submitter.valid())
      return refusal(
        550,
        '5.7.1',
        'revoked',
        `${who(submitter)} was revoked or has expired`,
        null,
        'log in with another',
      )
    if (sender === null) {
      if (mayUseNullSender(submitter)) return null
      return refusal(
        550,
        '5.7.1',
        'null-sender',
        `${who(submitter)} may not use the null sender`,
        field,
        'give an address of your sending domain, or allow it with the entry <>',
      )
    }
    const known = this.#deps.domains.get(sender.domain)
    if (known === undefined)
      return refusal(
        550,
        '5.7.1',
        'unknown-sending-domain',
        `${field} ${sender.text}: ${sender.domain} is not a sending domain here`,
        field,
        `add it with relevo domain add ${sender.domain}`,
      )
    if (!known.active)
      return refusal(
        550,
        '5.7.1',
        'inactive-sending-domain',
        `${field} ${sender.text}: the sending domain ${sender.domain} is switched off`,
        field,
        'use another, or switch it on again',
      )
    if (maySendAs(submitter, sender)) return null
    return refusal(
      550,
      '5.7.1',
      'foreign-sender',
      `${field} ${sender.text}: ${who(submitter)} may send as ${submitter.allowed.join(', ') || 'nobody'} only`,
      field,
      `use such an address, or make a credential for ${sender.domain}`,
    )
  }

  async accept(submission: Submission): Promise<Result<Accepted, Refusal>> {
    const unavailable = this.unavailable()
    if (unavailable !== null) return refuse(unavailable)
    const sender = this.senderRefusal(submission.submitter, submission.reversePath, 'MAIL FROM')
    if (sender !== null) return refuse(sender)
    const roomy = this.#backpressure.enter()
    if (!(roomy === true || (await roomy))) return refuse(overloaded)
    try {
      return await this.#accept(submission)
    } finally {
      this.#backpressure.leave()
    }
  }

  async #accept(submission: Submission): Promise<Result<Accepted, Refusal>> {
    const { submitter } = submission
    const nowMs = this.#deps.clock.now()
    const id = newId(nowMs)
    const reversePath = submission.reversePath?.text ?? ''
    const recipients = submission.recipients.map((recipient) => recipient.address.text)
    const result = this.#completion.do({
      raw: submission.content,
      reversePath,
      recipients,
      options: {
        hostname: this.#options.hostname,
        id,
        nowMs,
        client: this.#options.hideClientAddress ? null : submission.client,
        protocol: submission.protocol,
        recipient: recipients.length === 1 ? recipients[0]! : null,
        smtpUtf8: submission.smtpUtf8,
      },
    })
    const done = result instanceof Promise ? await result : result
    if (!done.ok) {
      const { code, enhanced, field, message } = done.error
      return refuse(refusal(code, enhanced, 'invalid-message', message, field))
    }
    const { completed, fingerprint } = done.value
    if (completed.receivedCount > MAX_RECEIVED)
      return refuse(
        refusal(554, '5.4.6', 'mail-loop', 'more than 30 Received fields: the message goes in a circle', 'Received'),
      )
    const author = this.senderRefusal(submitter, completed.headerFrom, 'From')
    if (author !== null) return refuse(author)
    const message = this.#messageOf(submission, completed, fingerprint, id, nowMs)
    if (!message.ok) return message
    const rate = await this.#rateRefusal(submitter)
    if (rate !== null) return refuse(rate)
    return this.#commit(message.value, submission, nowMs)
  }

  #messageOf(
    submission: Submission,
    completed: CompletedMessage,
    fingerprint: string | null,
    id: string,
    nowMs: number,
  ): Result<NewMessage, Refusal> {
    const { control } = completed
    const { submitter, settings = {} } = submission
    const sendAtMs = settings.sendAtMs ?? control.sendAtMs
    if (sendAtMs !== null && sendAtMs > nowMs + MAX_SEND_AT_MS)
      return refuse(
        refusal(
          554,
          '5.6.0',
          'send-at-too-late',
          'Send-At is more than a year ahead',
          'X-Relevo-Send-At',
          'give an earlier time',
        ),
      )
    if (control.template !== null)
      return refuse(
        refusal(
          554,
          '5.6.0',
          'unsupported',
          'X-Relevo-Template: there are no templates here',
          'X-Relevo-Template',
          'send the text itself',
        ),
      )
    const notBeforeMs = sendAtMs !== null && sendAtMs > nowMs ? sendAtMs : null
    const reversePath = submission.reversePath?.text ?? ''
    const key = settings.idempotencyKey ?? control.idempotencyKey
    const category = settings.category ?? control.category
    const route = settings.route ?? control.route
    return {
      ok: true,
      value: {
        id,
        acceptedMs: nowMs,
        reversePath,
        sendingDomain: completed.headerFrom.domain,
        content: completed.content,
        messageIdHeader: completed.messageIdHeader,
        headerFrom: completed.headerFrom.text,
        subject: completed.subject,
        priority: settings.priority ?? control.priority ?? 'normal',
        sandbox: this.#options.sandbox(),
        ...(notBeforeMs === null ? {} : { notBeforeMs }),
        expiresMs: settings.expiresMs ?? (notBeforeMs ?? nowMs) + this.#options.lifetimeMs,
        smtpUtf8: submission.smtpUtf8,
        // RFC 8689 §4.1: of both, REQUIRETLS holds.
        ...(submission.requireTls === true ? { tls: 'required' } : completed.tlsOptional ? { tls: 'optional' } : {}),
        ...(submission.envelopeId === undefined ? {} : { envelopeId: submission.envelopeId }),
        ...(submission.ret === undefined ? {} : { ret: submission.ret }),
        submitter: submitter.name,
        tags: [...new Set([...submitter.defaultTags, ...control.tags, ...(settings.tags ?? [])])],
        metadata: { ...control.metadata, ...settings.metadata },
        ...(category === null ? {} : { category }),
        ...(control.campaign === null ? {} : { campaign: control.campaign }),
        ...(route === null ? {} : { route }),
        ...(key === null
          ? {}
          : {
              idempotency: {
                scope: submitter.name,
                key,
                fingerprint: settings.fingerprint ?? fingerprint ?? '',
              },
            }),
        recipients: submission.recipients.map(newRecipient),
      },
    }
  }

  /** Whether the submitter is known to be over its rate; nothing is counted here, only what is accepted counts. */
  knownRateRefusal(submitter: Submitter): Refusal | null {
    const untilMs = this.#overRateUntilMs.get(submitter.name)
    if (untilMs === undefined) return null
    const leftMs = untilMs - this.#deps.clock.monotonicMs()
    if (leftMs > 0) return overRate(submitter, leftMs)
    this.#overRateUntilMs.delete(submitter.name)
    return null
  }

  async #rateRefusal(submitter: Submitter): Promise<Refusal | null> {
    if (submitter.ratePerHour === 0) return null
    const rate = { limit: submitter.ratePerHour, perMs: HOUR_MS, burst: submitter.ratePerHour }
    const answer = await this.#deps.limiter.take(`submit:${submitter.name}`, rate)
    if (answer.granted) return null
    this.#overRateUntilMs.set(submitter.name, this.#deps.clock.monotonicMs() + answer.retryAfterMs)
    return overRate(submitter, answer.retryAfterMs)
  }

  async #commit(message: NewMessage, submission: Submission, nowMs: number): Promise<Result<Accepted, Refusal>> {
    const events = submission.recipients.map(({ address, suppressed }) =>
      suppressed === undefined
        ? queuedEvent(nowMs, message.id, address.text, submission.submitter.name)
        : failedEvent(
            'suppressed',
            nowMs,
            { messageId: message.id, recipientKey: null, recipient: address.text },
            { reason: suppressed.reason, detail: { detail: suppressed.detail } },
          ),
    )
    try {
      this.#deps.presign?.(message)
      const result = await this.#deps.queue.accept(message, events)
      if (result.kind === 'accepted') return { ok: true, value: { id: result.id, repeated: false } }
      if (result.same) return { ok: true, value: { id: result.id, repeated: true } }
      return refuse(
        refusal(
          554,
          '5.5.0',
          'idempotency-conflict',
          `the idempotency key was used for another message (${result.id})`,
          'Idempotency-Key',
          'use a new key for new content',
        ),
      )
    } catch (error) {
      return refuse(this.#storeRefusal(error))
    }
  }

  #storeRefusal(error: unknown): Refusal {
    const code = (error as { code?: unknown }).code
    if (typeof code === 'string' && FULL.has(code)) {
      this.#deps.log.error({ error: messageOf(error) }, 'the data directory is full: mail is answered 452')
      this.#storeFullUntilMs = this.#deps.clock.monotonicMs() + 1000
      return storageFull
    }
    this.#deps.log.error({ error: messageOf(error), code }, 'a message could not be kept')
    if (
      code === 'store-failed' ||
      (typeof code === 'string' && /^(EIO$|EROFS$|SQLITE_(IOERR|CORRUPT|READONLY))/.test(code))
    ) {
      if (!this.#storeFailed) this.#deps.onStoreFailed?.(error)
      this.#storeFailed = true
    }
    return storeFailed
  }
}

function overRate(submitter: Submitter, waitMs: number): Refusal {
  return refusal(
    450,
    '4.7.1',
    'rate-limited',
    `${who(submitter)} has sent its ${submitter.ratePerHour} messages of this hour`,
    null,
    `try again in ${Math.ceil(waitMs / 60_000)} min`,
  )
}

function newRecipient(recipient: SubmittedRecipient): NewRecipient {
  const { address, notify, originalRecipient, suppressed } = recipient
  return {
    address: address.text,
    domain: address.domain,
    ...(originalRecipient === undefined ? {} : { originalRecipient }),
    ...(notify === undefined ? {} : { notify }),
    ...(suppressed === undefined ? {} : { suppressed }),
  }
}

function who(submitter: Submitter): string {
  return submitter.name.slice(submitter.name.indexOf(':') + 1)
}
