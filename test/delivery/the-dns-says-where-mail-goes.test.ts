import { createSocket } from 'node:dgram'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { systemClock } from '#base'
import { Destinations, Resolver } from '#delivery'
import { type DnsEntry, manualClock, openDns } from '#world'
import { opportunistic } from './delivery-rig.ts'

async function open(
  t: Test,
  zones: Readonly<Record<string, DnsEntry>>,
  changes: { allowNetworks?: readonly string[]; negativeTtl?: number; families?: 'both' | 'ipv4' | 'ipv6' } = {},
) {
  const dns = await openDns(zones, { negativeTtl: changes.negativeTtl ?? 60 })
  t.teardown(() => dns[Symbol.asyncDispose]())
  const clock = manualClock()
  // Deadlines run in real time, lifetimes by hand.
  const waits = { ...systemClock, monotonicMs: () => clock.monotonicMs() }
  const resolver = new Resolver({ servers: [dns.address], clock: waits, timeoutMs: 200 })
  const destinations = new Destinations({
    resolver,
    clock,
    hostname: 'relevo.test',
    families: changes.families ?? 'both',
    allowNetworks: changes.allowNetworks ?? [],
    maxHosts: 5,
    tlsPolicies: opportunistic(resolver),
    mailboxProviderOf: () => 'other',
  })
  /** The answer in one line. */
  const where = async (domain: string): Promise<string> => {
    const resolved = await destinations.resolve(domain)
    if (resolved.kind === 'refused') return `refused ${resolved.status} ${resolved.reason}`
    if (resolved.kind === 'deferred') return `deferred ${resolved.reason}`
    return resolved.destination.hosts.map((host) => `${host.name}[${host.addresses.join()}]`).join(' ')
  }
  return { dns, clock, resolver, destinations, where }
}

const PUBLIC = '8.8.4.4'

void t.test('RFC 5321 §5, row by row', async (t) => {
  const { where } = await open(t, {
    'nullmx.test': { MX: [[0, '.']] },
    'two.test': {
      MX: [
        [20, 'b.two.test'],
        [10, 'a.two.test'],
      ],
    },
    'a.two.test': { A: ['8.8.8.8'] },
    'b.two.test': { A: ['8.8.4.4'], AAAA: ['2606:4700::1111'] },
    'implicit.test': { A: [PUBLIC] },
    'cnamemx.test': { MX: [[10, 'alias.test']] },
    'alias.test': { CNAME: 'real.test' },
    'real.test': { A: [PUBLIC] },
    'cname.test': { CNAME: 'two.test' },
    'txtonly.test': { TXT: ['nothing here'] },
    'noaddress.test': { MX: [[10, 'missing.test']] },
    'halfdead.test': {
      MX: [
        [10, 'missing.test'],
        [20, 'real.test'],
      ],
    },
    'mixednull.test': {
      MX: [
        [0, '.'],
        [10, 'real.test'],
      ],
    },
    'self.test': { MX: [[10, 'relevo.test']] },
    'backup.test': {
      MX: [
        [10, 'real.test'],
        [20, 'Relevo.Test'],
      ],
    },
    'equal.test': {
      MX: [
        [10, 'real.test'],
        [10, 'relevo.test'],
      ],
    },
    'backupbroken.test': {
      MX: [
        [10, 'broken.test'],
        [20, 'relevo.test'],
      ],
    },
    'broken.test': { fault: 'servfail' },
    'servfail.test': { fault: 'servfail' },
    'refused.test': { fault: 'refused' },
    'silent.test': { fault: 'silence' },
    'garbage.test': { fault: 'garbage' },
    'lame.test': { MX: [[10, 'broken.test']] },
  })
  const rows: readonly (readonly [string, string])[] = [
    ['nullmx.test', 'refused 5.1.10 null-mx'],
    ['nowhere.test', 'refused 5.1.2 domain-not-found'],
    ['two.test', 'a.two.test[8.8.8.8] b.two.test[8.8.4.4,2606:4700::1111]'],
    ['implicit.test', `implicit.test[${PUBLIC}]`],
    ['cnamemx.test', `alias.test[${PUBLIC}]`],
    ['cname.test', 'a.two.test[8.8.8.8] b.two.test[8.8.4.4,2606:4700::1111]'],
    ['txtonly.test', 'refused 5.1.2 domain-takes-no-mail'],
    ['noaddress.test', 'refused 5.4.4 mx-without-address'],
    ['halfdead.test', `real.test[${PUBLIC}]`],
    ['mixednull.test', `real.test[${PUBLIC}]`],
    ['self.test', 'refused 5.4.6 mail-loop'],
    ['backup.test', `real.test[${PUBLIC}]`],
    ['equal.test', 'refused 5.4.6 mail-loop'],
    ['backupbroken.test', 'deferred dns-servfail'],
    ['servfail.test', 'deferred dns-servfail'],
    ['refused.test', 'deferred dns-refused'],
    ['silent.test', 'deferred dns-timeout'],
    ['garbage.test', 'deferred dns-timeout'],
    ['lame.test', 'deferred dns-servfail'],
    [`${'x'.repeat(64)}.test`, 'refused 5.1.2 domain-not-found'],
    ['a..test', 'refused 5.1.2 domain-not-found'],
    [`${'long.'.repeat(60)}test`, 'refused 5.1.2 domain-not-found'],
  ]
  for (const [domain, expected] of rows) t.equal(await where(domain), expected, domain)
})

