import { Fault, systemClock } from '#base'
import type { InspectionJson } from '#domains'
import { segment } from './local-api.ts'
import type { Invocation } from './verb.ts'

/**
 * The records of a domain: by the running daemon, else from the store, which may be read without it.
 * @param lookup whether the zone is looked at as it stands
 */
export async function inspection(invocation: Invocation, name: string, lookup: boolean): Promise<InspectionJson> {
  const api = await invocation.api()
  try {
    return await api.get<InspectionJson>(`/domains/${segment(name)}/dns-records`, { lookup })
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'daemon-down') throw error
  }
  const config = await invocation.config()
  const [{ askServer, nameServers }, { DnsInspector, inspectionJson, keptDomain }, { readRecords }] = await Promise.all(
    [import('#delivery'), import('#domains'), import('#store')],
  )
  using records = readRecords(config.data_dir)
  const { domain, keys } = keptDomain(records, name)
  const inspector = new DnsInspector({
    settings: config,
    ask: askServer(systemClock),
    resolvers: () => nameServers(config.delivery.dns_servers, systemClock),
    clock: systemClock,
  })
  return inspectionJson(await (lookup ? inspector.inspect(domain, keys) : inspector.plan(domain, keys)))
}

/** All sending domains: by the running daemon, else from the store. */
export async function domainNames(invocation: Invocation): Promise<readonly string[]> {
  const api = await invocation.api()
  try {
    const { domains } = await api.get<{ domains: readonly { readonly name: string }[] }>('/domains')
    return domains.map(({ name }) => name)
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'daemon-down') throw error
  }
  const [{ keptDomains }, { readRecords }] = await Promise.all([import('#domains'), import('#store')])
  using records = readRecords((await invocation.config()).data_dir)
  return keptDomains(records).map(({ name }) => name)
}
