import type { ColumnType, Generated } from 'kysely'

/** The tables of Records, typed for kysely. Times are epoch milliseconds; booleans 0/1; lists and maps JSON text. */
export interface RecordsTables {
  domains: {
    name: string
    created_ms: number
    /** Host of the return paths and of bounces that come back; empty: the domain has none and keeps its MAIL FROM. */
    bounce_host: string
    /** `bounces only` state kept for later rooms; `active` domains may send. */
    active: number
  }
  dkim_keys: {
    id: string
    domain: string
    selector: string
    algorithm: 'rsa-sha256' | 'ed25519-sha256'
    /** Sealed PKCS#8 DER (vault). */
    private_key: string
    /** Base64 as it stands in the p= tag. */
    public_key: string
    created_ms: number
    /** `next`: published, signs from `signs_from_ms` on; `retiring`: signed until `signed_until_ms`, still published. */
    state: 'next' | 'signing' | 'retiring' | 'retired'
    signs_from_ms: number | null
    signed_until_ms: number | null
  }
  credentials: {
    id: string
    username: string
    /** `scrypt$N$r$p$salt$hash`, base64. */
    password_hash: string
    name: string
    /** JSON list of sending domains or full addresses it may use. */
    allowed: string
    /** Messages an hour; 0: no limit of its own. */
    rate_per_hour: number
    expires_ms: number | null
    /** JSON list. */
    default_tags: string
    active: number
    created_ms: number
    last_used_ms: number | null
  }
  tokens: {
    id: string
    name: string
    /** First characters, to tell tokens apart in lists. */
    prefix: string
    /** SHA-256 of the whole token, hex. */
    hash: string
    /** JSON list: `send`, `queue:read`, … */
    permissions: string
    /** JSON list of sending domains or full addresses. */
    allowed: string
    expires_ms: number | null
    active: number
    created_ms: number
    last_used_ms: number | null
  }
  providers: {
    id: string
    name: string
    kind: 'own' | 'smarthost'
    /** JSON: host, port, tls, username; `password` sealed by the vault. */
    settings: string
    priority: number
    weight: number
    /** Id of the provider that takes over; null: the next by priority. */
    fallback: string | null
    active: number
    created_ms: number
  }
  suppressions: {
    /** Lower-case address, or `*@domain`. */
    address: string
    /** `everything`, `domain:<sending domain>`, `category:<name>`, `list:<name>`. */
    scope: string
    reason: 'hard-bounce' | 'soft-bounce' | 'complaint' | 'unsubscribe' | 'manual'
    /** Class of the reply or report that led here, empty for manual. */
    class: string
    smtp_code: string
    detail: string
    count: number
    first_ms: number
    last_ms: number
    /** Null: for ever. */
    until_ms: number | null
  }
  events: {
    seq: Generated<number>
    id: string
    at_ms: number
    type: string
    message_id: string | null
    recipient_key: number | null
    recipient: string | null
    provider: string | null
    class: string | null
    status: string | null
    /** JSON. */
    detail: string
  }
  counters: {
    /** `warmup:<source>`, `provider:<id>` … */
    name: string
    /** `2026-11-24` or `2026-11-24T10`, or empty for a total. */
    period: string
    value: number
  }
  inbound_mail: {
    seq: Generated<number>
    id: string
    received_ms: number
    /** What the recipient address was recognised as. */
    kind: 'bounce' | 'complaint' | 'unsubscribe' | 'report' | 'postmaster' | 'abuse'
    mail_from: string
    rcpt_to: string
    client_address: string
    content: ColumnType<Uint8Array | null, Uint8Array | null, Uint8Array | null>
    /** Null until worked on; then the time. */
    processed_ms: number | null
    /** What it was found to be and what it led to, JSON. */
    result: string | null
  }
  settings: { name: string; value: string; updated_ms: number }
  audit: {
    seq: Generated<number>
    at_ms: number
    /** `local:uid 1000`, `token:<id>`, `system`. */
    actor: string
    client_address: string
    action: string
    target: string
    before: string | null
    after: string | null
  }
  data_keys: { id: string; sealed: string; created_ms: number; active: number }
  /** MTA-STS policies of recipient domains (RFC 8461), until their max_age is over. */
  mta_sts: {
    domain: string
    id: string
    /** JSON: mode, maxAgeMs, mx. */
    policy: string
    fetched_ms: number
  }
  /** What became of TLS with recipient domains, in the form of TLS reports (RFC 8460 §4). */
  tls_results: {
    /** `2026-11-24`, UTC. */
    day: string
    domain: string
    policy_type: 'tlsa' | 'sts' | 'no-policy-found'
    /** `success` or a result type of RFC 8460 §4.3. */
    result: string
    sending_ip: string
    mx_host: string
    mx_address: string
    reason: string
    /** JSON: the lines of the policy and the hosts it names. */
    policy: string
    count: number
  }
  return_path_keys: { id: number; sealed: string; created_ms: number; expires_ms: number | null }
}