void t.test('an MX that leads to a special address is refused and named', async (t) => {
  const special: readonly (readonly [string, DnsEntry])[] = [
    ['loopback', { A: ['127.0.0.1'] }],
    ['loopback6', { AAAA: ['::1'] }],
    ['mapped', { AAAA: ['::ffff:127.0.0.1'] }],
    ['private', { A: ['10.1.2.3'] }],
    ['metadata', { A: ['169.254.169.254'] }],
    ['zero', { A: ['0.0.0.0'] }],
    ['broadcast', { A: ['255.255.255.255'] }],
  ]
  const zones: Record<string, DnsEntry> = { 'mixed.test': { MX: [[10, 'mx.mixed.test']] } }
  zones['mx.mixed.test'] = { A: ['127.0.0.1', PUBLIC, '10.0.0.1'] }
  for (const [name, entry] of special) {
    zones[`${name}.test`] = { MX: [[10, `mx.${name}.test`]] }
    zones[`mx.${name}.test`] = entry
  }
  const { where } = await open(t, zones)
  for (const [name] of special) t.match(await where(`${name}.test`), /^refused 5\.4\.4 special-address-/, name)
  t.equal(await where('mixed.test'), `mx.mixed.test[${PUBLIC}]`, 'only the address that may be connected to is left')
})

void t.test('sixty MX hosts and forty addresses are bounded to five tries', async (t) => {
  const names = Array.from({ length: 60 }, (_, i) => `mx${i}.many.test`)
  const zones: Record<string, DnsEntry> = {
    'many.test': { MX: names.map((name, i) => [i, name]) },
    'addresses.test': { MX: [[10, 'wide.test']] },
    'wide.test': { A: Array.from({ length: 40 }, (_, i) => `8.8.4.${i + 1}`) },
    'dead.test': { MX: Array.from({ length: 60 }, (_, i) => [i, `dead${i}.test`]) },
  }
  for (const [i, name] of names.entries()) zones[name] = { A: [`8.8.8.${i + 1}`] }
  const { destinations, dns, where } = await open(t, zones, { families: 'ipv4' })
  for (const domain of ['many.test', 'addresses.test']) {
    const resolved = await destinations.resolve(domain)
    if (resolved.kind !== 'destination') return t.fail(domain)
    t.equal(resolved.destination.hosts.flatMap((host) => host.addresses).length, 5)
  }
  t.equal(await where('dead.test'), 'deferred mx-without-address')
  t.equal(dns.queries.filter((query) => query.type === 'A' && query.name.startsWith('dead')).length, 10)
})

