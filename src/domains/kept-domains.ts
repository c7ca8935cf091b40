import type { RecordsReader } from '#store'
import { keyRows, type PublishedKey, publishedKey } from './key-ring.ts'
import { domainName, type SendingDomain, sendingDomain, unknownDomain } from './sending-domains.ts'

export type KeptDomain = { readonly domain: SendingDomain; readonly keys: readonly PublishedKey[] }

/** All sending domains as the store has them; for commands beside or without a daemon. */
export function keptDomains(records: RecordsReader): readonly SendingDomain[] {
  return records.read(records.query.selectFrom('domains').selectAll().orderBy('name')).map(sendingDomain)
}

/**
 * One sending domain with its published keys, by either form of its name.
 * @throws Fault `not-found`, `invalid-domain`
 */
export function keptDomain(records: RecordsReader, text: string): KeptDomain {
  const name = domainName(text, 'domain')
  const domain = keptDomains(records).find((one) => one.name === name)
  if (domain === undefined) throw unknownDomain(text)
  return { domain, keys: records.read(keyRows(records.query, name)).map((row) => publishedKey(name, row)) }
}
