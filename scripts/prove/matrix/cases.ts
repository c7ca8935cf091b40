import { BEHAVIOURS, type DnsEntry, FAULTS, faulty, type Script, STAGES } from '#world'

/** One case: what stands in the DNS, and how the host behaves that it leads to (absent: a good one). */
export type Case = {
  readonly name: string
  readonly kind: 'fault' | 'mx' | 'dns'
  readonly zones?: (domain: string) => Readonly<Record<string, DnsEntry>>
  readonly script?: Script
  readonly localPart?: string
  /** Run once, when all cases are on their way for some seconds. */
  readonly later?: (domain: string) => Readonly<Record<string, DnsEntry>>
}

export const GOOD_HOST = 'mx.test'
const SELF = 'mail.sender.test'
/** Nobody listens there. */
const DEAD = '127.0.99.1'

const mx = (...records: readonly (readonly [number, string])[]): DnsEntry => ({ MX: records })
const zone = (entry: DnsEntry, more: (domain: string) => Readonly<Record<string, DnsEntry>> = () => ({})) => {
  return (domain: string) => ({ [domain]: entry, ...more(domain) })
}
/** The MX is a host below the domain, with this entry. */
const hostIs = (entry: DnsEntry, ...others: readonly (readonly [number, string])[]) => {
  return (domain: string): Readonly<Record<string, DnsEntry>> => ({
    [domain]: mx([10, `a.${domain}`], ...others),
    [`a.${domain}`]: entry,
  })
}

const faults: readonly Case[] = STAGES.flatMap((stage) =>
  FAULTS.map((fault) => ({
    name: `${stage} ${fault}`,
    kind: 'fault' as const,
    script: faulty(stage, fault, ['PIPELINING', 'ENHANCEDSTATUSCODES']),
  })),
)

const behaviours: readonly Case[] = Object.entries(BEHAVIOURS).map(([name, script]) => ({
  ...{ name, kind: 'mx' as const, script },
  // The number decides: refused for now, then taken.
  ...(name === 'partial' ? { localPart: 'u2' } : {}),
}))

const dns: Readonly<Record<string, Pick<Case, 'zones' | 'later'>>> = {
  mx: { zones: zone(mx([10, GOOD_HOST])) },
  'first mx refuses': { zones: hostIs({ A: [DEAD] }, [20, GOOD_HOST]) },
  'implicit mx': { zones: zone({ A: ['127.0.0.1'] }) },
  'alias of a domain': {
    zones: zone({ CNAME: 'aliased.test' }, () => ({ 'aliased.test': mx([10, GOOD_HOST]) })),
  },
  'mx is an alias': { zones: hostIs({ CNAME: GOOD_HOST }) },
  'null mx': { zones: zone(mx([0, '.'])) },
  'no such domain': { zones: () => ({}) },
  'neither mx nor address': { zones: zone({ TXT: ['nothing here'] }) },
  'mx without address': { zones: zone(mx([10, 'missing.test'])) },
  'first mx without address': { zones: zone(mx([10, 'missing.test'], [20, GOOD_HOST])) },
  'null mx among others': { zones: zone(mx([0, '.'], [10, GOOD_HOST])) },
  ourselves: { zones: zone(mx([10, SELF])) },
  'ourselves among equals': { zones: zone(mx([10, SELF], [10, GOOD_HOST])) },
  'we are the backup': { zones: zone(mx([10, GOOD_HOST], [20, SELF])) },
  'we are the backup of an unknown': { zones: hostIs({ fault: 'servfail' }, [20, SELF]) },
  servfail: { zones: zone({ fault: 'servfail' }) },
  refused: { zones: zone({ fault: 'refused' }) },
  silence: { zones: zone({ fault: 'silence' }) },
  garbage: { zones: zone({ fault: 'garbage' }) },
  'wrong id': { zones: zone({ fault: 'wrong-id' }) },
  truncated: { zones: zone({ ...mx([10, GOOD_HOST]), fault: 'truncate' }) },
  'address servfail': { zones: hostIs({ fault: 'servfail' }) },
  'first address servfail': { zones: hostIs({ fault: 'servfail' }, [20, GOOD_HOST]) },
  'private address': { zones: hostIs({ A: ['10.0.0.1'] }) },
  'link-local address': { zones: hostIs({ A: ['169.254.0.1'] }) },
  'shared address': { zones: hostIs({ A: ['100.64.0.1'] }) },
  'multicast address': { zones: hostIs({ A: ['224.0.0.1'] }) },
  'address zero': { zones: hostIs({ A: ['0.0.0.0'] }) },
  'documentation address': { zones: hostIs({ A: ['192.0.2.1'] }) },
  'broadcast address': { zones: hostIs({ A: ['255.255.255.255'] }) },
  'private address first': { zones: hostIs({ A: ['10.0.0.1'] }, [20, GOOD_HOST]) },
  'sixty mx': {
    zones: (domain) =>
      Object.fromEntries([
        [domain, { MX: Array.from({ length: 60 }, (_, i) => [10, `m${i}.${domain}`] as const) }],
        ...Array.from({ length: 60 }, (_, i) => [`m${i}.${domain}`, { A: [`127.0.98.${i + 1}`] }] as const),
      ]),
  },
  'forty addresses': { zones: hostIs({ A: Array.from({ length: 40 }, (_, i) => `127.0.97.${i + 1}`) }) },
  wildcard: {
    zones: (domain) => ({ [`*.${domain.slice(domain.indexOf('.') + 1)}`]: mx([10, GOOD_HOST]) }),
  },
  'servfail, then back': {
    zones: zone({ fault: 'servfail' }),
    later: zone(mx([10, GOOD_HOST])),
  },
}

export const CASES: readonly Case[] = [
  ...faults,
  ...behaviours,
  ...Object.entries(dns).map(([name, one]) => ({ name, kind: 'dns' as const, ...one })),
]
