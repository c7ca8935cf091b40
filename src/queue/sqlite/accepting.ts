import { crc32 } from 'node:zlib'
import {
  type AcceptResult,
  type NewEvent,
  type NewMessage,
  type NewRecipient,
  PRIORITIES,
  type RecipientState,
  type ScheduleRow,
} from '../contract.ts'
import { isFinal, stateNumber } from '../states.ts'
import type { Ledger } from './ledger.ts'
import { messageChecksum, recipientChecksum } from './rows.ts'

/** A message comes in: by acceptance, or born of an outcome. */
export class Accepting {
  readonly #ledger: Ledger

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  accept({ message, events }: { message: NewMessage; events: readonly NewEvent[] }): {
    result: AcceptResult
    due: ScheduleRow[]
  } {
    const earlier = this.#earlier(message)
    if (earlier !== null) return { result: { kind: 'repeated', ...earlier }, due: [] }
    const { due, keys } = this.#insert(message)
    this.#ledger.context.insertEvents(
      events.map((event) =>
        event.recipient === null ? event : { ...event, recipientKey: keys.get(event.recipient) ?? null },
      ),
    )
    return { result: { kind: 'accepted', id: message.id }, due }
  }

  /** One born of an outcome: nothing when it was before, by its idempotency key. */
  spawn(message: NewMessage): readonly ScheduleRow[] {
    return this.#earlier(message) === null ? this.#insert(message).due : []
  }

  /** The message that came before with this idempotency key; null when it is the first, which is then remembered. */
  #earlier({ id, acceptedMs, idempotency }: NewMessage): { readonly id: string; readonly same: boolean } | null {
    if (idempotency === undefined) return null
    const { scope, key, fingerprint } = idempotency
    const earlier = this.#ledger
      .sql('SELECT fingerprint, message_id FROM idempotency WHERE scope = ? AND key = ?')
      .get(scope, key) as { fingerprint: string; message_id: string } | undefined
    if (earlier !== undefined) return { id: earlier.message_id, same: earlier.fingerprint === fingerprint }
    this.#ledger.sql('INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)').run(scope, key, fingerprint, id, acceptedMs)
    return null
  }

  #insert(message: NewMessage): { due: ScheduleRow[]; keys: Map<string, number> } {
    const open = message.recipients.filter((recipient) => recipient.suppressed === undefined)
    const content = message.content
    const checksum = crc32(content)
    const row = {
      checksum_form: 1,
      id: message.id,
      accepted_ms: message.acceptedMs,
      expires_ms: message.expiresMs,
      reverse_path: message.reversePath,
      sending_domain: message.sendingDomain,
      header_from: message.headerFrom,
      message_id_header: message.messageIdHeader,
      subject: message.subject,
      priority: PRIORITIES.indexOf(message.priority),
      sandbox: message.sandbox ? 1 : 0,
      smtp_utf8: message.smtpUtf8 ? 1 : 0,
      envelope_id: message.envelopeId ?? null,
      ret: message.ret ?? null,
      submitter: message.submitter,
      tags: JSON.stringify(message.tags),
      metadata: JSON.stringify(message.metadata),
      category: message.category ?? null,
      campaign: message.campaign ?? null,
      route: message.route ?? null,
      size: content.length,
      checksum,
      tls: message.tls ?? null,
    }
    const key = Number(
      this.#ledger
        .sql(
          `INSERT INTO messages (id, accepted_ms, expires_ms, reverse_path, sending_domain, header_from, message_id_header,
             subject, priority, sandbox, smtp_utf8, envelope_id, ret, submitter, tags, metadata, category, campaign, route,
             size, checksum, row_checksum, checksum_form, has_content, open_recipients, settled_ms, tls)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)`,
        )
        .run(
          row.id,
          row.accepted_ms,
          row.expires_ms,
          row.reverse_path,
          row.sending_domain,
          row.header_from,
          row.message_id_header,
          row.subject,
          row.priority,
          row.sandbox,
          row.smtp_utf8,
          row.envelope_id,
          row.ret,
          row.submitter,
          row.tags,
          row.metadata,
          row.category,
          row.campaign,
          row.route,
          row.size,
          checksum,
          messageChecksum(row),
          open.length > 0 ? 1 : 0,
          open.length,
          open.length > 0 ? null : message.acceptedMs,
          row.tls,
        ).lastInsertRowid,
    )
    if (open.length > 0) this.#keep(key, content, checksum)
    return this.#insertRecipients(key, message)
  }

  #keep(key: number, content: Uint8Array, checksum: number): void {
    if (content.length <= this.#ledger.settings.inlineMaxBytes) {
      this.#ledger.sql('INSERT INTO bodies VALUES (?, ?)').run(key, content)
      return
    }
    const place = this.#ledger.segments.append(key, content, checksum)
    this.#ledger
      .sql('UPDATE messages SET segment = ?, segment_offset = ? WHERE key = ?')
      .run(place.segment, place.offset, key)
  }

  #insertRecipients(
    message: number,
    { recipients, ...head }: NewMessage,
  ): { due: ScheduleRow[]; keys: Map<string, number> } {
    const due: ScheduleRow[] = []
    const keys = new Map<string, number>()
    const later = head.notBeforeMs !== undefined && head.notBeforeMs > head.acceptedMs
    for (const recipient of recipients) {
      const state = stateOfNew(recipient, later)
      const dueMs = isFinal(state) ? null : (head.notBeforeMs ?? head.acceptedMs)
      const row = {
        checksum_form: 1,
        message,
        address: recipient.address,
        domain: recipient.domain,
        original_recipient: recipient.originalRecipient ?? null,
        notify: recipient.notify?.join(',') ?? null,
        state: stateNumber(state),
        due_ms: dueMs,
        attempts: 0,
        uncertain: 0,
        maybe_duplicate: 0,
      }
      const key = Number(
        this.#ledger
          .sql(
            `INSERT INTO recipients (message, address, domain, original_recipient, notify, row_checksum, checksum_form, state,
               reason, due_ms, settled_ms)
             VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)`,
          )
          .run(
            message,
            row.address,
            row.domain,
            row.original_recipient,
            row.notify,
            recipientChecksum(row),
            row.state,
            recipient.suppressed?.reason ?? (later ? 'scheduled' : 'new'),
            dueMs,
            isFinal(state) ? head.acceptedMs : null,
          ).lastInsertRowid,
      )
      this.#ledger.count(row.state)
      keys.set(recipient.address, key)
      if (dueMs !== null)
        due.push({
          ...{ key, messageKey: message, domain: recipient.domain, priority: head.priority, dueMs },
          expiresMs: head.expiresMs,
          ...(later ? { appointed: true as const } : {}),
        })
    }
    return { due, keys }
  }
}

function stateOfNew(recipient: NewRecipient, later: boolean): RecipientState {
  if (recipient.suppressed !== undefined) return 'suppressed'
  return later ? 'scheduled' : 'ready'
}
