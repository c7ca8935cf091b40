import type { Clock } from '#base'
import type { RecipientResult, Stage } from '../contract.ts'
import type { TlsaRecord } from '../direct/resolver.ts'

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

/** Authorities (PEM) that certificates are held against; the same list object stands for the same context. */
export type Authorities = readonly string[]

export type TlsMode =
  /** STARTTLS where offered, clear text when it is not or when it fails (the caller reconnects with `off`). */
  | { readonly mode: 'opportunistic'; readonly ca?: Authorities }
  /** STARTTLS or nothing (`implicit`: TLS from the first byte). */
  | ({ readonly mode: 'require' | 'implicit' } & Demand)
  | { readonly mode: 'off' }

/** What the certificate must be. */
export type Demand = {
  /** A chain to an authority and a name (RFC 9525): one of `names`, or that of the host. */
  readonly verify: boolean
  readonly ca?: Authorities
  readonly names?: readonly string[]
  /** Instead of authorities: one of these records matches (RFC 7672 §3.1). `names` are those that usage 2 wants one of. */
  readonly dane?: readonly TlsaRecord[]
  /** SNI where it is not the host: the name that TLSA records stand at (RFC 7672 §8.1). */
  readonly sni?: string
}

/** How a certificate fell short, in the words of TLS reporting (RFC 8460 §4.3). */
export type CertificateFault =
  | 'certificate-host-mismatch'
  | 'certificate-expired'
  | 'certificate-not-trusted'
  | 'validation-failure'

/** What was found of the peer's certificate, asked for or not. */
export type Verdict =
  | { readonly trusted: true }
  | { readonly trusted: false; readonly fault: CertificateFault; readonly detail: string }

export type ConnectOptions = {
  /** Name of the host: SNI, certificate check, logs. */
  readonly host: string
  /** The IP address to connect to; of a relay also its name. */
  readonly address: string
  readonly port: number
  /** Local address to start from; empty: the system chooses. */
  readonly source: string
  readonly ehlo: string
  readonly tls: TlsMode
  /** Networks that may be connected to although special (`delivery.allow_networks`). */
  readonly allow: readonly string[]
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
  /** Where TLS failed: how, for people; and the fault of the certificate, when it was that. */
  readonly detail?: string
  readonly fault?: CertificateFault
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
  /** REQUIRETLS (RFC 8689): `must` refuses where it cannot be said, `try` says it where it is offered. Absent: not asked for. */
  readonly requireTls?: 'must' | 'try'
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
  /** Null in clear text. */
  readonly certificate: Verdict | null
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
