import { crc32 } from 'node:zlib'
import {
  type AttemptRecord,
  type ClaimedRecipient,
  type MessageHead,
  type Notify,
  PRIORITIES,
  type RecipientView,
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
  state: number
  reason: string
  due_ms: number | null
  attempts: number
  uncertain: number
  crashes: number
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

/** Over what a message's row must not have lost or changed before it is sent. */
export function messageChecksum(row: {
  readonly id: string
  readonly reverse_path: string
  readonly sending_domain: string
  readonly expires_ms: number
  readonly sandbox: number
  readonly size: number
  readonly checksum: number
  readonly tls: string | null
}): number {
  const fields = [row.id, row.reverse_path, row.sending_domain, row.expires_ms, row.sandbox, row.size, row.checksum]
  // Rows of before this column keep their sum.
  return crc32((row.tls === null ? fields : [...fields, row.tls]).join('\0'))
}

export function recipientChecksum(row: {
  readonly message: number
  readonly address: string
  readonly domain: string
  readonly original_recipient: string | null
  readonly notify: string | null
}): number {
  return crc32([row.message, row.address, row.domain, row.original_recipient, row.notify].join('\0'))
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
    priority: PRIORITIES[row.priority]!,
    sandbox: row.sandbox === 1,
    smtpUtf8: row.smtp_utf8 === 1,
    tls: row.tls,
    envelopeId: row.envelope_id,
    ret: row.ret,
    submitter: row.submitter,
    tags: row.tags === '[]' ? [] : (JSON.parse(row.tags) as string[]),
    category: row.category,
    campaign: row.campaign,
    route: row.route,
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