void t.test('an answer too long for UDP is asked for over TCP', async (t) => {
  const { dns, where } = await open(t, {
    'big.test': { fault: 'truncate', MX: [[10, 'mx.big.test']] },
    'mx.big.test': { A: [PUBLIC] },
  })
  t.equal(await where('big.test'), `mx.big.test[${PUBLIC}]`)
  t.strictSame(
    dns.queries.filter((query) => query.name === 'big.test').map((query) => query.transport),
    ['udp', 'tcp'],
  )
})

void t.test('an answer is kept for its TTL, a no for the TTL of its SOA, a failure for five seconds', async (t) => {
  const { dns, clock, resolver } = await open(
    t,
    { 'kept.test': { A: [PUBLIC], ttl: 100 }, 'bad.test': { fault: 'servfail' } },
    { negativeTtl: 30 },
  )
  const ask = (name: string) => resolver.addresses(name, 4)
  t.match(await ask('kept.test'), { kind: 'records', ttlMs: 100_000 })
  t.match(await ask('not.test'), { kind: 'nxdomain', ttlMs: 30_000 })
  await ask('bad.test')
  const bad = dns.count('bad.test')
  await clock.advance(4900)
  await ask('bad.test')
  t.equal(dns.count('bad.test'), bad)
  await clock.advance(200)
  await ask('bad.test')
  t.ok(dns.count('bad.test') > bad)
  await clock.advance(24_000)
  await ask('not.test')
  t.equal(dns.count('not.test'), 1)
  await clock.advance(2000)
  await ask('not.test')
  t.equal(dns.count('not.test'), 2)
  await clock.advance(68_000)
  await ask('KEPT.test')
  t.equal(dns.count('kept.test'), 1)
  await clock.advance(2000)
  await ask('kept.test')
  t.equal(dns.count('kept.test'), 2)
})

void t.test('equal questions at the same time are asked once', async (t) => {
  const { dns, destinations } = await open(t, {
    'one.test': { MX: [[10, 'mx.one.test']] },
    'mx.one.test': { A: [PUBLIC] },
  })
  await Promise.all(Array.from({ length: 200 }, () => destinations.resolve('one.test')))
  t.equal(dns.count('one.test'), 1)
  t.equal(dns.count('mx.one.test', 'A'), 1)
})

void t.test('an answer with another id or to another question is passed over', async (t) => {
  const { dns, where } = await open(t, { 'spoofed.test': { fault: 'wrong-id', MX: [[10, 'evil.test']] } })
  t.equal(await where('spoofed.test'), 'deferred dns-timeout')
  t.ok(dns.count('spoofed.test') >= 2, 'it was asked again')
  const codec = createRequire(import.meta.url)('dns-packet')
  const server = createSocket('udp4')
  await new Promise<void>((ready) => server.bind(0, '127.0.0.1', ready))
  t.teardown(() => server.close())
  server.on('message', (datagram, peer) => {
    const { id, questions } = codec.decode(datagram)
    const reply = (name: string, data: string) =>
      server.send(
        codec.encode({
          ...{ id, type: 'response', flags: 0, questions: [{ ...questions[0], name }] },
          answers: [{ name, type: 'A', ttl: 60, data }],
        }),
        peer.port,
        peer.address,
      )
    reply('other.test', '6.6.6.6')
    reply(questions[0].name, PUBLIC)
  })
  const { port } = server.address() as AddressInfo
  const resolver = new Resolver({ servers: [`127.0.0.1:${port}`], clock: systemClock })
  t.match(await resolver.addresses('asked.test', 4), { kind: 'records', records: [PUBLIC] })
})

void t.test('a second server answers when the first is gone', async (t) => {
  const { dns } = await open(t, { 'x.test': { A: [PUBLIC] } })
  const resolver = new Resolver({ servers: ['127.0.0.1:1', dns.address], clock: systemClock, timeoutMs: 200 })
  t.match(await resolver.addresses('x.test', 4), { kind: 'records', records: [PUBLIC] })
})
