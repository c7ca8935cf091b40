import { type Clock, type Log, messageOf, newId } from '#base'
import type { ReturnPaths } from '#domains'
import { type About, feedbackEvent } from '#events'
import { composeForward, parseAddress } from '#mail'
import type { NewEvent, NewMessage, NewSuppression, Queue, QueueRow } from '#queue'
import type { Records, RecordsTables } from '#store'
import type { Notice } from './conclude.ts'
import type { Report, ReportedRecipient } from './report.ts'

export type InboundMailParts = {
  readonly records: Records
  readonly queue: Queue
  readonly returnPaths: ReturnPaths
  /** Reads a mail in a thread of its own. */
  read(content: Uint8Array): Promise<Report>
  /** Room for one more postmaster or abuse mail to be sent on in this hour. */
  mayForward(): Promise<boolean>
  /** Empty: postmaster and abuse mail is stored and listed only. */
  readonly forwardTo: string
  readonly hostname: string
  readonly lifetimeMs: number
  /** The DSN for the sender, or null when none is wanted. */
  dsnFor(notice: Notice): Promise<NewMessage | null>
  readonly sandbox: boolean
  /** Suppressions were committed: look-ups must not answer from before. */
  onSuppressed(): void
  readonly clock: Clock
  readonly log: Log
}

type Row = {
  readonly seq: number
  readonly id: string
  readonly kind: RecordsTables['inbound_mail']['kind']
  readonly mail_from: string
  readonly rcpt_to: string
  readonly content: Uint8Array | null
}

/** What came of one mail, kept with it. */
type Result = {
  readonly found: string
  readonly led_to: string
  readonly message_id?: string
  readonly recipient?: string
}

const PAGE = 20
const RETRY_MS = 5000
const SANDBOX_SUPPRESSION_MS = 86_400_000

/**
 * Works on the mail that port 25 stored: attributes it by our own token and by nothing else, and concludes by the same
 * classes as a direct reply. It changes statistics and suppression, never an outcome. Each mail is worked on until it is
 * marked; its event has the mail's own id, so doing it twice after a crash is doing it once.
 */
export class InboundMail {
  readonly #parts: InboundMailParts
  #running: Promise<void> | null = null
  #again = false
  #stopped = false
  #cancelRetry: (() => void) | null = null

  constructor(parts: InboundMailParts) {
    this.#parts = parts
    this.kick()
  }

