import ipaddr from 'ipaddr.js'
import { systemClock } from '#base'
import { connectSmtp, deadlinesOf } from '#delivery'
import { type DnsRecord, dnsFacts } from '#domains'
import { bad, type Check, good, type Patient, skipped } from './check.ts'

/** Providers whose MX hosts are always there. */
const PROBED = ['gmail.com', 'outlook.com']
/** What a list answers to a resolver it does not serve (Spamhaus and others): nothing is known then. */
const NOT_SERVED = /^127\.255\.255\./

type Found = { readonly rcode: string; readonly records: readonly DnsRecord[] }

async function look(patient: Patient, name: string, type: 'A' | 'AAAA' | 'MX' | 'PTR' | 'TXT'): Promise<Found | null> {
  for (const server of patient.resolvers) {
    const reply = await patient.ask(server, { name, type, recursive: true })
    if (reply !== null && reply.rcode !== 'SERVFAIL' && reply.rcode !== 'REFUSED')
      return { rcode: reply.rcode, records: reply.answers.filter((record) => record.type === type) }
  }
  return null
}

const values = (found: Found | null): readonly string[] =>
  (found?.records ?? []).flatMap((record) => ('value' in record ? [record.value] : []))

/** Whether names can be looked up at all. */
export async function dns(patient: Patient): Promise<Check[]> {
  const { resolvers, config } = patient
  if (resolvers.length === 0)
    return [
      bad('dns', 'fail', 'there is no name server', 'Set delivery.dns_servers, or nameserver in /etc/resolv.conf.'),
    ]
  const silent = []
  for (const server of resolvers) {
    const reply = await patient.ask(server, { name: config.hostname, type: 'A', recursive: true })
    if (reply === null || reply.rcode === 'REFUSED') silent.push(server.address)
  }
  if (silent.length === 0) return [good('dns', `${resolvers.map(({ address }) => address).join(', ')} answer`)]
  return [
    bad(
      'dns',
      silent.length === resolvers.length ? 'fail' : 'warn',
      `${silent.join(', ')} gives no answer`,
      'Use a resolver of your own on this host (unbound): delivery.dns_servers = ["127.0.0.1"]',
    ),
  ]
}

/** The names given in EHLO: address, reverse name, and that name's address again (FCrDNS), as receivers look at them. */
export async function names(patient: Patient): Promise<Check[]> {
  if (patient.config.mode === 'sandbox')
    return [skipped('names', 'in sandbox mode the names of this host do not matter')]
  const nobody = { name: '', bounceHost: '', active: true, createdMs: 0 }
  const found: Check[] = []
  for (const { name, addresses } of dnsFacts(nobody, [], patient.config).hosts) {
    const forward = [...values(await look(patient, name, 'A')), ...values(await look(patient, name, 'AAAA'))].map(plain)
    if (forward.length === 0)
      found.push(
        bad(
          'names',
          'fail',
          `${name} has no address in the DNS`,
          `Publish an A record for ${name} with the public address of this host.`,
        ),
      )
    if (addresses.length === 0) {
      if (forward.length > 0)
        found.push(
          bad(
            'names',
            'warn',
            `the public address of this host is not known; ${name} is ${forward.join(', ')}`,
            'Set dns.public_addresses, then its reverse name is looked at too.',
          ),
        )
      continue
    }
    for (const address of addresses) {
      if (forward.length > 0 && !forward.includes(plain(address)))
        found.push(
          bad(
            'names',
            'fail',
            `${name} is ${forward.join(', ')}, mail leaves from ${address}`,
            `Add ${address} to the addresses of ${name}, or correct sources.`,
          ),
        )
      const reverse = values(await look(patient, reverseName(address), 'PTR'))
      if (reverse.length === 0) {
        found.push(
          bad(
            'names',
            'fail',
            `${address} has no reverse name`,
            `Ask who gave you the address for the PTR ${name}. Many hosts refuse mail without it.`,
          ),
        )
        continue
      }
      const back = await Promise.all(
        reverse.slice(0, 5).flatMap((one) => [look(patient, one, 'A'), look(patient, one, 'AAAA')]),
      )
      if (!back.flatMap(values).map(plain).includes(plain(address)))
        found.push(
          bad(
            'names',
            'fail',
            `${address} is called ${reverse.join(', ')}, which is not ${address}`,
            `Let its reverse name be ${name}, and ${name} be ${address} (FCrDNS).`,
          ),
        )
      else if (!reverse.includes(name))
        found.push(
          bad(
            'names',
            'warn',
            `${address} is called ${reverse.join(', ')}, EHLO says ${name}`,
            `Let both be the same: the PTR ${name}, or the EHLO name ${reverse[0]}.`,
          ),
        )
      else found.push(good('names', `${address} is ${name}, there and back`))
    }
  }
  return found
}

