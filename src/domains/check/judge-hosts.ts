import ipaddr from 'ipaddr.js'
import { reverseName } from '../records/wanted.ts'
import { type Finding, finding, hasError } from './finding.ts'
import { asItIs, type Judge, notThere, toChange, valuesIn } from './judgement.ts'

/** Ranges in which no mail server of the public Internet is. */
const NOT_PUBLIC = new Set(['private', 'loopback', 'linkLocal', 'carrierGradeNat', 'unspecified', 'uniqueLocal'])

/** The bounce host's MX: this host, by a name that is no alias and has an address. */
export const mx: Judge = async (wanted, said, { facts, look }) => {
  const values = valuesIn(said)
  const { name } = wanted
  if (values.length === 0)
    return notThere(
      wanted,
      [],
      [
        finding(
          'error',
          'mx-missing',
          name,
          'there is no MX record: bounces do not come back',
          'Add the record given here.',
        ),
      ],
    )
  const hosts = values.map((value) => {
    const [preference = '', exchange = ''] = value.split(' ')
    return { preference: Number(preference), exchange }
  })
  const ours = hosts.filter(({ exchange }) => exchange === facts.hostname)
  const findings: Finding[] = []
  for (const { exchange } of hosts) findings.push(...exchangeFaults(name, exchange, facts.hostname))
  if (ours.length === 0 && findings.length === 0)
    findings.push(
      finding(
        'error',
        'mx-elsewhere',
        name,
        `bounces go to ${hosts.map(({ exchange }) => exchange).join(', ')} and not to ${facts.hostname}`,
        'Replace it by the record given here.',
      ),
    )
  for (const { exchange } of ours) {
    const alias = await look(exchange, 'A')
    if (alias.kind !== 'failed' && alias.cname !== null)
      findings.push(
        finding(
          'error',
          'mx-to-alias',
          name,
          `${exchange} is an alias (CNAME) of ${alias.cname}; an MX must not name one (RFC 5321 §5.1)`,
          `Give ${exchange} an address record instead of the CNAME.`,
        ),
      )
    else if (alias.kind === 'nodata' || alias.kind === 'nxdomain') {
      const six = await look(exchange, 'AAAA')
      if (six.kind !== 'records' && six.kind !== 'failed')
        findings.push(
          finding(
            'error',
            'mx-without-address',
            name,
            `${exchange} has no address`,
            `Add an A record for ${exchange}.`,
          ),
        )
    }
  }
  const best = Math.min(...hosts.map(({ preference }) => preference))
  if (ours.length > 0 && !ours.some(({ preference }) => preference === best))
    findings.push(
      finding(
        'warning',
        'mx-others-first',
        name,
        `other hosts come before ${facts.hostname}: bounces may not come back`,
        'Leave only the record given here.',
      ),
    )
  const besides = values.filter((value) => value.split(' ')[1] !== facts.hostname)
  if (!hasError(findings)) return asItIs(values.find((value) => !besides.includes(value))!, besides, findings)
  return toChange(wanted.value, values, [], findings)
}

function exchangeFaults(name: string, exchange: string, hostname: string): readonly Finding[] {
  const replace = 'Replace it by the record given here.'
  if (exchange === '')
    return [finding('error', 'mx-null', name, 'a null MX says that no mail is taken here (RFC 7505)', replace)]
  if (ipaddr.isValid(exchange))
    return [
      finding('error', 'mx-is-address', name, `the MX is the address ${exchange}; it must be a host name`, replace),
    ]
  if (exchange.startsWith(`${hostname}.`))
    return [
      finding(
        'error',
        'value-doubled',
        name,
        `the panel has put the domain behind the host: ${exchange}`,
        `Enter the host with a dot at its end: ${hostname}.`,
      ),
    ]
  return []
}

