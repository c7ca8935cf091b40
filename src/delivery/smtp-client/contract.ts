import type { Clock } from '#base'
import type { RecipientResult, Stage } from '../contract.ts'

/** Deadlines of one connection, milliseconds; each covers its whole phase, however the bytes trickle in. */
export type Deadlines = {
  readonly connectMs: number
  readonly bannerMs: number
  readonly ehloMs: number
  readonly tlsMs: number
  readonly mailMs: number
  readonly rcptMs: number
  readonly dataMs: number
  readonly bodyMs: number
  readonly dotMs: number
}

export type TlsMode =
  /** STARTTLS where offered, clear text when it is not or when it fails (the caller reconnects with `off`). */
  | { readonly mode: 'opportunistic' }
  /** STARTTLS or nothing; `verify` also wants a certificate valid for `host`. */
  | { readonly mode: 'require'; readonly verify: boolean; readonly ca?: readonly string[] }
  | { readonly mode: 'implicit'; readonly verify: boolean; readonly ca?: readonly string[] }
  | { readonly mode: 'off' }

export type ConnectOptions = {
  /** Name of the host: SNI, certificate check, logs. */
  readonly host: string
  /** The checked IP address to connect to. */
  readonly address: string
  readonly port: number
  /** Local address to start from; empty: the system chooses. */
  readonly source: string
  readonly ehlo: string
  readonly tls: TlsMode
  readonly auth?: { readonly username: string; readonly password: string }
  readonly deadlines: Deadlines
  readonly clock: Clock
  readonly signal?: AbortSignal
}

export type ConnectFailure = {
  readonly stage: Stage
  /** Named reason: `connection-refused`, `connect-timeout`, `banner-refused`, `tls-failed`, `tls-not-offered`, `auth-failed`, `protocol-error` … */
  readonly reason: string
  readonly reply: import('../contract.ts').Reply | null
  readonly transcript: string
}

export type Transaction = {
  readonly reversePath: string
  readonly recipients: readonly {
    readonly address: string
    readonly notify: readonly string[] | null
    readonly originalRecipient: string | null
  }[]
  /** Signature fields and content in order; sent dot-stuffed, never changed otherwise. CRLF only (asserted). */
  readonly content: readonly Uint8Array[]
  readonly size: number
  readonly smtpUtf8: boolean
  readonly envelopeId: string | null
  readonly ret: 'full' | 'hdrs' | null
}

export type TransactionResult = {
  /** In the order of the recipients. */
  readonly results: readonly RecipientResult[]
  /** The dialogue of this transaction (kept by the caller when something failed). */
  readonly transcript: string
  /** The connection may carry another transaction. */
  readonly reusable: boolean
}

/** One SMTP connection as a client (RFC 5321). Any byte from the peer when no reply is due ends it and never counts. */
export interface SmtpConnection {
  readonly host: string
  readonly address: string
  /** Local address really used. */
  readonly source: string
  /** `TLSv1.3 TLS_AES_256_GCM_SHA384` or empty. */
  readonly tls: string
  readonly capabilities: ReadonlySet<string>
  readonly usable: boolean
  readonly messagesSent: number
  /** Never rejects for what a peer does: the outcome is in the result. */
  send(transaction: Transaction): Promise<TransactionResult>
  /** QUIT with a short deadline, then closed; a fault here changes no outcome. */
  quit(): Promise<void>
  destroy(): void
}

export type ConnectResult =
  | { readonly ok: true; readonly connection: SmtpConnection }
  | { readonly ok: false; readonly failure: ConnectFailure }
