import { networkInterfaces } from 'node:os'
import ipaddr from 'ipaddr.js'
import type { Clock } from '#base'
import type { Config } from '#config'
import type { Inspection } from './check/finding.ts'
import type { PublishedKey } from './key-ring.ts'
import type { AskServer, NameServer } from './lookup/contract.ts'
import type { Template } from './records/template.ts'
import type { DnsFacts } from './records/wanted.ts'
import type { SendingDomain } from './sending-domains.ts'

/** Of the configuration, what the records follow from. */
export type DnsSettings = Pick<Config, 'hostname' | 'sources' | 'dns'>

/** However slow its servers are, a look at a domain ends. */
const WITHIN_MS = 60_000

export type DnsInspectorParts = {
  readonly settings: DnsSettings
  readonly ask: AskServer
  readonly resolvers: () => readonly NameServer[]
  readonly clock: Clock
}

type Judges = typeof import('./check/inspect-domain.ts') & { readonly templates: readonly Template[] }

/** The records of the sending domains, as they should stand and as they do. What it judges by is loaded at the first look. */
export class DnsInspector {
  readonly #parts: DnsInspectorParts
  #judges: Promise<Judges> | null = null
  readonly #running = new Map<string, Promise<Inspection>>()

  constructor(parts: DnsInspectorParts) {
    this.#parts = parts
  }

  /** The records, without a look at the zone. */
  async plan(domain: SendingDomain, keys: readonly PublishedKey[]): Promise<Inspection> {
    const { planOffline, templates } = await this.#loaded()
    return planOffline(dnsFacts(domain, keys, this.#parts.settings), templates)
  }

  /** The records as they stand now. Who asks for the same domain meanwhile gets the same answer. */
  inspect(domain: SendingDomain, keys: readonly PublishedKey[]): Promise<Inspection> {
    let running = this.#running.get(domain.name)
    if (running === undefined) {
      running = this.#inspect(domain, keys).finally(() => this.#running.delete(domain.name))
      this.#running.set(domain.name, running)
    }
    return running
  }

  async #inspect(domain: SendingDomain, keys: readonly PublishedKey[]): Promise<Inspection> {
    const { inspectDomain, templates } = await this.#loaded()
    const { settings, ask, resolvers, clock } = this.#parts
    const untilMs = clock.monotonicMs() + WITHIN_MS
    return inspectDomain(dnsFacts(domain, keys, settings), templates, {
      ask: async (server, question) => (clock.monotonicMs() < untilMs ? ask(server, question) : null),
      resolvers: resolvers(),
      authorityPort: settings.dns.authority_port,
    })
  }

  #loaded(): Promise<Judges> {
    this.#judges ??= Promise.all([import('./check/inspect-domain.ts'), import('./records/template.ts')]).then(
      ([judges, { loadTemplates }]) => ({ ...judges, templates: loadTemplates() }),
    )
    // A template that was put right is read again.
    this.#judges.catch(() => {
      this.#judges = null
    })
    return this.#judges
  }
}

/** @param keys every key of the domain, those that are retired too */
export function dnsFacts(
  domain: SendingDomain,
  keys: readonly PublishedKey[],
  { hostname, sources, dns }: DnsSettings,
): DnsFacts {
  const names = new Map<string, string[]>()
  for (const { ehlo, address } of sources)
    names.set(ehlo.toLowerCase(), [...(names.get(ehlo.toLowerCase()) ?? []), address])
  const given = dns.public_addresses.length > 0 ? dns.public_addresses : null
  const host = hostname.toLowerCase()
  // Without sources the system chooses the address, and the host name is what is given in EHLO.
  if (names.size === 0) names.set(host, [...(given ?? interfaceAddresses())])
  else if (!names.has(host)) names.set(host, [])
  const hosts = [...names].map(([name, addresses]) => ({
    name,
    addresses: [...new Set((names.size === 1 && given !== null ? given : addresses).filter(isPublic))],
  }))
  return {
    domain: domain.name,
    bounceHost: domain.bounceHost,
    createdMs: domain.createdMs,
    keys,
    hostname: host,
    hosts,
    reportAddress:
      dns.report_address !== ''
        ? dns.report_address
        : domain.bounceHost === ''
          ? `postmaster@${host}`
          : `reports@${domain.bounceHost}`,
  }
}

function interfaceAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address))
}

/** Behind NAT the own addresses say nothing about how the world sees us. */
function isPublic(address: string): boolean {
  const parsed = ipaddr.isValid(address) ? ipaddr.parse(address) : null
  // The addresses for documentation (RFC 5737) count as public: they stand for one.
  return parsed !== null && (parsed.range() === 'unicast' || /^(?:192\.0\.2|198\.51\.100|203\.0\.113)\./.test(address))
}
