import { readFileSync } from 'node:fs'
import { rootCertificates } from 'node:tls'
import type { Clock, Log } from '#base'
import type { Config } from '#config'
import type { Records } from '#store'
import type { Authorities } from '../smtp-client/contract.ts'
import { fetchPolicy } from './fetch-policy.ts'
import { MtaSts } from './mta-sts.ts'
import type { Resolver } from './resolver.ts'
import { TlsPolicies } from './tls-policy.ts'
import { TlsResults } from './tls-results.ts'

export type TransportSecurityParts = {
  readonly config: Pick<Config, 'delivery' | 'tls_policies'>
  readonly records: Records
  readonly resolver: Resolver
  readonly clock: Clock
  readonly log: Log
}

/** How connections to MX hosts are secured: the policies, what they are held against, and the count of what became of them. */
export class TransportSecurity implements AsyncDisposable {
  readonly policies: TlsPolicies
  readonly results: TlsResults
  /** Undefined: those that come with Node. */
  readonly authorities: Authorities | undefined
  readonly #sts: MtaSts | null

  private constructor(
    policies: TlsPolicies,
    results: TlsResults,
    authorities: Authorities | undefined,
    sts: MtaSts | null,
  ) {
    this.policies = policies
    this.results = results
    this.authorities = authorities
    this.#sts = sts
  }

  static async open({ config, records, resolver, clock, log }: TransportSecurityParts): Promise<TransportSecurity> {
    const { delivery } = config
    const authorities =
      delivery.ca_file === '' ? undefined : [...rootCertificates, readFileSync(delivery.ca_file, 'utf8')]
    const results = new TlsResults(records, clock, log)
    const fetching = {
      ...{ resolver, clock, families: delivery.ip, allowNetworks: delivery.allow_networks },
      ca: authorities,
      port: delivery.mta_sts_port,
    }
    const sts = delivery.mta_sts
      ? await MtaSts.open({
          ...{ records, resolver, clock, log },
          fetch: (domain) => fetchPolicy(domain, fetching),
          onFault: (domain, result, reason) =>
            results.count({
              ...{ domain, result, reason, policyType: 'sts', policy: { strings: [], mx: [] } },
              ...{ sendingIp: '', mxHost: '', mxAddress: '' },
            }),
        })
      : null
    const policies = new TlsPolicies({ config: delivery, configured: config.tls_policies, resolver, sts })
    return new TransportSecurity(policies, results, authorities, sts)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sts?.[Symbol.dispose]()
    await this.results[Symbol.asyncDispose]()
  }
}
