import { crc32 } from 'node:zlib'
import { newId } from '#base'
import type { WorkerContext } from '#store'
import {
  type AcceptResult,
  type AttemptRecord,
  type Claim,
  type NewEvent,
  type NewMessage,
  type NewRecipient,
  PRIORITIES,
  type RecipientState,
  type ScheduleRow,
  type Settlement,
  type SettleResult,
  type Steer,
} from '../contract.ts'
import { canMove, isFinal, move, STATES, stateNumber, stateOf } from '../states.ts'
import { claimedOf, headOf, type MessageRow, messageChecksum, type RecipientRow, recipientChecksum } from './rows.ts'
import { type Place, readRecord, SegmentWriter } from './segments.ts'

export type QueueSettings = {
  readonly inlineMaxBytes: number
  readonly segmentBytes: number
  readonly keepBodies: boolean
}

/** Crashes with the same recipient leased, in a row, before it is taken for their cause and held. */
const POISON_CRASHES = 5
const IDEMPOTENCY_MS = 7 * 86_400_000

type Due = ScheduleRow[]

/** What changes the queue, in the writer thread, inside the transaction of a batch. */
export class QueueWriting {
  readonly #context: WorkerContext
  readonly #settings: QueueSettings
  readonly #segments: SegmentWriter
  /** Moves between states of this batch, added to the counts once. */
  readonly #deltas = STATES.map(() => 0)

  constructor(context: WorkerContext) {
    this.#context = context
    this.#settings = context.settings as unknown as QueueSettings
    this.#segments = new SegmentWriter(context, this.#settings.segmentBytes)
  }

