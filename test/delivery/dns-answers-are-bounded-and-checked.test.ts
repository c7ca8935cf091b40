import { createSocket } from 'node:dgram'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '#base'
import { Destinations, Resolver } from '#delivery'
import { type DnsEntry, manualClock, openDns, tempDir } from '#world'
import { SystemServers } from '../../src/delivery/direct/system-servers.ts'
import { opportunistic } from './delivery-rig.ts'

type Answered = { readonly rcode?: number; readonly answers: readonly object[] }

const codec = createRequire(import.meta.url)('dns-packet')

/** A name server whose every answer is written by hand. */
async function byHand(t: Test, answer: (name: string, type: string) => Answered) {
  const server = createSocket('udp4')
  await new Promise<void>((ready) => server.bind(0, '127.0.0.1', ready))
  t.teardown(() => server.close())
  server.on('message', (datagram, peer) => {
    const { id, questions } = codec.decode(datagram)
    const { rcode = 0, answers } = answer(questions[0].name, questions[0].type)
    const reply = codec.encode({ id, type: 'response', flags: rcode, questions, answers })
    server.send(reply, peer.port, peer.address)
  })
  const { port } = server.address() as AddressInfo
  return new Resolver({ servers: [`127.0.0.1:${port}`], clock: systemClock, timeoutMs: 300 })
}

void t.test('of an answer of thousands of records a few are kept, the preferred ones', async (t) => {
  const dns = await openDns({
    'wide.test': { A: Array.from({ length: 2000 }, (_, i) => `8.8.${i >> 8}.${i & 255}`) },
    'many.test': { MX: Array.from({ length: 900 }, (_, i) => [900 - i, `mx${900 - i}.many.test`]) },
    'texts.test': { TXT: Array.from({ length: 300 }, (_, i) => `text ${i}`) },
  })
  t.teardown(() => dns[Symbol.asyncDispose]())
  const resolver = new Resolver({ servers: [dns.address], clock: systemClock })
  const addresses = await resolver.addresses('wide.test', 4)
  t.equal(addresses.kind === 'records' && addresses.records.length, 40)
  const hosts = await resolver.mx('many.test')
  if (hosts.kind !== 'records') return t.fail(hosts.kind)
  t.equal(hosts.records.length, 60)
  t.strictSame(hosts.records[0], { exchange: 'mx1.many.test', preference: 1 })
  t.strictSame(hosts.records.at(-1), { exchange: 'mx60.many.test', preference: 60 })
  const texts = await resolver.txt('texts.test')
  t.equal(texts.kind === 'records' && texts.records.length, 100)
})

void t.test('what was not asked for is not believed, and an alias is followed to its end', async (t) => {
  const record = (name: string, data: string) => ({ name, type: 'A', ttl: 60, data })
  const alias = (name: string, data: string, ttl = 60) => ({ name, type: 'CNAME', ttl, data })
  const resolver = await byHand(t, (name) => {
    if (name === 'poison.test') return { answers: [record('victim.test', '6.6.6.6'), record(name, '8.8.8.8')] }
    if (name === 'only.test') return { answers: [record('victim.test', '6.6.6.6')] }
    if (name === 'loop.test') return { answers: [alias(name, 'other.test'), alias('other.test', name)] }
    return { answers: [record('end.test', '8.8.4.4'), alias('Middle.Test', 'end.test', 7), alias(name, 'middle.test')] }
  })
  t.match(await resolver.addresses('poison.test', 4), { kind: 'records', records: ['8.8.8.8'] })
  t.match(await resolver.addresses('only.test', 4), { kind: 'nodata' })
  t.match(await resolver.addresses('loop.test', 4), { kind: 'failed', reason: 'servfail' })
  t.strictSame(await resolver.addresses('start.test', 4), {
    kind: 'records',
    records: ['8.8.4.4'],
    ttlMs: 7000,
    secure: false,
    owner: 'end.test',
  })
})

