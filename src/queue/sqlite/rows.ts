import { crc32 } from 'node:zlib'
import {
  type AttemptRecord,
  type ClaimedRecipient,
  type MessageHead,
  type Notify,
  PRIORITIES,
  type Priority,
  type RecipientView,
  type ScheduleRow,
} from '../contract.ts'
import { stateOf } from '../states.ts'

// Rows as SQLite gives them, and what they are to the rest of the queue.

export type MessageRow = {
  key: number
  id: string
  accepted_ms: number
  expires_ms: number
  reverse_path: string
  sending_domain: string
  header_from: string
  message_id_header: string
  subject: string
  priority: number
  sandbox: number
  smtp_utf8: number
  tls: 'required' | 'optional' | null
  envelope_id: string | null
  ret: 'full' | 'hdrs' | null
  submitter: string
  tags: string
  metadata: string
  category: string | null
  campaign: string | null
  route: string | null
  size: number
  checksum: number
  row_checksum: number
  /** What the checksum is made of: 0 as in the first version of the tables, 1 everything below that must not change. */
  checksum_form: number
  segment: number | null
  segment_offset: number | null
  has_content: number
  open_recipients: number
  settled_ms: number | null
}

export type RecipientRow = {
  key: number
  message: number
  address: string
  domain: string
  original_recipient: string | null
  notify: string | null
  row_checksum: number
  checksum_form: number
  state: number
  reason: string
  due_ms: number | null
  attempts: number
  uncertain: number
  /** Ends of the process with it leased, in a row; those with it alone leased, or the only suspect. */
  crashes: number
  lone_crashes: number
  maybe_duplicate: number
  fence: number
  lease_owner: string | null
  lease_until_ms: number | null
  settled_ms: number | null
}

export type AttemptRow = {
  recipient: number
  n: number
  started_ms: number
  ended_ms: number
  provider: string
  source: string
  remote_host: string
  remote_address: string
  tls: string
  stage: string
  reply_code: number | null
  enhanced: string | null
  reply: string
  class: string
  transcript: string | null
}

/** Leased in so many crashes it may be their cause: from then on it is offered apart from others like it. */
export const SUSPECT_CRASHES = 2

type MessageFields = Pick<
  MessageRow,
  | 'checksum_form'
  | 'id'
  | 'accepted_ms'
  | 'expires_ms'
  | 'reverse_path'
  | 'sending_domain'
  | 'header_from'
  | 'message_id_header'
  | 'subject'
  | 'priority'
  | 'sandbox'
  | 'smtp_utf8'
  | 'envelope_id'
  | 'ret'
  | 'submitter'
  | 'tags'
  | 'metadata'
  | 'category'
  | 'campaign'
  | 'route'
  | 'size'
  | 'checksum'
  | 'tls'
>

/** Over what a message's row must not have lost or changed before it is sent. */
export function messageChecksum(row: MessageFields): number {
  if (row.checksum_form === 0) {
    const fields = [row.id, row.reverse_path, row.sending_domain, row.expires_ms, row.sandbox, row.size, row.checksum]
    return checksumOf(row.tls === null ? fields : [...fields, row.tls])
  }
  return checksumOf([
    ...[row.id, row.accepted_ms, row.expires_ms, row.reverse_path, row.sending_domain, row.header_from],
    ...[row.message_id_header, row.subject, row.priority, row.sandbox, row.smtp_utf8, row.envelope_id ?? ABSENT],
    ...[row.ret ?? ABSENT, row.submitter, row.tags, row.metadata, row.category ?? ABSENT, row.campaign ?? ABSENT],
    ...[row.route ?? ABSENT, row.size, row.checksum, row.tls ?? ABSENT],
  ])
}

type RecipientFields = Pick<
  RecipientRow,
  | 'checksum_form'
  | 'message'
  | 'address'
  | 'domain'
  | 'original_recipient'
  | 'notify'
  | 'state'
  | 'due_ms'
  | 'attempts'
  | 'uncertain'
  | 'maybe_duplicate'
>