  accept({ message, events }: { message: NewMessage; events: readonly NewEvent[] }): {
    result: AcceptResult
    due: Due
  } {
    const earlier = this.#earlier(message)
    if (earlier !== null) return { result: { kind: 'repeated', ...earlier }, due: [] }
    const { due, keys } = this.#insert(message)
    this.#context.insertEvents(
      events.map((event) =>
        event.recipient === null ? event : { ...event, recipientKey: keys.get(event.recipient) ?? null },
      ),
    )
    return { result: { kind: 'accepted', id: message.id }, due }
  }

  lease(args: { keys: readonly number[]; owner: string; nowMs: number; untilMs: number }): Claim[] {
    const claims: { message: MessageRow; recipients: Claim['recipients'][number][] }[] = []
    for (const key of args.keys) {
      const row = this.#sql('SELECT * FROM recipients WHERE key = ?').get(key) as RecipientRow | undefined
      if (row === undefined || !canMove(stateOf(row.state), 'leased') || (row.due_ms ?? 0) > args.nowMs) continue
      let claim = claims.find((one) => one.message.key === row.message)
      const message = claim?.message ?? this.#message(row.message)
      if (recipientChecksum(row) !== row.row_checksum || messageChecksum(message) !== message.row_checksum) {
        this.#hold(row, message, 'damaged', args.nowMs)
        continue
      }
      this.#count(row.state, 'leased')
      this.#sql(
        'UPDATE recipients SET state = 2, fence = fence + 1, lease_owner = ?, lease_until_ms = ? WHERE key = ?',
      ).run(args.owner, args.untilMs, key)
      if (claim === undefined) {
        claim = { message, recipients: [] }
        claims.push(claim)
      }
      claim.recipients.push(claimedOf(row, row.fence + 1))
    }
    return claims.map(({ message, recipients }) => ({ message: headOf(message), recipients }))
  }

  settle(settlements: readonly Settlement[]): { results: SettleResult[]; due: Due; done: string[] } {
    const due: Due = []
    const done: string[] = []
    const results = settlements.map((settlement): SettleResult => {
      const row = this.#sql('SELECT * FROM recipients WHERE key = ?').get(settlement.key) as RecipientRow | undefined
      if (row === undefined || stateOf(row.state) !== 'leased' || row.fence !== settlement.fence)
        return { kind: 'stale' }
      this.#settleOne(row, settlement, due, done)
      return { kind: 'settled' }
    })
    return { results, due, done }
  }

  reclaim({ owner, nowMs }: { owner: string | null; nowMs: number }): Due {
    const rows = (
      owner === null
        ? this.#sql('SELECT * FROM recipients WHERE state = 2 AND lease_until_ms < ?').all(nowMs)
        : this.#sql('SELECT * FROM recipients WHERE state = 2 AND lease_owner = ?').all(owner)
    ) as RecipientRow[]
    const due: Due = []
    for (const row of rows) {
      const message = this.#message(row.message)
      const crashes = row.crashes + 1
      this.#sql('UPDATE recipients SET maybe_duplicate = 1, crashes = ? WHERE key = ?').run(crashes, row.key)
      if (crashes >= POISON_CRASHES) {
        this.#hold(row, message, 'poison', nowMs)
        continue
      }
      this.#count(row.state, 'ready')
      this.#sql(
        "UPDATE recipients SET state = 1, reason = 'crash-recovery', due_ms = ?, lease_owner = NULL, lease_until_ms = NULL WHERE key = ?",
      ).run(nowMs, row.key)
      due.push(scheduleRow(row, message, nowMs))
    }
    return due
  }

  steer(args: { action: Steer; keys: readonly number[]; reason: string; nowMs: number }): {
    count: number
    due: Due
    gone: number[]
    done: string[]
  } {
    const to = { hold: 'held', release: 'ready', retry: 'ready', cancel: 'cancelled' }[args.action] as RecipientState
    const due: Due = []
    const gone: number[] = []
    const done: string[] = []
    let count = 0
    for (const key of args.keys) {
      const row = this.#sql('SELECT * FROM recipients WHERE key = ?').get(key) as RecipientRow | undefined
      if (row === undefined || !maySteer(args.action, stateOf(row.state))) continue
      const message = this.#message(row.message)
      count += 1
      // Mail that was scheduled keeps its time while it is held, and goes back to it.
      const keptMs = stateOf(row.state) === 'scheduled' || args.action === 'release' ? row.due_ms : null
      const later = args.action === 'release' && keptMs !== null && keptMs > args.nowMs
      const next: RecipientState = later ? 'scheduled' : to
      const dueMs = later ? keptMs : next === 'ready' ? args.nowMs : next === 'held' ? keptMs : null
      move(stateOf(row.state), next)
      this.#count(row.state, next)
      this.#sql('UPDATE recipients SET state = ?, reason = ?, due_ms = ?, settled_ms = ? WHERE key = ?').run(
        stateNumber(next),
        later ? 'scheduled' : args.reason,
        dueMs,
        next === 'cancelled' ? args.nowMs : null,
        key,
      )
      const type = { hold: 'held', release: 'released', retry: 'released', cancel: 'cancelled' }[args.action]
      this.#event(type, row, message, args.nowMs, { reason: args.reason })
      if (dueMs !== null && next !== 'held') due.push(scheduleRow(row, message, dueMs))
      else gone.push(key)
      if (to === 'cancelled') this.#oneLessOpen(message, args.nowMs, done)
    }
    return { count, due, gone, done }
  }

  note(args: {
    events: readonly NewEvent[]
    suppressions: Settlement['suppressions']
    counters: Settlement['counters']
  }): void {
    this.#context.insertEvents(args.events)
    this.#context.upsertSuppressions(args.suppressions)
    this.#context.moveCounters(args.counters)
  }

  /** A message whose content cannot be believed: nothing of it is sent. */
  holdDamaged({ messageId, nowMs }: { messageId: string; nowMs: number }): number {
    const message = this.#sql('SELECT * FROM messages WHERE id = ?').get(messageId) as MessageRow | undefined
    if (message === undefined) return 0
    const rows = this.#sql('SELECT * FROM recipients WHERE message = ? AND state < 4').all(
      message.key,
    ) as RecipientRow[]
    for (const row of rows) this.#hold(row, message, 'damaged', nowMs)
    return rows.length
  }

  retire({ beforeMs, limit }: { beforeMs: number; limit: number }): number {
    const rows = this.#sql('SELECT * FROM messages WHERE settled_ms < ? LIMIT ?').all(beforeMs, limit) as MessageRow[]
    for (const message of rows) {
      this.#dropContent(message)
      const recipients = this.#sql('SELECT key, state FROM recipients WHERE message = ?').all(message.key) as {
        key: number
        state: number
      }[]
      for (const { key, state } of recipients) {
        this.#deltas[state]! -= 1
        this.#sql('DELETE FROM attempts WHERE recipient = ?').run(key)
        this.#sql('DELETE FROM recipients WHERE key = ?').run(key)
      }
      this.#sql('DELETE FROM messages WHERE key = ?').run(message.key)
    }
    return rows.length
  }

  forgetKeys({ nowMs, limit }: { nowMs: number; limit: number }): number {
    return this.#sql(
      'DELETE FROM idempotency WHERE (scope, key) IN (SELECT scope, key FROM idempotency WHERE at_ms < ? LIMIT ?)',
    ).run(nowMs - IDEMPOTENCY_MS, limit).changes
  }

  /** By sequence, which is by time but for a clock that was set: no more is looked at than goes. */
  forgetEvents({ beforeMs, limit }: { beforeMs: number; limit: number }): number {
    const events = this.#sql(
      'DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?) AND at_ms < ?',
    ).run(limit, beforeMs).changes
    const inbound = this.#sql(
      `DELETE FROM inbound_mail WHERE seq IN (SELECT seq FROM inbound_mail ORDER BY seq LIMIT ?)
         AND received_ms < ? AND processed_ms IS NOT NULL`,
    ).run(limit, beforeMs).changes
    return Math.max(events, inbound)
  }

  /** A small step of giving space back; true when there is more to do. */
  reclaimSpace({ maxBytes, nowMs }: { maxBytes: number; nowMs: number }): boolean {
    const segment = this.#segments.mostlyDead()
    let moved = 0
    if (segment !== null) {
      const rows = this.#sql('SELECT * FROM messages WHERE segment = ? AND has_content = 1').all(
        segment,
      ) as MessageRow[]
      for (const message of rows) {
        if (moved > maxBytes) break
        const place = { segment, offset: message.segment_offset! }
        const content = this.#recordOf(message, place)
        if (content === null) {
          this.holdDamaged({ messageId: message.id, nowMs })
          this.#segments.leave(segment)
          break
        }
        const to = this.#segments.append(message.key, content, message.checksum)
        this.#sql('UPDATE messages SET segment = ?, segment_offset = ? WHERE key = ?').run(
          to.segment,
          to.offset,
          message.key,
        )
        this.#segments.drop(place, message.size)
        moved += message.size
      }
    }
    this.#context.db.pragma('incremental_vacuum(64)')
    const free = this.#context.db.pragma('freelist_count', { simple: true }) as number
    return free > 64 || this.#segments.mostlyDead() !== null
  }

  beforeCommit(): void {
    for (const [state, delta] of this.#deltas.entries())
      if (delta !== 0) this.#sql('UPDATE queue_counts SET n = n + ? WHERE state = ?').run(delta, state)
    this.#deltas.fill(0)
    this.#segments.beforeCommit()
  }

  afterCommit(): void {
    this.#segments.afterCommit()
  }

  afterRollback(): void {
    this.#deltas.fill(0)
    this.#segments.afterRollback()
  }

  close(): void {
    this.#segments.close()
  }

  #recordOf(message: MessageRow, place: Place): Buffer | null {
    try {
      return readRecord(this.#context.directory, place, message.size, message.checksum)
    } catch {
      // A place of the disk that cannot be read says nothing of the rest of it.
      return null
    }
  }

  #sql(text: string) {
    return this.#context.statement(text)
  }

  #message(key: number): MessageRow {
    return this.#sql('SELECT * FROM messages WHERE key = ?').get(key) as MessageRow
  }

  #insert(message: NewMessage): { due: Due; keys: Map<string, number> } {
    const open = message.recipients.filter((recipient) => recipient.suppressed === undefined)
    const content = message.content
    const checksum = crc32(content)
    const row = {
      id: message.id,
      reverse_path: message.reversePath,
      sending_domain: message.sendingDomain,
      expires_ms: message.expiresMs,
      sandbox: message.sandbox ? 1 : 0,
      size: content.length,
      checksum,
      tls: message.tls ?? null,
    }
    const key = Number(
      this.#sql(
        `INSERT INTO messages (id, accepted_ms, expires_ms, reverse_path, sending_domain, header_from, message_id_header,
           subject, priority, sandbox, smtp_utf8, envelope_id, ret, submitter, tags, metadata, category, campaign, route,
           size, checksum, row_checksum, has_content, open_recipients, settled_ms, tls)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ).run(
        row.id,
        message.acceptedMs,
        row.expires_ms,
        row.reverse_path,
        row.sending_domain,
        message.headerFrom,
        message.messageIdHeader,
        message.subject,
        PRIORITIES.indexOf(message.priority),
        row.sandbox,
        message.smtpUtf8 ? 1 : 0,
        message.envelopeId ?? null,
        message.ret ?? null,
        message.submitter,
        JSON.stringify(message.tags),
        JSON.stringify(message.metadata),
        message.category ?? null,
        message.campaign ?? null,
        message.route ?? null,
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

  /** The message that came before with this idempotency key; null when it is the first, which is then remembered. */
  #earlier({ id, acceptedMs, idempotency }: NewMessage): { readonly id: string; readonly same: boolean } | null {
    if (idempotency === undefined) return null
    const { scope, key, fingerprint } = idempotency
    const earlier = this.#sql('SELECT fingerprint, message_id FROM idempotency WHERE scope = ? AND key = ?').get(
      scope,
      key,
    ) as { fingerprint: string; message_id: string } | undefined
    if (earlier !== undefined) return { id: earlier.message_id, same: earlier.fingerprint === fingerprint }
    this.#sql('INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)').run(scope, key, fingerprint, id, acceptedMs)
    return null
  }

  #keep(key: number, content: Uint8Array, checksum: number): void {
    if (content.length <= this.#settings.inlineMaxBytes) {
      this.#sql('INSERT INTO bodies VALUES (?, ?)').run(key, content)
      return
    }
    const place = this.#segments.append(key, content, checksum)
    this.#sql('UPDATE messages SET segment = ?, segment_offset = ? WHERE key = ?').run(place.segment, place.offset, key)
  }

  #insertRecipients(message: number, { recipients, ...head }: NewMessage): { due: Due; keys: Map<string, number> } {
    const due: Due = []
    const keys = new Map<string, number>()
    const later = head.notBeforeMs !== undefined && head.notBeforeMs > head.acceptedMs
    for (const recipient of recipients) {
      const state = stateOfNew(recipient, later)
      const dueMs = isFinal(state) ? null : (head.notBeforeMs ?? head.acceptedMs)
      const row = {
        message,
        address: recipient.address,
        domain: recipient.domain,
        original_recipient: recipient.originalRecipient ?? null,
        notify: recipient.notify?.join(',') ?? null,
      }
      const key = Number(
        this.#sql(
          `INSERT INTO recipients (message, address, domain, original_recipient, notify, row_checksum, state, reason, due_ms, settled_ms)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ).run(
          message,
          row.address,
          row.domain,
          row.original_recipient,
          row.notify,
          recipientChecksum(row),
          stateNumber(state),
          recipient.suppressed?.reason ?? (later ? 'scheduled' : 'new'),
          dueMs,
          isFinal(state) ? head.acceptedMs : null,
        ).lastInsertRowid,
      )
      this.#deltas[stateNumber(state)]! += 1
      keys.set(recipient.address, key)
      if (dueMs !== null)
        due.push({
          ...{ key, messageKey: message, domain: recipient.domain, priority: head.priority, dueMs },
          expiresMs: head.expiresMs,
        })
    }
    return { due, keys }
  }

  #settleOne(row: RecipientRow, settlement: Settlement, due: Due, done: string[]): void {
    const { to, atMs, dueMs, reason } = settlement
    move(stateOf(row.state), to)
    this.#count(row.state, to)
    const message = this.#message(row.message)
    const waits = to === 'deferred' || to === 'ready'
    const nextMs = waits ? (dueMs ?? atMs) : null
    this.#sql(
      `UPDATE recipients SET state = ?, reason = ?, due_ms = ?, attempts = attempts + ?, uncertain = uncertain + ?,
         maybe_duplicate = max(maybe_duplicate, ?), crashes = 0, lease_owner = NULL, lease_until_ms = NULL, settled_ms = ?
       WHERE key = ?`,
    ).run(
      stateNumber(to),
      reason,
      nextMs,
      settlement.countsAsAttempt ? 1 : 0,
      settlement.ambiguous ? 1 : 0,
      settlement.ambiguous ? 1 : 0,
      isFinal(to) ? atMs : null,
      row.key,
    )
    if (settlement.attempt !== null) this.#insertAttempt(row.key, settlement.attempt)
    this.note(settlement)
    if (nextMs !== null) due.push(scheduleRow(row, message, nextMs))
    const { spawn } = settlement
    if (spawn !== null && this.#earlier(spawn) === null) due.push(...this.#insert(spawn).due)
    if (isFinal(to)) this.#oneLessOpen(message, atMs, done)
  }

  #insertAttempt(recipient: number, attempt: AttemptRecord): void {
    this.#sql(
      `INSERT INTO attempts VALUES (?, (SELECT coalesce(max(n), 0) + 1 FROM attempts WHERE recipient = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      recipient,
      recipient,
      attempt.startedMs,
      attempt.endedMs,
      attempt.provider,
      attempt.source,
      attempt.remoteHost,
      attempt.remoteAddress,
      attempt.tls,
      attempt.stage,
      attempt.replyCode,
      attempt.enhanced,
      attempt.reply,
      attempt.class,
      attempt.transcript,
    )
  }

  /** With the last recipient settled the content is needed no more, unless contents are kept. */
  #oneLessOpen(message: MessageRow, nowMs: number, done: string[]): void {
    this.#sql('UPDATE messages SET open_recipients = open_recipients - 1 WHERE key = ?').run(message.key)
    const { open } = this.#sql('SELECT open_recipients AS open FROM messages WHERE key = ?').get(message.key) as {
      open: number
    }
    if (open > 0) return
    this.#sql('UPDATE messages SET settled_ms = ? WHERE key = ?').run(nowMs, message.key)
    done.push(message.id)
    if (!this.#settings.keepBodies) this.#dropContent(message)
  }

  #dropContent(message: MessageRow): void {
    if (message.has_content === 0) return
    this.#sql('UPDATE messages SET has_content = 0 WHERE key = ?').run(message.key)
    if (message.segment === null) this.#sql('DELETE FROM bodies WHERE message = ?').run(message.key)
    else this.#segments.drop({ segment: message.segment, offset: message.segment_offset! }, message.size)
  }

  #hold(row: RecipientRow, message: MessageRow, reason: string, nowMs: number): void {
    move(stateOf(row.state), 'held')
    this.#count(row.state, 'held')
    this.#sql(
      'UPDATE recipients SET state = 4, reason = ?, due_ms = NULL, fence = fence + 1, lease_owner = NULL, lease_until_ms = NULL WHERE key = ?',
    ).run(reason, row.key)
    this.#event('held', row, message, nowMs, { reason })
  }

  #event(type: string, row: RecipientRow, message: MessageRow, atMs: number, detail: Record<string, unknown>): void {
    this.#context.insertEvents([
      {
        id: newId(atMs),
        atMs,
        type,
        messageId: message.id,
        recipientKey: row.key,
        recipient: row.address,
        provider: null,
        class: null,
        status: null,
        detail,
      },
    ])
  }

  #count(from: number, to: RecipientState): void {
    this.#deltas[from]! -= 1
    this.#deltas[stateNumber(to)]! += 1
  }
}

function stateOfNew(recipient: NewRecipient, later: boolean): RecipientState {
  if (recipient.suppressed !== undefined) return 'suppressed'
  return later ? 'scheduled' : 'ready'
}

/** Hold and cancel what waits, release what is held, retry what waits for its time. */
function maySteer(action: Steer, state: RecipientState): boolean {
  switch (action) {
    case 'hold':
      return canMove(state, 'held') && state !== 'leased'
    case 'release':
      return state === 'held'
    case 'cancel':
      return canMove(state, 'cancelled')
    case 'retry':
      return state === 'deferred' || state === 'scheduled'
  }
}

function scheduleRow(row: RecipientRow, message: MessageRow, dueMs: number): ScheduleRow {
  return {
    ...{ key: row.key, messageKey: row.message, domain: row.domain, priority: PRIORITIES[message.priority]!, dueMs },
    expiresMs: message.expires_ms,
  }
}
