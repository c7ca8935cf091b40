/** `address` and port of a name server. */
export type NameServer = { readonly address: string; readonly port: number }

/** One resource record, names in lower case without the last dot. Other types than these are left out. */
export type DnsRecord = { readonly name: string; readonly ttlS: number } & (
  | { readonly type: 'A' | 'AAAA' | 'CNAME' | 'NS' | 'PTR'; readonly value: string }
  | { readonly type: 'MX'; readonly preference: number; readonly exchange: string }
  /** Octets as Latin-1 characters. */
  | { readonly type: 'TXT'; readonly strings: readonly string[] }
  | { readonly type: 'SOA' }
)
export type AskedType = DnsRecord['type']

export type DnsReply = {
  /** `NOERROR`, `NXDOMAIN`, `SERVFAIL`, `REFUSED` … */
  readonly rcode: string
  readonly authoritative: boolean
  readonly answers: readonly DnsRecord[]
  readonly authorities: readonly DnsRecord[]
  readonly additionals: readonly DnsRecord[]
}

export type DnsQuestion = {
  readonly name: string
  readonly type: AskedType
  /** Ask it to look further (a resolver), or for what it has itself (an authoritative server). */
  readonly recursive: boolean
  /** The answer is wanted although DNSSEC says it is forged (RFC 4035 §3.2.2). */
  readonly checkingDisabled?: boolean
}

/** One question to one server; null when no answer came that could be read. Never throws. */
export type AskServer = (server: NameServer, question: DnsQuestion) => Promise<DnsReply | null>

/** What one server says is at a name. `values`: A, AAAA, CNAME, PTR as they are, MX as `10 host`, TXT joined. */
export type Said =
  | {
      readonly kind: 'records'
      readonly values: readonly string[]
      readonly ttlS: number
      /** First CNAME on the way, null without one. */
      readonly cname: string | null
      /** Strings of each TXT record, as they stand. */
      readonly strings: readonly (readonly string[])[]
    }
  | { readonly kind: 'nodata' | 'nxdomain'; readonly cname: string | null }
  | { readonly kind: 'failed'; readonly reason: 'servfail' | 'refused' | 'timeout' | 'lame' }

export type Zone = {
  /** Empty: not found. */
  readonly apex: string
  readonly servers: readonly { readonly name: string; readonly address: string }[]
  /** Name servers of the zone whose names have no address. */
  readonly unknownServers: readonly string[]
  /** The resolver refuses it, but gives it when asked not to check: its DNSSEC is broken. */
  readonly bogus: boolean
  /** The resolver has no answer: the servers are those that the parent names. */
  readonly broken: boolean
  /** The resolver itself gives no answer. */
  readonly resolverSilent: boolean
}

/** What is at a name, by each authoritative server and by the resolver. */
export type Look = {
  readonly zone: Zone
  readonly authoritative: readonly { readonly server: string; readonly said: Said }[]
  readonly resolver: Said
}
