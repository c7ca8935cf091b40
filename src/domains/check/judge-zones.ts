import type { Look, Zone } from '../lookup/contract.ts'
import { isAtOrAbove } from '../lookup/zone-view.ts'
import { organisationOf } from '../records/wanted.ts'
import { type Finding, finding } from './finding.ts'

/** What is wrong with the zone of a name and its servers. @param looks every look into it */
export function judgeZone(name: string, zone: Zone, looks: readonly Look[]): readonly Finding[] {
  if (zone.resolverSilent)
    return [
      finding(
        'error',
        'resolver-silent',
        name,
        'the resolver does not answer: nothing can be checked from here',
        'See that this host reaches its name server (delivery.dns_servers, /etc/resolv.conf).',
      ),
    ]
  const organisation = organisationOf(name)
  if (zone.apex === '' || (zone.apex !== organisation && isAtOrAbove(zone.apex, organisation)))
    return looks.every(({ resolver }) => resolver.kind === 'nxdomain' || resolver.kind === 'failed')
      ? looks.every(({ resolver }) => resolver.kind === 'failed')
        ? [notFound(organisation)]
        : [
            finding(
              'error',
              'no-such-domain',
              organisation,
              `${organisation} does not exist in the DNS`,
              'Register the domain, or see that it was not deleted and that its name is spelt right.',
            ),
          ]
      : []
  const found: Finding[] = []
  if (zone.bogus)
    found.push(
      finding(
        'error',
        'dnssec-bogus',
        zone.apex,
        'the DNSSEC signatures of the zone do not hold: most resolvers refuse all of it',
        'Let the signatures be renewed, or correct the DS record at the registrar.',
      ),
    )
  for (const server of zone.unknownServers)
    found.push(
      finding(
        'warning',
        'name-server-unknown',
        zone.apex,
        `the name server ${server} has no address`,
        'Correct the NS records at the registrar and in the zone.',
      ),
    )
  const heard = new Set<string>()
  const faults = new Map<string, string>()
  for (const { authoritative } of looks)
    for (const { server, said } of authoritative)
      if (said.kind === 'failed') faults.set(server, said.reason)
      else heard.add(server)
  // While another server answers, mail goes on.
  const level = heard.size > 0 ? 'warning' : 'error'
  for (const [server, reason] of faults)
    if (!heard.has(server)) found.push({ ...serverFault(zone.apex, server, reason), level })
  if (zone.broken && heard.size === 0 && faults.size === 0) found.push(notFound(zone.apex))
  if (zone.broken && !zone.bogus && heard.size > 0)
    found.push(
      finding(
        'error',
        'resolver-failing',
        zone.apex,
        'the name servers answer, but the resolver gives no answer',
        'See whether this host can use another resolver; the zone may be broken in a way that only some notice.',
      ),
    )
  return found
}

function notFound(name: string): Finding {
  return finding(
    'error',
    'zone-not-found',
    name,
    'the resolver gives no answer, and the name servers of the zone could not be found',
    'See that its NS records are right at the registrar, and that this host reaches the DNS.',
  )
}

function serverFault(apex: string, server: string, reason: string): Finding {
  switch (reason) {
    case 'lame':
    case 'refused':
      return finding(
        'error',
        'lame-delegation',
        apex,
        `${server} is named as a name server of ${apex} but does not have the zone`,
        'Correct the NS records at the registrar, or set the zone up on that server.',
      )
    case 'servfail':
      return finding(
        'error',
        'name-server-failing',
        apex,
        `${server} answers SERVFAIL for ${apex}`,
        'Ask whoever runs the name server.',
      )
    default:
      return finding(
        'error',
        'name-server-silent',
        apex,
        `${server} does not answer, or answers what is no DNS`,
        'See that it runs and that port 53 is open, for UDP and TCP.',
      )
  }
}
