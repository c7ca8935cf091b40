import type { Result } from '#base'

/** An address as it is compared and sent: local part as given, domain lower-case A-label or address literal. */
export type Address = {
  readonly local: string
  readonly domain: string
  /** `local@domain`, local part quoted where RFC 5321 §4.1.2 needs it. */
  readonly text: string
  /** The local part has non-ASCII characters and needs SMTPUTF8 (RFC 6531). */
  readonly utf8: boolean
}

export type AddressError = { readonly reason: string }
export type ParsedAddress = Result<Address, AddressError>

/** One header field: the bytes as they stand (folded, with the final CRLF) and its name in lower case. */
export type HeaderField = { readonly name: string; readonly raw: Buffer }

/** The control headers of a submission after they were read and stripped. */
export type ControlHeaders = {
  readonly tags: readonly string[]
  /** Keys in lower case; no prototype. */
  readonly metadata: Readonly<Record<string, string>>
  readonly priority: 'urgent' | 'high' | 'normal' | 'low' | null
  /** Epoch milliseconds. */
  readonly sendAtMs: number | null
  readonly idempotencyKey: string | null
  readonly category: string | null
  readonly campaign: string | null
  readonly route: string | null
  readonly trackOpens: boolean | null
  readonly trackClicks: boolean | null
  readonly template: string | null
}

/** A submitted message made ready to be signed and sent (RFC 6409 §8): CRLF, 7-bit, Date, Message-ID and Received there, Bcc and control headers gone. */
export type CompletedMessage = {
  readonly content: Buffer
  readonly control: ControlHeaders
  /** With angle brackets. */
  readonly messageIdHeader: string
  /** The one address of From, or the first when there are several and a Sender stands for them. */
  readonly headerFrom: Address
  /** Decoded and unfolded, at most 512 characters, control characters removed. */
  readonly subject: string
  /** Received fields in `content`, ours included. */
  readonly receivedCount: number
  /** `TLS-Required: No` (RFC 8689 §3): the mail matters more than the policy of the recipient's domain. */
  readonly tlsOptional: boolean
}

/** Why a message cannot be taken; `field` is the header field at fault. */
export type MessageError = {
  readonly code: 550 | 554 | 552
  readonly enhanced: string
  readonly field: string | null
  readonly message: string
}

export type DkimKey = {
  readonly domain: string
  readonly selector: string
  readonly algorithm: 'rsa-sha256' | 'ed25519-sha256'
  readonly key: import('node:crypto').KeyObject
}