/** Over where a recipient stands too: one that was turned into a settled one would be lost, the other way round sent twice. */
export function recipientChecksum(row: RecipientFields): number {
  if (row.checksum_form === 0)
    return checksumOf([row.message, row.address, row.domain, row.original_recipient, row.notify])
  // Written out: it is made several times for each recipient.
  return crc32(
    `${row.message}\0${row.address}\0${row.domain}\0${row.original_recipient ?? ABSENT}\0${row.notify ?? ABSENT}\0${row.state}\0${row.due_ms}\0${row.attempts}\0${row.uncertain}\0${row.maybe_duplicate}`,
  )
}

export function isSound(row: RecipientRow): boolean {
  return recipientChecksum(row) === row.row_checksum
}

export function isSoundMessage(row: MessageRow): boolean {
  return messageChecksum(row) === row.row_checksum
}

/** Nothing is not the same as an empty text. */
const ABSENT = '\x01'

function checksumOf(fields: readonly (string | number | null)[]): number {
  return crc32(fields.join('\0'))
}

export function scheduleRowOf(
  row: RecipientRow,
  message: Pick<MessageRow, 'priority' | 'expires_ms'>,
  dueMs: number,
): ScheduleRow {
  return {
    ...{ key: row.key, messageKey: row.message, domain: row.domain, priority: priorityOf(message), dueMs },
    expiresMs: message.expires_ms,
    ...(stateOf(row.state) === 'scheduled' ? { appointed: true as const } : {}),
    ...(row.crashes >= SUSPECT_CRASHES ? { suspect: true as const } : {}),
  }
}

/** One that there is not was altered: its checksum is looked at before it is sent. */
function priorityOf({ priority }: { readonly priority: number }): Priority {
  return PRIORITIES[priority] ?? 'normal'
}

export function headOf(row: MessageRow): MessageHead {
  return {
    id: row.id,
    acceptedMs: row.accepted_ms,
    expiresMs: row.expires_ms,
    reversePath: row.reverse_path,
    sendingDomain: row.sending_domain,
    headerFrom: row.header_from,
    messageIdHeader: row.message_id_header,
    subject: row.subject,
    size: row.size,
    priority: priorityOf(row),
    sandbox: row.sandbox === 1,
    smtpUtf8: row.smtp_utf8 === 1,
    tls: row.tls,
    envelopeId: row.envelope_id,
    ret: row.ret,
    submitter: row.submitter,
    tags: row.tags === '[]' ? [] : parsed<string[]>(row.tags, []),
    category: row.category,
    campaign: row.campaign,
    route: row.route,
  }
}

/** A row that was altered is still shown; that it does not match its checksum is found before anything is sent. */
export function parsed<T>(text: string, otherwise: T): T {
  try {
    return JSON.parse(text) as T
  } catch {
    return otherwise
  }
}

export function claimedOf(row: RecipientRow, fence: number): ClaimedRecipient {
  return {
    key: row.key,
    fence,
    address: row.address,
    domain: row.domain,
    originalRecipient: row.original_recipient,
    notify: notifyOf(row),
    attempts: row.attempts,
    uncertain: row.uncertain,
    maybeDuplicate: row.maybe_duplicate === 1,
  }
}

export function viewOf(row: RecipientRow): RecipientView {
  return {
    key: row.key,
    address: row.address,
    domain: row.domain,
    state: stateOf(row.state),
    reason: row.reason,
    dueMs: row.due_ms,
    attempts: row.attempts,
    uncertain: row.uncertain,
    maybeDuplicate: row.maybe_duplicate === 1,
    settledMs: row.settled_ms,
    notify: notifyOf(row),
    originalRecipient: row.original_recipient,
  }
}

function notifyOf({ notify }: RecipientRow): Notify[] | null {
  return notify === null ? null : (notify.split(',') as Notify[])
}

export function attemptOf(row: AttemptRow): AttemptRecord {
  return {
    startedMs: row.started_ms,
    endedMs: row.ended_ms,
    provider: row.provider,
    source: row.source,
    remoteHost: row.remote_host,
    remoteAddress: row.remote_address,
    tls: row.tls,
    stage: row.stage,
    replyCode: row.reply_code,
    enhanced: row.enhanced,
    reply: row.reply,
    class: row.class,
    transcript: row.transcript,
  }
}