  /** There is something to do. */
  kick(): void {
    this.#again = true
    this.#running ??= this.#run().finally(() => {
      this.#running = null
      if (this.#again && !this.#stopped) this.kick()
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancelRetry?.()
    await this.#running
  }

  async #run(): Promise<void> {
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false
        const rows = await this.#next()
        for (const row of rows) if (!this.#stopped) await this.#work(row)
        if (rows.length === PAGE) this.#again = true
      }
    } catch (error) {
      this.#parts.log.error({ error: messageOf(error) }, 'mail that came back could not be worked on; it is kept')
      this.#again = false
      this.#cancelRetry = this.#parts.clock.after(RETRY_MS, () => this.kick())
    }
  }

  #next(): Promise<Row[]> {
    const { records } = this.#parts
    return records.read(
      records.query
        .selectFrom('inbound_mail')
        .select(['seq', 'id', 'kind', 'mail_from', 'rcpt_to', 'content'])
        .where('processed_ms', 'is', null)
        .orderBy('seq')
        .limit(PAGE),
    )
  }

  async #work(row: Row): Promise<void> {
    const { records, clock } = this.#parts
    const report = await this.#parts.read(row.content ?? new Uint8Array())
    const result = await this.#conclude(row, report)
    // A bounce has said what it had to; what people wrote is kept for them.
    const keep = row.kind === 'postmaster' || row.kind === 'abuse' || result.led_to === 'nothing'
    await records.write(
      records.query
        .updateTable('inbound_mail')
        .set({ processed_ms: clock.now(), result: JSON.stringify(result), ...(keep ? {} : { content: null }) })
        .where('seq', '=', row.seq),
    )
  }

  async #conclude(row: Row, report: Report): Promise<Result> {
    if (report.kind === 'complaint') return this.#complaint(row, report)
    if (row.kind === 'bounce') return this.#bounce(row, report)
    if (row.kind === 'postmaster' || row.kind === 'abuse') return this.#forPeople(row, report)
    return { found: report.kind, led_to: 'nothing' }
  }

  async #bounce(row: Row, report: Report): Promise<Result> {
    const target = await this.#targetOf(row.rcpt_to, report)
    if (target === null) return { found: report.kind, led_to: 'nothing' }
    const { queueRow, reported } = target
    const about = aboutOf(queueRow)
    const nowMs = this.#parts.clock.now()
    const facts = {
      class: reported?.class ?? report.kind,
      ...(reported?.status ? { status: reported.status } : {}),
      detail: {
        from: row.mail_from,
        hard: reported?.hard ?? null,
        smtp_code: reported?.smtpCode ?? null,
        diagnostic: (reported?.diagnostic ?? '').slice(0, 500),
      },
    }
    const types = {
      bounce: 'late-bounce',
      delay: 'delayed',
      success: 'delivered',
      'auto-reply': 'auto-reply',
      challenge: 'auto-reply',
    } as const
    const type = Object.hasOwn(types, report.kind) ? types[report.kind as keyof typeof types] : null
    if (type === null) return { found: report.kind, led_to: 'nothing' }
    const event = { ...feedbackEvent(type, nowMs, about, facts), id: row.id }
    const dead = report.kind === 'bounce' && reported?.hard === true
    await this.#note(event, dead ? [suppressionOf(queueRow, 'hard-bounce', 'everything', facts, nowMs)] : [])
    await this.#tellSender(queueRow, report, reported)
    return {
      found: report.kind,
      led_to: dead ? `${type}, suppressed` : type,
      message_id: queueRow.id,
      recipient: about.recipient,
    }
  }

  /** Our return path stands where the sender's stood, so what it asked to be told of (RFC 3461 §4.1) comes here and is told on. */
  async #tellSender(row: QueueRow, { kind }: Report, reported: ReportedRecipient | null): Promise<void> {
    const action = actionOf(kind, reported)
    if (action === null) return
    const notice = await this.#parts.dsnFor({
      ...{ message: row, recipient: row.recipient, action, nowMs: this.#parts.clock.now() },
      // RFC 3463 §2: nothing more is known than its class
      status: reported?.status ?? { failed: '5.0.0', delayed: '4.0.0' }[action as string] ?? '2.0.0',
      diagnostic: reported?.diagnostic ?? '',
      remoteHost: '',
    })
    if (notice !== null) await this.#parts.queue.accept(notice, [])
  }

  /** Complaints come to the feedback address with the original inside; its return path says whom it was for. */
  async #complaint(row: Row, report: Report): Promise<Result> {
    const path = row.kind === 'bounce' ? row.rcpt_to : report.originalReturnPath
    const target = path === null ? null : await this.#targetOf(path, report)
    if (target === null) return { found: 'complaint', led_to: 'nothing' }
    const { queueRow } = target
    const nowMs = this.#parts.clock.now()
    const facts = {
      class: 'complaint',
      detail: { from: row.mail_from, diagnostic: 'reported as spam by the recipient' },
    }
    const event = { ...feedbackEvent('complained', nowMs, aboutOf(queueRow), facts), id: row.id }
    await this.#note(event, [suppressionOf(queueRow, 'complaint', `domain:${queueRow.sendingDomain}`, facts, nowMs)])
    return {
      found: 'complaint',
      led_to: 'complained, suppressed',
      message_id: queueRow.id,
      recipient: queueRow.recipient.address,
    }
  }

  async #forPeople(row: Row, report: Report): Promise<Result> {
    const { forwardTo, hostname } = this.#parts
    // A mail that is itself automatic is not sent on: two hosts could write to each other for ever.
    if (forwardTo === '' || report.kind !== 'other' || row.mail_from === '')
      return { found: report.kind, led_to: 'stored' }
    const to = parseAddress(forwardTo)
    if (!to.ok || !(await this.#parts.mayForward())) return { found: report.kind, led_to: 'stored' }
    const nowMs = this.#parts.clock.now()
    const id = newId(nowMs)
    const subject = `Mail to ${row.rcpt_to}`
    const message: NewMessage = {
      id,
      acceptedMs: nowMs,
      reversePath: '',
      sendingDomain: hostname,
      content: composeForward({ hostname, nowMs, id, to: to.value.text, subject, raw: Buffer.from(row.content ?? []) }),
      messageIdHeader: `<${id}@${hostname}>`,
      headerFrom: `postmaster@${hostname}`,
      subject,
      priority: 'normal',
      sandbox: this.#parts.sandbox,
      expiresMs: nowMs + this.#parts.lifetimeMs,
      smtpUtf8: false,
      submitter: 'system',
      tags: [],
      metadata: {},
      // The mail's own id: sent on once, however often this runs.
      idempotency: { scope: 'forward', key: row.id, fingerprint: row.id },
      recipients: [{ address: to.value.text, domain: to.value.domain, notify: ['never'] }],
    }
    await this.#parts.queue.accept(message, [])
    return { found: report.kind, led_to: `sent on to ${to.value.text}`, message_id: id }
  }

  async #note(event: NewEvent, suppressions: readonly NewSuppression[]): Promise<void> {
    await this.#parts.queue.note([event], suppressions)
    if (suppressions.length > 0) this.#parts.onSuppressed()
  }

  /** The recipient that a return path names, and what the report says of it. A token of a message names only its own recipients. */
  async #targetOf(
    path: string,
    report: Report,
  ): Promise<{ queueRow: QueueRow; reported: ReportedRecipient | null } | null> {
    const token = this.#parts.returnPaths.read(path)
    if (!token.ok) return null
    const named = await this.#parts.queue.recipient(token.value.recipientKey)
    if (named === null) return null
    const about = (address: string): ReportedRecipient | undefined =>
      report.recipients.find((one) => one.address.toLowerCase() === address.toLowerCase())
    if (token.value.kind === 'recipient')
      return { queueRow: named, reported: about(named.recipient.address) ?? report.recipients[0] ?? null }
    const message = await this.#parts.queue.message(named.id)
    for (const recipient of message?.recipients ?? []) {
      const reported = about(recipient.address)
      if (reported !== undefined) return { queueRow: { ...named, recipient }, reported }
    }
    return message?.recipients.length === 1 ? { queueRow: named, reported: report.recipients[0] ?? null } : null
  }
}

/** What a report says became of the recipient, as a DSN says it; null: nothing that a sender asks for. */
function actionOf(kind: Report['kind'], reported: ReportedRecipient | null): Notice['action'] | null {
  if (kind === 'bounce') return 'failed'
  if (kind === 'delay') return 'delayed'
  if (kind !== 'success') return null
  return reported?.action === 'relayed' || reported?.action === 'expanded' ? reported.action : 'delivered'
}

function aboutOf(row: QueueRow): About {
  return { messageId: row.id, recipientKey: row.recipient.key, recipient: row.recipient.address }
}

function suppressionOf(
  row: QueueRow,
  reason: NewSuppression['reason'],
  scope: string,
  facts: {
    readonly class: string
    readonly status?: string
    readonly detail: { readonly diagnostic: string; readonly smtp_code?: string | null }
  },
  nowMs: number,
): NewSuppression {
  return {
    address: row.recipient.address.toLowerCase(),
    scope,
    reason,
    class: facts.class,
    smtpCode: facts.detail.smtp_code ?? facts.status ?? '',
    detail: facts.detail.diagnostic,
    atMs: nowMs,
    untilMs: row.sandbox ? nowMs + SANDBOX_SUPPRESSION_MS : null,
  }
}
