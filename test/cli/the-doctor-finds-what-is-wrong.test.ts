import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import { certificate, openDns, scriptedMx, tempDir } from '#world'
import { DaemonRig } from '../daemon/daemon-rig.ts'
import { relevo } from './at-the-command-line.ts'

type Check = { readonly area: string; readonly level: string; readonly message: string; readonly remedy: string }

const HOST = 'mail.sender.test'
const OURS = '192.0.2.25'
/** A world in which all is well. */
const WELL = {
  [HOST]: { A: [OURS] },
  '25.2.0.192.in-addr.arpa': { PTR: [HOST] },
  'mx.large.test': { A: ['127.0.0.1'] },
}

/** What the doctor says of a host with these names, certificate and further lines of configuration. */
async function doctor(
  t: { teardown(end: () => unknown): void },
  world: Parameters<typeof openDns>[0] = WELL,
  around: { certificateFor?: string; expired?: true } = {},
): Promise<{ code: number | null; checks: readonly Check[]; of(area: string): readonly Check[] }> {
  const { path } = await tempDir().then((room) => {
    t.teardown(() => room[Symbol.asyncDispose]())
    return room
  })
  const dns = await openDns(world)
  t.teardown(() => dns[Symbol.asyncDispose]())
  const mx = await scriptedMx({ behaviour: 'good' })
  t.teardown(() => mx[Symbol.asyncDispose]())
  const { certFile, keyFile } = await certificate([around.certificateFor ?? HOST], around.expired ? 'expired' : 'valid')
  const config = `${path}/relevo.toml`
  writeFileSync(
    config,
    `mode = "live"
hostname = "${HOST}"
data_dir = ${JSON.stringify(path)}
[submission]
starttls_listen = ["127.0.0.1:0"]
tls_listen = []
[inbound]
listen = []
[http]
listen = []
[metrics]
listen = ""
[tls]
certificate_file = ${JSON.stringify(certFile)}
key_file = ${JSON.stringify(keyFile)}
[queue]
min_free_bytes = 1048576
[delivery]
port = ${mx.port}
dns_servers = ["127.0.0.1:${dns.port}"]
allow_networks = ["127.0.0.0/8"]
[dns]
public_addresses = ["${OURS}"]
[doctor]
blocklists = ["list.test"]
probes = ["mx.large.test"]
`,
  )
  const seen = await relevo(['doctor', '--json', '--config', config])
  const checks = seen.stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Check)
  return { code: seen.code, checks, of: (area) => checks.filter((one) => one.area === area) }
}

void t.test('a host in order: nothing fails, each area was looked at', async (t) => {
  const { code, checks, of } = await doctor(t)
  t.same(
    checks.filter(({ level }) => level === 'fail'),
    [],
  )
  t.equal(code, 0)
  t.match(of('names'), [{ level: 'ok', message: `${OURS} is ${HOST}, there and back` }])
  t.match(of('outbound'), [{ level: 'ok', message: /^mx\.large\.test answers/ }])
  t.match(of('blocklists'), [{ level: 'ok', message: `${OURS} is not on list.test` }])
  t.match(of('tls'), [{ level: 'ok' }])
  t.match(of('daemon'), [{ level: 'warn', message: 'the daemon is not running' }])
})

void t.test('each fault is found, with what to do', async (t) => {
  const reverse = '25.2.0.192.in-addr.arpa'
  const without = (name: string) => Object.fromEntries(Object.entries(WELL).filter(([key]) => key !== name))
  for (const [what, world, around, area, message] of [
    ['no reverse name', without(reverse), {}, 'names', /has no reverse name/],
    [
      'a foreign reverse name',
      { ...WELL, [reverse]: { PTR: ['x.hoster.test'] } },
      {},
      'names',
      /x\.hoster\.test, which is not/,
    ],
    ['no forward name', without(HOST), {}, 'names', /mail\.sender\.test has no address/],
    ['another address', { ...WELL, [HOST]: { A: ['192.0.2.99'] } }, {}, 'names', /mail leaves from 192\.0\.2\.25/],
    [
      'port 25 closed',
      { ...WELL, 'mx.large.test': { A: ['127.0.0.9'] } },
      {},
      'outbound',
      /cannot be reached \(mx\.large\.test: /,
    ],
    [
      'listed',
      { ...WELL, '25.2.0.192.list.test': { A: ['127.0.0.2'], TXT: ['spam seen'] } },
      {},
      'blocklists',
      /is on list\.test: spam seen/,
    ],
    ['certificate of another', WELL, { certificateFor: 'other.test' }, 'tls', /is not for mail\.sender\.test/],
    ['certificate over', WELL, { expired: true as const }, 'tls', /ended on/],
  ] as const) {
    const { code, of } = await doctor(t, world as Parameters<typeof openDns>[0], around)
    const fails = of(area).filter(({ level }) => level === 'fail')
    t.ok(
      fails.some((one) => message.test(one.message) && one.remedy !== ''),
      `${what}: ${JSON.stringify(of(area))}`,
    )
    t.equal(code, 1, what)
  }
})

void t.test('a list that does not serve this resolver says nothing about the address', async (t) => {
  const { code, of } = await doctor(t, { ...WELL, '25.2.0.192.list.test': { A: ['127.255.255.254'] } })
  t.match(of('blocklists'), [{ level: 'skipped', message: /does not serve/ }])
  t.equal(code, 0)
})

void t.test('a port held by another program; name servers that are silent', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => holder.once('listening', resolve))
  t.teardown(() => holder.close())
  const { port } = holder.address() as { port: number }
  const seen = await relevo([
    'doctor',
    '--json',
    '--set',
    'data_dir=/tmp',
    '--set',
    `metrics.listen=127.0.0.1:${port}`,
    '--set',
    'delivery.dns_servers=["127.0.0.1:9"]',
  ])
  t.match(seen.stdout, new RegExp(`127\\.0\\.0\\.1:${port} \\(metrics\\.listen\\) is held by another program`))
  t.match(seen.stdout, /127\.0\.0\.1 gives no answer/)
  t.match(seen.stdout, /in sandbox mode nothing leaves/)
})

void t.test('beside the running daemon: its ports are its own, its domains are looked at', async (t) => {
  await using rig = await DaemonRig.open()
  const seen = await relevo(['doctor', '--json', '--config', rig.configFile])
  const checks = seen.stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Check)
  t.match(
    checks.filter(({ area }) => area === 'daemon'),
    [{ level: 'ok', message: /live mode/ }],
  )
  t.ok(checks.filter(({ area }) => area === 'ports').every(({ level }) => level === 'ok'))
  t.match(
    checks.filter(({ area }) => area === 'domains'),
    [{ level: 'fail', message: /sender\.test: not in order/ }],
  )
  t.ok(checks.some(({ area, level }) => area === 'limits' && level !== 'skipped'))
})
