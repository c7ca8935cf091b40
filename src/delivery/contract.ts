import type { DomainTls } from './direct/tls-policy.ts'

/** A peer's reply, RFC 5321 §4.2. Its text is untrusted. */
export type Reply = {
  readonly code: number
  /** `5.1.1`, from the first line that has one of the reply's class; null when none. */
  readonly enhanced: string | null
  /** All lines without code and enhanced code prefix removed only on the first, joined by a space; ≤ 2 KiB. */
  readonly text: string
}

export type Stage =
  | 'policy'
  | 'dns'
  | 'connect'
  | 'banner'
  | 'ehlo'
  | 'starttls'
  | 'auth'
  | 'mail'
  | 'rcpt'
  | 'data'
  | 'body'
  | 'dot'

/** How one recipient came out of one attempt. A value, never an exception. */
export type RecipientResult =
  /** `peerNotifies`: it offered DSN and was passed what the sender asked for, so success is its to tell (RFC 3461 §5.2.2). */
  | {
      readonly kind: 'delivered'
      readonly reply: Reply
      readonly peerNotifies: boolean
      /** The host said this before the content was all there; `reply` is what it said after that. */
      readonly early?: Reply
    }
  /** A permanent answer about this message or recipient (5yz), or a permanent DNS answer (NXDOMAIN, null MX). */
  | {
      readonly kind: 'refused'
      readonly stage: Stage
      readonly reply: Reply | null
      readonly reason: string
      readonly status: string
      /** What we found, for people, where no reply says it. */
      readonly detail?: string
    }
  /** `infrastructure`: nothing was said about this message (no connection, DNS down, TLS failed): never counts as an attempt. */
  | {
      readonly kind: 'deferred'
      readonly stage: Stage
      readonly reply: Reply | null
      readonly reason: string
      readonly status: string
      readonly infrastructure: boolean
      readonly retryAfterMs?: number
      readonly detail?: string
    }
  /** The connection ended after the final dot was (or may have been) sent and before a reply: a copy may have been taken. */
  | { readonly kind: 'uncertain'; readonly stage: 'body' | 'dot'; readonly reason: string }
  | { readonly kind: 'suppressed'; readonly reason: string; readonly detail: string }

/** What a try over one connection leaves to be kept, besides the results. */
export type TryTrace = {
  readonly startedMs: number
  readonly endedMs: number
  readonly source: string
  readonly remoteHost: string
  readonly remoteAddress: string
  readonly tls: string
  /** Why it went in clear text although TLS was offered: the reason of the failure; absent or null otherwise. */
  readonly tlsFailure?: string | null
  /** The dialogue without content and without secrets, at most 16 KiB; null when not kept. */
  readonly transcript: string | null
}

export type ProviderRef = { readonly id: string; readonly name: string; readonly kind: 'own' | 'smarthost' | 'sink' }

/**
 * What a message asks of the transport: `must` REQUIRETLS (RFC 8689), `try` it (a bounce of such a message, §5), `no-tls-needed`
 * (`TLS-Required: no`, §3). Null: nothing.
 */
export type Demand = 'must' | 'try' | 'no-tls-needed' | null

/** Where mail for a domain goes: its MX hosts by preference, what the set is called, and whose mailboxes they are. */
export type Destination = {
  readonly domain: string
  readonly hosts: readonly {
    readonly name: string
    readonly preference: number
    readonly addresses: readonly string[]
  }[]
  /** Same value for every domain behind the same set of MX hosts. */
  readonly site: string
  /** `google`, `microsoft`, `yahoo`, `apple` … `other` (config/shaping.toml). */
  readonly mailboxProvider: string
  readonly tls: DomainTls
}

/** A reply classified (config/replies.toml). */
export type Classified = {
  /** One of the documented classes (`user-unknown`, `mailbox-full`, `ip-blocked`, `greylist` …, `unclassified`). */
  readonly class: string
  /** The address or its domain is dead; null when it cannot be told. */
  readonly hard: boolean | null
  /** What follows: `suppress`, `bounce`, `retry`, `slow-down`, `pause-provider`. */
  readonly action: string
}
