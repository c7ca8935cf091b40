import type { DnsServer } from './dns-server.ts'

export type Verdict = {
  /** One entry a signature, in their order. */
  readonly dkim: readonly {
    readonly result: string
    readonly domain: string
    readonly selector: string
    readonly comment: string
  }[]
  readonly spf: string
  readonly dmarc: string
}

export type Arrival = {
  readonly content: Buffer
  /** Address it came from, for SPF. */
  readonly ip: string
  readonly helo: string
  /** Reverse-path. */
  readonly sender: string
}

type Authenticated = {
  readonly dkim: {
    readonly results: readonly {
      readonly signingDomain?: string
      readonly selector?: string
      readonly status?: { readonly result?: string; readonly comment?: string }
    }[]
  }
  readonly spf: false | { readonly status?: { readonly result?: string } }
  readonly dmarc: false | { readonly status?: { readonly result?: string } }
}

/** What an independent receiver (mailauth) makes of a message, asking the world's name server only. */
export async function verifyMail(dns: DnsServer, arrival: Arrival): Promise<Verdict> {
  const { authenticate } = (await import('mailauth')) as unknown as {
    authenticate(content: Buffer, options: unknown): Promise<Authenticated>
  }
  const resolver = dns.resolver()
  const { dkim, spf, dmarc } = await authenticate(arrival.content, {
    ip: arrival.ip,
    helo: arrival.helo,
    sender: arrival.sender,
    mta: 'verifier.test',
    trustReceived: false,
    resolver: (name: string, type: string) => resolver.resolve(name, type),
  })
  return {
    dkim: dkim.results.map((signature) => ({
      result: signature.status?.result ?? 'none',
      domain: signature.signingDomain ?? '',
      selector: signature.selector ?? '',
      comment: signature.status?.comment ?? '',
    })),
    spf: spf === false ? 'none' : (spf.status?.result ?? 'none'),
    dmarc: dmarc === false ? 'none' : (dmarc.status?.result ?? 'none'),
  }
}