/** A and AAAA of a host name. */
export const address: Judge = (wanted, said, { facts }) => {
  const values = valuesIn(said)
  const { name, type, value } = wanted
  const known = facts.hosts.some((host) => host.name === name && host.addresses.length > 0)
  const alias = said.cname
  const findings: Finding[] = []
  if (alias !== null)
    findings.push(
      finding(
        'warning',
        'host-is-alias',
        name,
        `${name} is an alias (CNAME) of ${alias}; the name of a mail host should have an address itself (RFC 5321 §2.3.5)`,
        'Give it an address record instead of the CNAME.',
      ),
    )
  if (values.length === 0)
    return notThere(
      wanted,
      [],
      [
        ...findings,
        finding('error', 'address-missing', name, `there is no ${type} record`, 'Add the record given here.'),
      ],
    )
  if (!known) {
    const hidden = values.filter((one) => ipaddr.isValid(one) && NOT_PUBLIC.has(ipaddr.parse(one).range()))
    if (hidden.length > 0)
      findings.push(
        finding(
          'error',
          'address-not-public',
          name,
          `${hidden.join(', ')} cannot be reached from the Internet`,
          'Put the public address of this host here.',
        ),
      )
  } else if (!values.some((one) => same(one, value)))
    findings.push(
      finding(
        'error',
        'address-differs',
        name,
        `it leads to ${values.join(', ')} and not to ${value}`,
        'Put the address given here.',
      ),
    )
  const besides = values.filter((one) => value === '' || !same(one, value))
  return hasError(findings)
    ? toChange(value, values, [], findings)
    : asItIs(
        value === '' ? values[0]! : value,
        besides.filter((one) => one !== values[0] || value !== ''),
        findings,
      )
}

/** The name of an address, which must lead back to it. */
export const ptr: Judge = async (wanted, said, { look }) => {
  const values = valuesIn(said)
  const { name, value } = wanted
  if (values.length === 0)
    return notThere(
      wanted,
      [],
      [
        finding(
          'error',
          'ptr-missing',
          name,
          'the address has no name (PTR): large mailbox providers refuse its mail',
          `Ask whoever gave you the address to set its PTR to ${value}.`,
        ),
      ],
    )
  if (values.includes(value))
    return asItIs(
      value,
      values.filter((one) => one !== value),
    )
  const leadBack = await Promise.all(
    values.slice(0, 5).map(async (other) => {
      const back = await look(other, name.endsWith('.ip6.arpa') ? 'AAAA' : 'A')
      return back.kind === 'records' && back.values.some((one) => wanted.name === reverseOf(one))
    }),
  )
  const ask = `Ask whoever gave you the address to set its PTR to ${value}.`
  if (leadBack.includes(true))
    return asItIs(value, values, [
      finding(
        'warning',
        'ptr-other-name',
        name,
        `the address is called ${values.join(', ')}, which leads back to it; ${value} is the name given in EHLO`,
        ask,
      ),
    ])
  return {
    ...toChange(
      value,
      values,
      [],
      [
        finding(
          'error',
          'ptr-mismatch',
          name,
          `the address is called ${values.join(', ')}, which does not lead back to it`,
          ask,
        ),
      ],
    ),
    action: 'ask',
  }
}

/** A name of ours that only has to lead to this host. */
export const leadsHere: Judge = async (wanted, said, { look }) => {
  const values = valuesIn(said)
  if (values.length === 0) {
    const there = await look(wanted.name, 'A')
    if (there.kind !== 'records') return notThere(wanted, [], [])
    const here = await look(wanted.value, 'A')
    if (here.kind === 'records' && there.values.some((one) => here.values.includes(one)))
      return asItIs(wanted.value, [])
    return toChange(wanted.value, there.values, [], [elsewhere(wanted.name, there.values, wanted.value)])
  }
  if (values.includes(wanted.value)) return asItIs(wanted.value)
  const there = await look(wanted.name, 'A')
  const here = await look(wanted.value, 'A')
  if (there.kind === 'records' && here.kind === 'records' && there.values.some((one) => here.values.includes(one)))
    return asItIs(wanted.value)
  return toChange(wanted.value, values, [], [elsewhere(wanted.name, values, wanted.value)])
}

function elsewhere(name: string, values: readonly string[], host: string): Finding {
  return finding(
    'warning',
    'leads-elsewhere',
    name,
    `it leads to ${values.join(', ')} and not to ${host}`,
    'Replace it by the record given here, if links in mail are to use it.',
  )
}

function same(a: string, b: string): boolean {
  return ipaddr.isValid(a) && ipaddr.isValid(b) && ipaddr.process(a).toString() === ipaddr.process(b).toString()
}

function reverseOf(address: string): string {
  return ipaddr.isValid(address) ? reverseName(address) : ''
}
