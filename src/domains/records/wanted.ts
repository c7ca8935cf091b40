import { createRequire } from 'node:module'
import ipaddr from 'ipaddr.js'
import type { PublishedKey } from '../key-ring.ts'
import type { Check, Each, Need, Template, WantedType } from './template.ts'

const require = createRequire(import.meta.url)
let tldts: typeof import('tldts') | undefined

/** What the records of one sending domain follow from. */
export type DnsFacts = {
  readonly domain: string
  /** Empty: the domain has none. */
  readonly bounceHost: string
  readonly createdMs: number
  readonly keys: readonly PublishedKey[]
  /** The name of this host. */
  readonly hostname: string
  /** Names given in EHLO with the public addresses behind them; an address list may be empty (not known here). */
  readonly hosts: readonly { readonly name: string; readonly addresses: readonly string[] }[]
  /** Where DMARC and TLS reports are asked for. */
  readonly reportAddress: string
}

/** A record as it should stand. `value` of TXT is one text, not yet cut; of MX `10 host`; empty: not known here. */
export type WantedRecord = {
  readonly id: string
  readonly name: string
  readonly type: WantedType
  readonly value: string
  readonly check: Check
  readonly need: Need
  readonly by: 'you' | 'hoster'
  readonly why: string
}

const KEY_STATE = {
  signing: 'it signs now',
  next: 'it will sign once it is published',
  retiring: 'it has signed mail that may still be on its way',
  retired: 'it is no longer used',
} as const

/** Every record of the domain, from the templates. */
export function wantedRecords(facts: DnsFacts, templates: readonly Template[]): readonly WantedRecord[] {
  const words = wordsOf(facts)
  return templates.flatMap((template) => {
    if (template.when !== '' && (words[template.when] ?? '') === '') return []
    if (template.unless !== '' && (words[template.unless] ?? '') !== '') return []
    const { name, type, value, check, need, by, why } = template
    return turns(template.each, facts).map((own) => {
      const fill = (text: string): string =>
        text.replace(/\{([^{}]*)\}/g, (_, word: string) => own[word] ?? words[word] ?? '')
      return {
        id: fill(template.id),
        name: fill(name),
        type,
        value: fill(value),
        check,
        need,
        by,
        why: fill(why),
      }
    })
  })
}

type Words = Readonly<Record<string, string>>

function wordsOf(facts: DnsFacts): Words {
  const { domain, bounceHost, hostname, reportAddress } = facts
  const reportDomain = reportAddress.slice(reportAddress.lastIndexOf('@') + 1)
  return {
    domain,
    bounce_host: bounceHost,
    hostname,
    spf_terms: spfTerms(facts).join(' '),
    report_address: reportAddress,
    report_domain: reportDomain,
    report_elsewhere: sameOrganisation(domain, reportDomain) ? '' : 'yes',
    link_host: `links.${domain}`,
    policy_id: String(Math.floor(facts.createdMs / 1000)),
  }
}

function turns(each: Each, { keys, hosts }: DnsFacts): readonly Words[] {
  const addresses = hosts.flatMap(({ name, addresses }) => addresses.map((address) => ({ host: name, address })))
  switch (each) {
    case 'domain':
      return [{}]
    case 'key':
      return keys
        .filter((key) => key.state !== 'retired')
        .map((key) => ({
          selector: key.selector,
          key_value: key.value,
          algorithm: key.algorithm === 'rsa-sha256' ? 'RSA' : 'Ed25519',
          key_state: KEY_STATE[key.state],
        }))
    case 'host':
      return hosts.map(({ name }) => ({ host: name }))
    case 'host-without-address':
      return hosts.filter((host) => host.addresses.length === 0).map(({ name }) => ({ host: name }))
    case 'ipv4':
    case 'ipv6':
      return addresses.filter(({ address }) => ipaddr.parse(address).kind() === each)
    case 'address':
      return addresses.map((one) => ({ ...one, reverse: reverseName(one.address) }))
  }
}

/** SPF mechanisms that name our hosts: by name, so that a new address needs no change in every domain. */
export function spfTerms({ hosts }: Pick<DnsFacts, 'hosts'>): readonly string[] {
  return hosts.map(({ name }) => `a:${name}`)
}

/** Name of the PTR record (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseName(address: string): string {
  const parsed = ipaddr.process(address)
  if (parsed.kind() === 'ipv4') return `${parsed.toString().split('.').reverse().join('.')}.in-addr.arpa`
  const nibbles = parsed
    .toByteArray()
    .flatMap((byte) => [byte >> 4, byte & 15])
    .map((nibble) => nibble.toString(16))
  return `${nibbles.reverse().join('.')}.ip6.arpa`
}

/** The organisational domain (RFC 7489 §3.2), by the public suffix list; the name itself where it has none. */
export function organisationOf(name: string): string {
  // The list is large, and few processes look at DNS records.
  tldts ??= require('tldts') as typeof import('tldts')
  return tldts.getDomain(name, { allowPrivateDomains: true, validateHostname: false }) ?? name
}

export function sameOrganisation(a: string, b: string): boolean {
  return organisationOf(a) === organisationOf(b)
}
