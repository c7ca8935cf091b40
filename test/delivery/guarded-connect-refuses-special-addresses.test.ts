import fc from 'fast-check'
import t from 'tap'
import { systemClock } from '#base'
import { checkAddress, isOwnAddress } from '#delivery'
import { scriptedMx } from '#world'
import { guardedConnect } from '../../src/delivery/guarded-connect.ts'

function verdict(ip: string, allow: readonly string[] = []): string {
  const result = checkAddress(ip, allow)
  return result.ok ? 'allowed' : result.error.reason
}

await t.test('every special range has its name', async (t) => {
  const expected: Readonly<Record<string, string>> = {
    ...{ '127.0.0.1': 'loopback', '127.255.255.254': 'loopback', '::1': 'loopback' },
    ...{ '0.0.0.0': 'unspecified', '0.1.2.3': 'unspecified', '::': 'unspecified' },
    ...{ '10.0.0.1': 'private', '172.16.0.1': 'private', '172.31.255.255': 'private', '192.168.77.1': 'private' },
    ...{ 'fc00::1': 'private', 'fdff::1': 'private', 'fec0::1': 'private' },
    ...{ '100.64.0.1': 'cgnat', '100.127.255.255': 'cgnat' },
    ...{ '169.254.169.254': 'link-local', 'fe80::1': 'link-local', 'febf::1': 'link-local' },
    ...{ '224.0.0.1': 'multicast', '239.255.255.255': 'multicast', 'ff02::1': 'multicast' },
    ...{ '255.255.255.255': 'broadcast', '240.0.0.1': 'reserved', '255.255.255.254': 'reserved' },
    ...{ '192.0.2.1': 'documentation', '198.51.100.1': 'documentation', '203.0.113.1': 'documentation' },
    ...{ '2001:db8::1': 'documentation', '3fff::1': 'documentation', '198.18.0.1': 'benchmarking' },
    ...{
      '192.0.0.1': 'special',
      '192.88.99.1': 'special',
      '2001::1': 'special',
      '100::1': 'discard',
      '5f00::1': 'special',
    },
    ...{
      '::ffff:127.0.0.1': 'embedded-loopback',
      '::ffff:7f00:1': 'embedded-loopback',
      '::ffff:0:10.0.0.1': 'embedded-private',
    },
    ...{ '64:ff9b::169.254.169.254': 'embedded-link-local', '64:ff9b::a00:1': 'embedded-private' },
    ...{ '2002:7f00:1::': 'embedded-loopback', '2002:c0a8:101::1': 'embedded-private' },
    ...{ '::ffff:8.8.8.8': 'embedded-ipv4', '2002:808:808::': 'embedded-ipv4', '::7f00:1': 'embedded-ipv4' },
    ...{ '64:ff9b:1::8.8.8.8': 'embedded-ipv4', '4000::1': 'reserved' },
  }
  for (const [ip, reason] of Object.entries(expected)) t.equal(verdict(ip), reason, ip)
})

await t.test('public addresses pass', async (t) => {
  const open = [
    '8.8.8.8',
    '1.1.1.1',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.0.1',
    '172.32.0.1',
    '192.167.1.1',
    '223.255.255.255',
  ]
  for (const ip of [...open, '2001:4860:4860::8888', '2a00:1450::1', '64:ff9b::808:808'])
    t.equal(verdict(ip), 'allowed', ip)
})

await t.test('what is not plainly an address is none', async (t) => {
  const odd = [
    '127.1',
    '0x7f.0.0.1',
    '017700000001',
    '2130706433',
    '010.8.8.8',
    '8.8.8',
    'localhost',
    '',
    ' 8.8.8.8',
    '8.8.8.8 ',
  ]
  for (const ip of [...odd, 'fe80::1%eth0', '8.8.8.8%lo', '[::1]', '::g', '8.8.8.8:25', '256.1.1.1']) {
    t.equal(verdict(ip), 'not-an-address', JSON.stringify(ip))
  }
})

await t.test('allow_networks opens what it names, in any form, and nothing else', async (t) => {
  t.equal(verdict('127.0.0.1', ['127.0.0.0/8']), 'allowed')
  t.equal(verdict('::ffff:127.0.0.1', ['127.0.0.0/8']), 'allowed')
  t.equal(verdict('10.1.2.3', ['10.1.2.3']), 'allowed')
  t.equal(verdict('10.1.2.4', ['10.1.2.3']), 'private')
  t.equal(verdict('fd00::1', ['fd00::/8']), 'allowed')
  t.equal(verdict('::1', ['127.0.0.0/8']), 'loopback')
  t.equal(verdict('10.0.0.1', ['nonsense', '', '10.0.0.0/99']), 'private')
})

await t.test('no IPv4 address is refused plainly and allowed embedded', async () => {
  fc.assert(
    fc.property(fc.ipV4(), (ip) => {
      if (verdict(ip) === 'allowed') return true
      const [a, b, c, d] = ip.split('.').map(Number) as [number, number, number, number]
      const high = ((a << 8) | b).toString(16)
      const low = ((c << 8) | d).toString(16)
      const forms = [`::ffff:${ip}`, `::ffff:0:${ip}`, `64:ff9b::${ip}`, `2002:${high}:${low}::1`, `::${ip}`]
      return forms.every((form) => verdict(form) !== 'allowed')
    }),
    { numRuns: 2000 },
  )
})

await t.test('addresses of this machine are known in every form', async (t) => {
  for (const ip of ['127.0.0.1', '::ffff:127.0.0.1', '127.9.9.9', '0.0.0.0', '::']) t.ok(isOwnAddress(ip), ip)
  for (const ip of ['8.8.8.8', '2001:4860:4860::8888', 'nonsense', '']) t.notOk(isOwnAddress(ip), ip)
})

await t.test('the one way out connects to the address that was checked, or says why not', async (t) => {
  await using mx = await scriptedMx()
  const to = async (address: string, allow: readonly string[], signal?: AbortSignal): Promise<string> => {
    const dialing = { timeoutMs: 5000, clock: systemClock, ...(signal === undefined ? {} : { signal }) }
    const socket = await guardedConnect({ address, port: mx.port, source: '', allow }, dialing)
    if (typeof socket === 'string') return socket
    const { remoteAddress } = socket
    socket.destroy()
    return remoteAddress ?? ''
  }
  t.equal(await to('127.0.0.1', []), 'special-address-loopback')
  t.equal(await to('127.0.0.1', ['127.0.0.0/8']), '127.0.0.1')
  t.equal(await to('localhost', []), 'special-address-loopback', 'a name is looked up and checked as well')
  t.equal(await to('localhost', ['127.0.0.1']), '127.0.0.1')
  t.equal(await to('::ffff:127.0.0.1', []), 'special-address-embedded-loopback')
  t.equal(await to('169.254.169.254', []), 'special-address-link-local')
  t.equal(await to('no-such-host.invalid', ['127.0.0.0/8']), 'name-not-found')
  t.equal(await to('127.0.0.1', ['127.0.0.0/8'], AbortSignal.abort()), 'aborted')
  t.equal(mx.connections, 2, 'what was refused was not connected to')
})