void t.test('what is asked for often stays, what nobody asks for any more goes first', async (t) => {
  const dns = await openDns({ '*.test': { A: ['8.8.8.8'] } })
  t.teardown(() => dns[Symbol.asyncDispose]())
  const resolver = new Resolver({ servers: [dns.address], clock: systemClock, maxCached: 10 })
  await resolver.addresses('often.test', 4)
  for (let i = 0; i < 30; i++) {
    await resolver.addresses(`once${i}.test`, 4)
    await resolver.addresses('often.test', 4)
  }
  t.equal(dns.count('often.test'), 1)
  await resolver.addresses('once0.test', 4)
  t.equal(dns.count('once0.test'), 2)
})

void t.test('a destination is kept as long as each of its records, and the site of many names is short', async (t) => {
  const zones: Record<string, DnsEntry> = {
    'short.test': { MX: [[10, 'mx.short.test']], ttl: 3600 },
    'mx.short.test': { A: ['8.8.8.8'], ttl: 20 },
  }
  for (const name of ['many.test', 'same.test'])
    zones[name] = { MX: Array.from({ length: 30 }, (_, i) => [i, `mx${i}.long-name-of-a-host.test`]) }
  zones['mx0.long-name-of-a-host.test'] = { A: ['8.8.8.8'] }
  const dns = await openDns(zones)
  t.teardown(() => dns[Symbol.asyncDispose]())
  const clock = manualClock()
  const resolver = new Resolver({
    servers: [dns.address],
    clock: { ...systemClock, monotonicMs: () => clock.monotonicMs() },
    timeoutMs: 200,
  })
  const destinations = new Destinations({
    resolver,
    tlsPolicies: opportunistic(resolver),
    ...{ clock, hostname: 'relevo.test', families: 'ipv4', allowNetworks: [], maxHosts: 5 },
    mailboxProviderOf: () => 'other',
  })
  await destinations.resolve('short.test')
  await clock.advance(19_000)
  t.ok(destinations.known('short.test'))
  await clock.advance(2000)
  t.equal(destinations.known('short.test'), undefined)
  dns.set('mx.short.test', { A: ['8.8.4.4'] })
  const moved = await destinations.resolve('short.test')
  t.match(moved, { destination: { hosts: [{ addresses: ['8.8.4.4'] }] } }, 'a host that moved is followed')

  const sites = await Promise.all(['many.test', 'same.test'].map((domain) => destinations.resolve(domain)))
  const [first, second] = sites.map((one) => (one.kind === 'destination' ? one.destination.site : one.kind))
  t.equal(first, second)
  t.ok(first!.length < 100)
})

void t.test('the name servers of the system are read anew when the file changes', async (t) => {
  await using directory = await tempDir()
  const file = join(directory.path, 'resolv.conf')
  await writeFile(file, 'search a.test\nnameserver 192.0.2.1\n# nameserver 192.0.2.9\nnameserver  2001:db8::1 \n')
  const clock = manualClock()
  const servers = new SystemServers(clock, file)
  const first = [
    { address: '192.0.2.1', port: 53 },
    { address: '2001:db8::1', port: 53 },
  ]
  t.strictSame(servers.list(), first)
  await writeFile(file, 'nameserver 192.0.2.2\n')
  await clock.advance(29_000)
  t.strictSame(servers.list(), first)
  await clock.advance(2000)
  t.strictSame(servers.list(), [{ address: '192.0.2.2', port: 53 }])
  await writeFile(file, '\n')
  await clock.advance(31_000)
  t.strictSame(servers.list(), [{ address: '192.0.2.2', port: 53 }], 'an empty file says nothing')
})

void t.test('a name server that cannot be reached at all is no answer, and ends nothing', async (t) => {
  // Without leave to broadcast, the system refuses to connect a socket to this address at once.
  const resolver = new Resolver({ servers: ['255.255.255.255:53'], clock: systemClock, timeoutMs: 300 })
  t.match(await resolver.addresses('any.test', 4), { kind: 'failed' })
})
