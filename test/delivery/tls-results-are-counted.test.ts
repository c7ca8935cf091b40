import t from 'tap'
import { silentLog } from '#base'
import { tlsReports } from '#delivery'
import { openDatabase, Records } from '#store'
import { BEHAVIOURS, manualClock, openPolicyHost, tempDir, worldCa } from '#world'
import { type TlsResult, TlsResults } from '../../src/delivery/direct/tls-results.ts'
import { hosts, openRig, until } from './delivery-rig.ts'
import { shownBy, stsText, stsZones, tlsa, WRONG } from './secured-zones.ts'

const { certFile } = await worldCa()

void t.test('each session is counted under what the domain publishes, in the words of RFC 8460', async (t) => {
  const { zones, port } = await hosts(t, {
    good: {},
    plain: BEHAVIOURS.plain,
    sts: {},
    stsself: BEHAVIOURS.selfsigned,
    stsold: BEHAVIOURS.expired,
    stsname: BEHAVIOURS.certmismatch,
    stsplain: BEHAVIOURS.plain,
    stsmx: {},
    ststest: BEHAVIOURS.certmismatch,
    stsgone: {},
    dane: BEHAVIOURS.selfsigned,
    danebad: {},
    off: BEHAVIOURS.plain,
  })
  await using policies = await openPolicyHost()
  for (const name of ['sts', 'stsself', 'stsold', 'stsname', 'stsplain', 'stsmx', 'ststest', 'stsgone'])
    Object.assign(zones, stsZones(`${name}.test`))
  for (const name of ['sts', 'stsself', 'stsold', 'stsname', 'stsplain'])
    policies.set(`${name}.test`, { text: stsText('enforce', [`mx.${name}.test`]) })
  policies.set('stsmx.test', { text: stsText('enforce', ['mx.other.test']) })
  policies.set('ststest.test', { text: stsText('testing', ['mx.ststest.test']) })
  zones[`_${port}._tcp.mx.dane.test`] = { TLSA: [tlsa(3, 1, 1, await shownBy('mx.dane.test', BEHAVIOURS.selfsigned))] }
  zones[`_${port}._tcp.mx.danebad.test`] = { TLSA: [WRONG] }
  const rig = await openRig(t, {
    ...{ zones, port, authentic: true, tlsPolicies: [{ domain: 'off.test', policy: 'none', names: [] }] },
    delivery: { ca_file: certFile, mta_sts_port: policies.port },
  })
  const expected: Readonly<Record<string, string>> = {
    good: 'no-policy-found success 1',
    plain: 'no-policy-found starttls-not-supported 1',
    sts: 'sts success 1',
    stsself: 'sts certificate-not-trusted 1',
    stsold: 'sts certificate-expired 1',
    stsname: 'sts certificate-host-mismatch 1',
    stsplain: 'sts starttls-not-supported 1',
    stsmx: 'sts validation-failure 1',
    ststest: 'sts certificate-host-mismatch 1',
    stsgone: 'no-policy-found success 1, sts sts-policy-fetch-error 1',
    dane: 'tlsa success 1',
    danebad: 'tlsa validation-failure 1',
    off: '',
  }
  const ids: string[] = []
  for (const name of Object.keys(expected)) ids.push(await rig.accept(`u@${name}.test`))
  rig.start()
  await until(() => ids.every((id) => rig.types(id).length > 0))
  const { results } = rig.security
  for (const [name, what] of Object.entries(expected)) {
    const rows = await results.list({ domain: `${name}.test` }, 100)
    const got = rows.map(({ policyType, result, count }) => `${policyType} ${result} ${count}`).sort()
    t.equal(got.join(', '), what, name)
  }
  const [report] = tlsReports(await results.list({ domain: 'stsname.test' }, 100))
  t.match(report, {
    date: new Date(rig.clock.now()).toISOString().slice(0, 10),
    domain: 'stsname.test',
    policies: [
      {
        policy: {
          'policy-type': 'sts',
          'policy-string': ['version: STSv1', 'mode: enforce', 'mx: mx.stsname.test', 'max_age: 604800'],
          'policy-domain': 'stsname.test',
          'mx-host': ['mx.stsname.test'],
        },
        summary: { 'total-successful-session-count': 0, 'total-failure-session-count': 1 },
        'failure-details': [
          {
            'result-type': 'certificate-host-mismatch',
            'receiving-mx-hostname': 'mx.stsname.test',
            'receiving-ip': /^127\.0\.0\.\d+$/,
            'failed-session-count': 1,
            'failure-reason-code': /DNS:wrong\.example/,
          },
        ],
      },
    ],
  })
  t.ok(results.totals.get('sts success') === 1)
})

void t.test('counts are kept over restarts, added up, bounded for each domain, and end after five weeks', async (t) => {
  const directory = await tempDir()
  const database = await openDatabase({ directory: directory.path, modules: [] })
  t.teardown(async () => {
    await database[Symbol.asyncDispose]()
    await directory[Symbol.asyncDispose]()
  })
  const clock = manualClock()
  const records = new Records(database)
  const one = (changes: Partial<TlsResult>): TlsResult => ({
    ...{ domain: 'a.test', policyType: 'sts', policy: { strings: ['version: STSv1'], mx: [] }, result: 'success' },
    ...{ sendingIp: '192.0.2.1', mxHost: 'mx.a.test', mxAddress: '192.0.2.2', reason: '' },
    ...changes,
  })
  for (let start = 0; start < 2; start++) {
    await using results = new TlsResults(records, clock, silentLog)
    for (let i = 0; i < 3; i++) results.count(one({}))
  }
  await using results = new TlsResults(records, clock, silentLog)
  t.match(await results.list({}, 10), [{ domain: 'a.test', result: 'success', count: 6 }])
  for (let i = 0; i < 1000; i++)
    results.count(
      one({ domain: 'b.test', result: 'validation-failure', reason: `from a stranger ${i} ${'x'.repeat(500)}` }),
    )
  const rows = await results.list({ domain: 'b.test' }, 5000)
  t.ok(rows.length <= 201, `${rows.length} rows`)
  t.equal(
    rows.reduce((sum, { count }) => sum + count, 0),
    1000,
    'none is lost',
  )
  t.ok(rows.every(({ reason }) => reason.length <= 120))
  await clock.advance(86_400_000)
  results.count(one({}))
  t.strictSame(
    (await results.list({ domain: 'a.test' }, 10)).map(({ count }) => count),
    [1, 6],
    'a day each, the newest first',
  )
  await clock.advance(35 * 86_400_000)
  results.count(one({}))
  t.strictSame(
    (await results.list({}, 10)).map(({ domain, count }) => `${domain} ${count}`),
    ['a.test 1', 'a.test 1'],
    'what is older than five weeks went',
  )
})
