import { createSocket } from 'node:dgram'
import { networkInterfaces } from 'node:os'
import t, { type Test } from 'tap'
import { systemClock } from '#base'
import { Destinations, Resolver, TlsPolicies } from '#delivery'
import { type DnsEntry, openDns } from '#world'
import { policyText } from '../../src/delivery/direct/tls-policy.ts'
import { WRONG } from './secured-zones.ts'

const RECORD: DnsEntry = { TLSA: [WRONG] }
const ADDRESS = ['8.8.4.4']

/** `mx.a.test: dane`, and the name that the records stand at. */
async function decide(zones: Readonly<Record<string, DnsEntry>>): Promise<string> {
  await using dns = await openDns(zones, { authentic: true })
  return await inside(dns.address, [])
}

async function inside(server: string, trusted: readonly string[]): Promise<string> {
  const resolver = new Resolver({ servers: [server], trusted, clock: systemClock, timeoutMs: 300 })
  const config = { tls: 'opportunistic', dane: true, port: 25 } as const
  const destinations = new Destinations({
    ...{ resolver, clock: systemClock, hostname: 'relevo.test', families: 'ipv4', allowNetworks: [], maxHosts: 5 },
    tlsPolicies: new TlsPolicies({ config, configured: [], resolver, sts: null }),
    mailboxProviderOf: () => 'other',
  })
  const resolved = await destinations.resolve('a.test')
  if (resolved.kind !== 'destination') return `${resolved.kind} ${resolved.reason}`
  const [[, { policy }] = [] as never] = [...resolved.destination.tls.hosts]
  return `${policyText(policy)}${policy.level === 'dane' ? ` at ${policy.names[0]}` : ''}${policy.level === 'refuse' ? ` ${policy.reason}` : ''}`
}

const MX: DnsEntry = { MX: [[10, 'mx.a.test']] }

void t.test('RFC 7672 §2.1 and §2.2, row by row', async (t) => {
  const at = (name: string): string => `_25._tcp.${name}`
  const rows: Readonly<Record<string, readonly [string, Record<string, DnsEntry>]>> = {
    'all of it validated': [
      'dane at mx.a.test',
      { 'a.test': MX, 'mx.a.test': { A: ADDRESS }, [at('mx.a.test')]: RECORD },
    ],
    'no records': ['default opportunistic', { 'a.test': MX, 'mx.a.test': { A: ADDRESS } }],
    'MX not validated': [
      'default opportunistic',
      { 'a.test': { ...MX, insecure: true }, 'mx.a.test': { A: ADDRESS }, [at('mx.a.test')]: RECORD },
    ],
    'addresses not validated': [
      'default opportunistic',
      { 'a.test': MX, 'mx.a.test': { A: ADDRESS, insecure: true }, [at('mx.a.test')]: RECORD },
    ],
    'records not validated': [
      'default opportunistic',
      { 'a.test': MX, 'mx.a.test': { A: ADDRESS }, [at('mx.a.test')]: { ...RECORD, insecure: true } },
    ],
    'records bogus or out of reach': [
      'dane refuse dane-lookup-failed',
      { 'a.test': MX, 'mx.a.test': { A: ADDRESS }, [at('mx.a.test')]: { fault: 'servfail' } },
    ],
    'MX bogus': ['deferred dns-servfail', { 'a.test': { fault: 'servfail' } }],
    'no usable record': [
      'dane encrypt',
      {
        'a.test': MX,
        'mx.a.test': { A: ADDRESS },
        [at('mx.a.test')]: {
          TLSA: [
            { usage: 1, selector: 0, matchingType: 1, certificate: Buffer.alloc(32) },
            { usage: 3, selector: 0, matchingType: 1, certificate: Buffer.alloc(31) },
            { usage: 3, selector: 2, matchingType: 1, certificate: Buffer.alloc(32) },
            { usage: 3, selector: 1, matchingType: 9, certificate: Buffer.alloc(32) },
          ],
        },
      },
    ],
    'an alias, all validated: its end first': [
      'dane at real.test',
      {
        ...{ 'a.test': MX, 'mx.a.test': { CNAME: 'real.test' }, 'real.test': { A: ADDRESS } },
        ...{ [at('real.test')]: RECORD, [at('mx.a.test')]: RECORD },
      },
    ],
    'an alias, all validated, nothing at its end': [
      'dane at mx.a.test',
      {
        ...{ 'a.test': MX, 'mx.a.test': { CNAME: 'real.test' }, 'real.test': { A: ADDRESS } },
        [at('mx.a.test')]: RECORD,
      },
    ],
    'an alias into a zone that is not signed: the name itself': [
      'dane at mx.a.test',
      {
        ...{ 'a.test': MX, 'mx.a.test': { CNAME: 'real.test' }, 'real.test': { A: ADDRESS, insecure: true } },
        ...{ [at('real.test')]: RECORD, [at('mx.a.test')]: RECORD },
      },
    ],
    'no MX: the domain is the host': ['dane at a.test', { 'a.test': { A: ADDRESS }, [at('a.test')]: RECORD }],
  }
  for (const [name, [expected, zones]] of Object.entries(rows)) t.equal(await decide(zones), expected, name)
})

/** A name server at an address of this machine that is not loopback; null where there is none. */
async function relayed(t: Test, to: string): Promise<{ readonly server: string; readonly address: string } | null> {
  const address = Object.values(networkInterfaces())
    .flat()
    .find((one) => one?.family === 'IPv4' && !one.internal)?.address
  if (address === undefined) return null
  const [host = '', port = ''] = to.split(':')
  const relay = createSocket('udp4')
  await new Promise<void>((ready) => relay.bind(0, address, ready))
  t.teardown(() => relay.close())
  relay.on('message', (question, peer) => {
    const asking = createSocket('udp4')
    asking.once('message', (answer) => {
      relay.send(answer, peer.port, peer.address)
      asking.close()
    })
    asking.send(question, Number(port), host)
  })
  return { server: `${address}:${relay.address().port}`, address }
}

void t.test('the AD bit is believed of loopback, and of others only when they are listed', async (t) => {
  await using dns = await openDns(
    { 'a.test': MX, 'mx.a.test': { A: ADDRESS }, '_25._tcp.mx.a.test': RECORD },
    { authentic: true },
  )
  t.equal(await inside(dns.address, []), 'dane at mx.a.test')
  const other = await relayed(t, dns.address)
  if (other === null) return t.comment('left out: this machine has no address but loopback')
  const asked = dns.count('_25._tcp.mx.a.test')
  t.equal(await inside(other.server, []), 'default opportunistic')
  t.equal(dns.count('_25._tcp.mx.a.test'), asked, 'what could not be believed is not asked for')
  t.equal(await inside(other.server, [other.address]), 'dane at mx.a.test')
})
