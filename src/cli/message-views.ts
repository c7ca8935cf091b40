import type { Columns } from './output.ts'

// Messages as the local API shows them: snake_case, times in RFC 3339.

export type RecipientPart = {
  readonly address: string
  readonly state: string
  readonly reason: string | null
  readonly due_at: string | null
  readonly attempts: number
  readonly settled_at: string | null
}

export type Try = {
  readonly started_at: string | null
  readonly ended_at: string | null
  readonly provider: string
  readonly source: string
  readonly remote_host: string
  readonly remote_address: string
  readonly tls: string
  readonly stage: string
  readonly reply_code: number | null
  readonly enhanced_status: string | null
  readonly reply: string
  readonly class: string
  readonly transcript: string | null
}

type Head = {
  readonly id: string
  readonly accepted_at: string
  readonly expires_at: string
  readonly mail_from: string
  readonly from: string
  readonly subject: string
  readonly size_bytes: number
  readonly priority: string
  readonly sandbox: boolean
}

export type MessageRow = Head & { readonly recipient: RecipientPart }
export type MessageDetail = Head & {
  readonly recipients: readonly (RecipientPart & { readonly tries: readonly Try[] })[]
}

export const MESSAGE_COLUMNS: Columns<MessageRow> = {
  id: (row) => row.id,
  accepted: (row) => row.accepted_at,
  from: (row) => row.from,
  recipient: (row) => row.recipient.address,
  state: (row) => row.recipient.state,
  reason: (row) => row.recipient.reason,
  due: (row) => row.recipient.due_at,
}
