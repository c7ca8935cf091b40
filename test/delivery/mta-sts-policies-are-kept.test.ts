import t, { type Test } from 'tap'
import { silentLog, systemClock } from '#base'
import { Resolver } from '#delivery'
import { openDatabase, Records } from '#store'
import { manualClock, openDns, openPolicyHost, type PolicyAnswer, tempDir, worldCa } from '#world'
import { fetchPolicy } from '../../src/delivery/direct/fetch-policy.ts'
import { MtaSts } from '../../src/delivery/direct/mta-sts.ts'
import { readStsPolicy, stsAllows, stsId } from '../../src/delivery/direct/sts-policy.ts'
import { until } from './delivery-rig.ts'
import { stsText, stsZones } from './secured-zones.ts'

const { cert: CA } = await worldCa()
const DAY_MS = 86_400_000

void t.test('the TXT record: exactly one, with an id (RFC 8461 §3.1)', (t) => {
  const rows: readonly (readonly [string[], string | null])[] = [
    [['v=STSv1; id=20160831085700Z;'], '20160831085700Z'],
    [['v=STSv1;id=a'], 'a'],
    [['v=STSv1 ; foo=bar; id=a1 ;'], 'a1'],
    [['v=spf1 -all', 'v=STSv1; id=b'], 'b'],
    [['v=STSv1; id=a', 'v=STSv1; id=a'], null],
    [['v=STSv1;'], null],
    [['v=STSv1; id=a-b'], null],
    [[`v=STSv1; id=${'a'.repeat(33)}`], null],
    [['v=STSv2; id=a'], null],
    [[' v=STSv1; id=a'], null],
    [[], null],
  ]
  for (const [texts, expected] of rows) t.equal(stsId(texts), expected, JSON.stringify(texts))
  t.end()
})

void t.test('the policy file: what is right, and what is said of what is wrong (RFC 8461 §3.2)', (t) => {
  const good = readStsPolicy(
    'version: STSv1\nmode: enforce\nmx: MX.Example.com\nmx:*.example.net\nmax_age: 99999999999\n',
  )
  t.match(good, /max_age/, 'eleven digits are too many')
  const capped = readStsPolicy(
    'version: STSv1\r\nmode: enforce\r\nmx: MX.a.test\r\nmx:*.b.test\r\nmax_age: 9999999999\r\nnew: x\r\n',
  )
  t.strictSame(capped, { mode: 'enforce', maxAgeMs: 31_557_600_000, mx: ['mx.a.test', '*.b.test'] })
  t.match(readStsPolicy('version: STSv1\nmode: none\nmax_age: 60\n'), { mode: 'none', mx: [] })
  t.match(readStsPolicy('version: STSv1\nmode: testing\nmode: enforce\nmx: a.test\nmax_age: 1\n'), { mode: 'testing' })
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['', /version/],
    ['version: STSv2\nmode: none\nmax_age: 1', /version/],
    ['version: STSv1\nmode: strict\nmax_age: 1', /mode/],
    ['version: STSv1\nmode: enforce\nmx: a.test', /max_age/],
    ['version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -1', /max_age/],
    ['version: STSv1\nmode: enforce\nmax_age: 1', /no mx/],
    ['version: STSv1\nmode: enforce\nmx: *.*.test\nmax_age: 1', /host name/],
    ['version: STSv1\nmode: enforce\nmx: a b.test\nmax_age: 1', /host name/],
    ['<html>', /key: value/],
    [`version: STSv1\nmode: enforce\nmax_age: 1\n${'mx: a.test\n'.repeat(201)}`, /more than/],
  ]
  for (const [text, expected] of wrong) t.match(readStsPolicy(text), expected, JSON.stringify(text.slice(0, 60)))
  const policy = { mode: 'enforce' as const, maxAgeMs: 1, mx: ['mx.a.test', '*.b.test'] }
  for (const host of ['mx.a.test', 'MX.A.test.', 'x.b.test']) t.ok(stsAllows(policy, host), host)
  for (const host of ['a.test', 'y.mx.a.test', 'b.test', 'x.y.b.test', 'xb.test'])
    t.notOk(stsAllows(policy, host), host)
  t.end()
})

void t.test('the fetch: a valid certificate, 200, text/plain, 64 KiB, no redirect, no special address', async (t) => {
  const text = stsText('enforce', ['mx.test'])
  const answers: Record<string, PolicyAnswer & { readonly expect: RegExp }> = {
    'good.test': { text, type: 'text/plain; charset=utf-8', expect: /^ok$/ },
    'self.test': { text, certificate: 'self-signed', expect: /^sts-webpki-invalid/ },
    'old.test': { text, certificate: 'expired', expect: /^sts-webpki-invalid/ },
    'name.test': { text, names: ['mta-sts.other.test'], expect: /^sts-webpki-invalid/ },
    'moved.test': {
      ...{ text, status: 302, headers: { location: 'https://mta-sts.good.test/.well-known/mta-sts.txt' } },
      expect: /^sts-policy-fetch-error .*302/,
    },
    'html.test': { text, type: 'text/html', expect: /^sts-policy-fetch-error .*text\/html/ },
    'huge.test': { text: `${text}${'x: y\n'.repeat(20_000)}`, expect: /^sts-policy-fetch-error .*64 KiB/ },
    'silent.test': { text, silent: true, expect: /^sts-policy-fetch-error no answer/ },
  }
  await using policies = await openPolicyHost(answers)
  await using dns = await openDns(
    Object.fromEntries([...Object.keys(answers), 'none.test'].map((name) => [`mta-sts.${name}`, { A: ['127.0.0.1'] }])),
  )
  // The deadline of the whole is what is looked at, not fifteen seconds of it.
  const clock = {
    ...systemClock,
    after: (ms: number, then: () => void) => systemClock.after(ms > 10_000 ? 700 : ms, then),
  }
  const resolver = new Resolver({ servers: [dns.address], clock: systemClock })
  const fetching = { ...{ resolver, clock, families: 'ipv4' as const, ca: [CA], port: policies.port } }
  const told = async (domain: string, allowNetworks: readonly string[]): Promise<string> => {
    const fetched = await fetchPolicy(domain, { ...fetching, allowNetworks })
    return fetched.ok ? (fetched.text === text ? 'ok' : 'another text') : `${fetched.fault} ${fetched.detail}`
  }
  for (const [domain, { expect }] of Object.entries(answers))
    t.match(await told(domain, ['127.0.0.0/8']), expect, domain)
  t.match(await told('none.test', ['127.0.0.0/8']), /404/)
  const before = policies.asked.length
  t.match(await told('good.test', []), /special-address-loopback/)
  t.equal(policies.asked.length, before, 'nothing was asked')
  t.match(await told('nowhere.test', []), /no address/)
})

