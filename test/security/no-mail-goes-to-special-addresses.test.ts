// CWE-918 (SSRF) by MX: whoever can write a DNS zone must not make this server talk to hosts of its own network. Every form
// ends without a connection; each socket that this process opens is counted.
import { subscribe } from 'node:diagnostics_channel'
import { createServer, type Socket } from 'node:net'
import t from 'tap'
import type { DnsEntry } from '#world'
import { openRig } from '../delivery/delivery-rig.ts'

const V4 = [
  ...['127.0.0.1', '127.1.2.3', '0.0.0.0', '0.1.2.3', '10.0.0.1', '172.16.0.1', '172.31.255.254', '192.168.1.1'],
  ...['169.254.169.254', '100.64.0.1', '192.0.0.8', '192.0.2.1', '198.18.0.1', '198.51.100.7', '203.0.113.9'],
  ...['224.0.0.1', '239.1.1.1', '240.0.0.1', '255.255.255.255', '192.88.99.1'],
]
const V6 = [
  ...['::1', '::', 'fe80::1', 'fc00::1', 'fd12:3456::1', 'ff02::1', '2001:db8::1', '100::1', '2001::1'],
  ...['::ffff:127.0.0.1', '::ffff:10.0.0.1', '::ffff:169.254.169.254', '::127.0.0.1', '64:ff9b::7f00:1'],
  ...['64:ff9b::a00:1', '64:ff9b:1::7f00:1', '2002:7f00:1::1', '2002:c0a8:101::1', '::ffff:0:127.0.0.1', 'fec0::1'],
]
/** Names that look like addresses: a resolver of the system would read them. */
const NAMES = [
  '127.0.0.1',
  '2130706433',
  '0x7f000001',
  '017700000001',
  '127.1',
  'localhost',
  '[127.0.0.1]',
  'ip6-localhost',
]

const zones: Record<string, DnsEntry> = { 'localhost.test': { A: ['127.0.0.1'] } }
const forms: [string, string][] = []
const add = (name: string, entry: DnsEntry, what: string): void => {
  zones[name] = entry
  forms.push([name, what])
}
for (const [i, ip] of V4.entries()) {
  zones[`h4-${i}.test`] = { A: [ip] }
  add(`v4-${i}.test`, { MX: [[10, `h4-${i}.test`]] }, ip)
}
for (const [i, ip] of V6.entries()) {
  zones[`h6-${i}.test`] = { AAAA: [ip] }
  add(`v6-${i}.test`, { MX: [[10, `h6-${i}.test`]] }, ip)
}
for (const [i, name] of NAMES.entries()) add(`n-${i}.test`, { MX: [[10, name]] }, `an MX called ${name}`)
add('implicit4.test', { A: ['127.0.0.1'] }, 'no MX, A of loopback')
add('implicit6.test', { AAAA: ['::1'] }, 'no MX, AAAA of loopback')
add(
  'several.test',
  {
    MX: [
      [10, 'h4-0.test'],
      [20, 'h6-0.test'],
      [30, 'h4-4.test'],
    ],
  },
  'three MX, all of them special',
)
add('chain.test', { CNAME: 'chain2.test' }, 'a chain of CNAME')
zones['chain2.test'] = { CNAME: 'chain3.test' }
zones['chain3.test'] = { MX: [[10, 'chain4.test']] }
zones['chain4.test'] = { CNAME: 'localhost.test' }
add('loop.test', { CNAME: 'loop2.test' }, 'CNAME in a circle')
zones['loop2.test'] = { CNAME: 'loop.test' }
add('wild.test', { MX: [[10, 'a.b.c.wildcard.test']] }, 'a wildcard of loopback')
zones['*.wildcard.test'] = { A: ['127.0.0.1'], AAAA: ['::1'] }
add('self.test', { MX: [[10, 'relevo.test']] }, 'our own name')

await t.test(`${forms.length} forms, no connection`, async (t) => {
  const callers: string[] = []
  let listening = 0
  const server = createServer((socket: Socket) => {
    listening += 1
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '::', resolve))
  t.teardown(() => server.close())
  const port = (server.address() as { port: number }).port
  const rig = await openRig(t, { zones, port, delivery: { allow_networks: [], ip: 'both' } })
  const dnsPort = rig.dns.port
  subscribe('net.client.socket', (message) => {
    const { socket } = message as { socket: Socket }
    queueMicrotask(() => {
      if (socket.remotePort !== dnsPort)
        callers.push(`${socket.remoteAddress ?? '?'} ${new Error('opened').stack?.split('\n')[3]}`)
    })
  })
  for (const [name] of forms) await rig.accept(`you@${name}`)
  rig.start()
  await rig.ended(forms.length - 1, 20_000)
  t.equal(listening, 0, 'nothing reached a listener of this machine on the port of MX hosts')
  t.strictSame(callers, [], 'no socket was opened but to the name server')
  const ended = new Map(rig.outcomes().map((event) => [event.recipient ?? '', `${event.type} ${event.status ?? ''}`]))
  for (const [name, what] of forms) {
    const outcome = ended.get(`you@${name}`) ?? 'waits'
    t.ok(outcome.startsWith('bounced') || what.startsWith('CNAME'), `${what}: ${outcome}`)
  }
})
