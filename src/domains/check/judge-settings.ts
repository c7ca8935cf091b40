import { type DnsFacts, sameOrganisation } from '../records/wanted.ts'
import { type Finding, finding } from './finding.ts'

/** What is wrong with what was set here, before any record is looked at. */
export function judgeSettings({ domain, bounceHost, hosts, hostname }: DnsFacts): readonly Finding[] {
  const found: Finding[] = []
  for (const name of new Set([hostname, ...hosts.map((host) => host.name)]))
    if (!name.includes('.') || name.endsWith('.localhost'))
      found.push(
        finding(
          'error',
          'host-name-not-public',
          name,
          `${name} is no name that others can look up`,
          'Set hostname to the full name of this host, such as mail.example.com.',
        ),
      )
  if (bounceHost !== '' && !sameOrganisation(bounceHost, domain))
    found.push(
      finding(
        'warning',
        'bounce-host-elsewhere',
        bounceHost,
        `the bounce host is not in ${domain}: SPF does not align, so DMARC rests on DKIM alone`,
        `Remove the domain and add it again with a bounce host below it, such as bounces.${domain}.`,
      ),
    )
  return found
}