async function world(t: Test) {
  const directory = await tempDir()
  const dns = await openDns({ ...stsZones('a.test', 'one'), ...stsZones('b.test', 'one') }, { negativeTtl: 1 })
  const policies = await openPolicyHost({ 'a.test': { text: stsText('enforce', ['mx.a.test']) } })
  const database = await openDatabase({ directory: directory.path, modules: [] })
  t.teardown(async () => {
    await database[Symbol.asyncDispose]()
    await policies[Symbol.asyncDispose]()
    await dns[Symbol.asyncDispose]()
    await directory[Symbol.asyncDispose]()
  })
  const clock = manualClock()
  const resolver = new Resolver({
    servers: [dns.address],
    clock: { ...systemClock, monotonicMs: () => clock.monotonicMs() },
    timeoutMs: 200,
  })
  const faults: string[] = []
  const open = () =>
    MtaSts.open({
      records: new Records(database),
      ...{ resolver, clock, log: silentLog },
      fetch: (domain) =>
        fetchPolicy(domain, {
          ...{ resolver, clock: systemClock, families: 'ipv4', allowNetworks: ['127.0.0.0/8'], ca: [CA] },
          port: policies.port,
        }),
      onFault: (domain, fault) => faults.push(`${domain} ${fault}`),
    })
  const txt = (domain: string, id: string | null) =>
    dns.set(`_mta-sts.${domain}`, id === null ? null : { TXT: [`v=STSv1; id=${id}`], ttl: 1 })
  return { dns, policies, clock, faults, open, txt }
}

void t.test(
  'a policy is kept until its max_age, over restarts, whatever the DNS or its host say meanwhile',
  async (t) => {
    const { dns, policies, clock, open, txt } = await world(t)
    {
      using sts = await open()
      t.match(await sts.inForce('a.test'), { id: 'one', policy: { mode: 'enforce', mx: ['mx.a.test'] } })
      await sts.inForce('a.test')
      t.strictSame(policies.asked, ['a.test'], 'fetched once')
      t.equal(await sts.inForce('no-sts.test'), null)
    }
    policies.set('a.test', null)
    using sts = await open()
    txt('a.test', null)
    await clock.advance(5000)
    t.match(await sts.inForce('a.test'), { id: 'one' }, 'the record is gone')
    dns.fail('servfail')
    await clock.advance(10_000)
    t.match(await sts.inForce('a.test'), { id: 'one' }, 'the DNS is down')
    dns.fail(null)
    txt('a.test', 'two')
    await clock.advance(10_000)
    t.match(await sts.inForce('a.test'), { id: 'one' }, 'the new one cannot be had')
    t.equal(policies.asked.length, 2)
    await clock.advance(10_000)
    await sts.inForce('a.test')
    t.equal(policies.asked.length, 2, 'and is not asked for again at once')
    await clock.advance(8 * DAY_MS)
    txt('a.test', null)
    await clock.advance(5000)
    t.equal(await sts.inForce('a.test'), null, 'its max_age is over')
  },
)

void t.test('a new id is fetched before the next mail, an old policy in the background, "none" ends it', async (t) => {
  const { policies, clock, faults, open, txt } = await world(t)
  using sts = await open()
  await sts.inForce('a.test')
  policies.set('a.test', { text: stsText('testing', ['mx2.a.test']) })
  txt('a.test', 'two')
  await clock.advance(5000)
  t.match(await sts.inForce('a.test'), { id: 'two', policy: { mode: 'testing' } })

  policies.set('a.test', { text: stsText('enforce', ['mx3.a.test']) })
  await clock.advance(DAY_MS + 1000)
  t.match(await sts.inForce('a.test'), { id: 'two' }, 'the mail does not wait')
  await until(() => policies.asked.length >= 3)
  for (let i = 0; i < 200 && (await sts.inForce('a.test'))?.policy.mode !== 'enforce'; i++) await clock.advance(10)
  t.match(await sts.inForce('a.test'), { policy: { mode: 'enforce', mx: ['mx3.a.test'] } })

  policies.set('a.test', { text: stsText('none', []) })
  txt('a.test', 'three')
  await clock.advance(5000)
  t.equal(await sts.inForce('a.test'), null)
  t.strictSame(faults, [])

  policies.set('b.test', { text: 'not a policy' })
  t.equal(await sts.inForce('b.test'), null)
  t.strictSame(faults, ['b.test sts-policy-invalid'])
  await clock.advance(301_000)
  policies.set('b.test', { text: stsText('enforce', ['mx.b.test']) })
  t.match(await sts.inForce('b.test'), { id: 'one' }, 'after five minutes it is tried again')
})