/** Whether port 25 of the world can be reached: many hosters close it. */
export async function outbound(patient: Patient): Promise<Check[]> {
  const { config, probes } = patient
  if (config.mode === 'sandbox')
    return [skipped('outbound', 'in sandbox mode nothing leaves this machine, so port 25 is not tried')]
  const hosts = probes.length > 0 ? probes : await probedHosts(patient)
  if (hosts.length === 0)
    return [bad('outbound', 'fail', 'no mail host could be found to try port 25 at', 'See the findings about dns.')]
  const failures: string[] = []
  for (const host of hosts) {
    const [address] = ipaddr.isValid(host) ? [host] : values(await look(patient, host, 'A'))
    if (address === undefined) {
      failures.push(`${host}: no address`)
      continue
    }
    const result = await connectSmtp({
      ...{ host, address, port: config.delivery.port, allow: config.delivery.allow_networks },
      source: config.sources[0]?.address ?? '',
      ehlo: config.sources[0]?.ehlo ?? config.hostname,
      tls: { mode: 'opportunistic' },
      deadlines: deadlinesOf(config.delivery),
      clock: systemClock,
      signal: AbortSignal.timeout(15_000),
    })
    if (result.ok) {
      const { tls } = result.connection
      await result.connection.quit()
      return [good('outbound', `${host} answers on port ${config.delivery.port}${tls === '' ? '' : ` with ${tls}`}`)]
    }
    const { reason, reply } = result.failure
    if (reply !== null)
      return [
        bad(
          'outbound',
          'warn',
          `${host} answers, but says ${reply.code} ${reply.text}`,
          'See the findings about names and blocklists.',
        ),
      ]
    failures.push(`${host}: ${reason}`)
  }
  return [
    bad(
      'outbound',
      'fail',
      `port ${config.delivery.port} of other hosts cannot be reached (${failures.join('; ')})`,
      'Ask the hoster to open port 25, or hand all mail to a relay: relevo provider add --help',
    ),
  ]
}

async function probedHosts(patient: Patient): Promise<readonly string[]> {
  const found: string[] = []
  for (const domain of PROBED) {
    const mx =
      (await look(patient, domain, 'MX'))?.records.flatMap((record) => (record.type === 'MX' ? [record] : [])) ?? []
    const [first] = mx.sort((a, b) => a.preference - b.preference)
    if (first !== undefined) found.push(first.exchange)
  }
  return found
}

/** Public addresses of ours on the lists that receivers ask (RFC 5782). */
export async function blocklists(patient: Patient): Promise<Check[]> {
  const { config } = patient
  if (config.mode === 'sandbox') return [skipped('blocklists', 'in sandbox mode no list is asked')]
  const nobody = { name: '', bounceHost: '', active: true, createdMs: 0 }
  const addresses = [...new Set(dnsFacts(nobody, [], config).hosts.flatMap((host) => host.addresses))]
  if (addresses.length === 0)
    return [skipped('blocklists', 'the public address of this host is not known; set dns.public_addresses')]
  const found: Check[] = []
  for (const address of addresses)
    for (const list of config.doctor.blocklists) {
      const name = `${reverseName(address).replace(/\.(in-addr|ip6)\.arpa$/, '')}.${list}`
      const answer = await look(patient, name, 'A')
      const listed = values(answer).filter((value) => value.startsWith('127.'))
      if (answer === null || listed.some((value) => NOT_SERVED.test(value)))
        found.push(skipped('blocklists', `${list} does not serve this resolver; use one of your own (unbound)`))
      else if (listed.length === 0) found.push(good('blocklists', `${address} is not on ${list}`))
      else {
        const why = (await look(patient, name, 'TXT'))?.records.flatMap((record) =>
          record.type === 'TXT' ? [record.strings.join('')] : [],
        )[0]
        found.push(
          bad(
            'blocklists',
            'fail',
            `${address} is on ${list}${why === undefined ? '' : `: ${why.slice(0, 200)}`}`,
            `Find and stop the cause, then ask ${list} to take it off.`,
          ),
        )
      }
    }
  return found
}

function reverseName(address: string): string {
  const parsed = ipaddr.parse(address)
  if (parsed.kind() === 'ipv4') return `${address.split('.').reverse().join('.')}.in-addr.arpa`
  const digits = (parsed as ipaddr.IPv6).parts.map((part) => part.toString(16).padStart(4, '0')).join('')
  return `${[...digits].reverse().join('.')}.ip6.arpa`
}

/** One form of an address. */
function plain(address: string): string {
  return ipaddr.isValid(address) ? ipaddr.parse(address).toString() : address
}
