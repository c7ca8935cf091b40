import Sqlite from 'better-sqlite3'
import t from 'tap'
import { systemClock } from '#base'
import { dnsFacts, keptDomain, type PublishedKey, SendingDomains } from '#domains'
import { readRecords } from '#store'
import { planOffline } from '../../src/domains/check/inspect-domain.ts'
import { loadTemplates } from '../../src/domains/records/template.ts'
import { recordsWorker } from '../../src/store/records/module.ts'
import { openStore } from '../routing/store-rig.ts'

const DOMAIN = {
  name: 'shop.example',
  bounceHost: 'bounces.shop.example',
  active: true,
  createdMs: Date.UTC(2026, 0, 1),
}
const KEYS: readonly PublishedKey[] = [
  {
    selector: 'k1',
    algorithm: 'rsa-sha256',
    host: 'k1._domainkey.shop.example',
    value: 'v=DKIM1; k=rsa; p=AAAA',
    state: 'signing',
    signsFromMs: null,
    signedUntilMs: null,
  },
  {
    selector: 'k0',
    algorithm: 'rsa-sha256',
    host: 'k0._domainkey.shop.example',
    value: 'v=DKIM1; k=rsa; p=BBBB',
    state: 'retired',
    signsFromMs: null,
    signedUntilMs: 1,
  },
]
const dns = { public_addresses: [] as string[], report_address: '', check: '', authority_port: 53 }
const templates = loadTemplates()

function records(settings: Partial<Parameters<typeof dnsFacts>[2]>, domain = DOMAIN): string[] {
  const facts = dnsFacts(domain, KEYS, { hostname: 'mail.example.net', sources: [], dns, ...settings })
  return planOffline(facts, templates).records.map(({ name, type, value }) => `${name} ${type} ${value}`.trim())
}

const SHARED = [
  'bounces.shop.example MX 10 mail.example.net',
  'k1._domainkey.shop.example TXT v=DKIM1; k=rsa; p=AAAA',
  '_dmarc.shop.example TXT v=DMARC1; p=none; rua=mailto:reports@bounces.shop.example',
  'links.shop.example CNAME mail.example.net',
  '_smtp._tls.bounces.shop.example TXT v=TLSRPTv1; rua=mailto:reports@bounces.shop.example',
  '_mta-sts.bounces.shop.example TXT v=STSv1; id=1767225600',
]

void t.test('one host with addresses of both families', (t) => {
  const made = records({ dns: { ...dns, public_addresses: ['203.0.113.5', '2001:4860::5'] } })
  t.strictSame(
    made.sort(),
    [
      ...SHARED,
      'bounces.shop.example TXT v=spf1 a:mail.example.net -all',
      'shop.example TXT v=spf1 a:mail.example.net ~all',
      'mail.example.net A 203.0.113.5',
      'mail.example.net AAAA 2001:4860::5',
      '5.113.0.203.in-addr.arpa PTR mail.example.net',
      '5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.8.4.1.0.0.2.ip6.arpa PTR mail.example.net',
      'mail.example.net TXT v=spf1 a -all',
    ].sort(),
  )
  t.end()
})

void t.test('several sources: each name with its address, behind NAT without one', (t) => {
  const made = records({
    sources: [
      { address: '203.0.113.5', ehlo: 'Out1.example.net' },
      { address: '203.0.113.6', ehlo: 'out2.example.net' },
      { address: '10.0.0.7', ehlo: 'out3.example.net' },
    ],
  })
  for (const record of [
    'bounces.shop.example TXT v=spf1 a:out1.example.net a:out2.example.net a:out3.example.net a:mail.example.net -all',
    'out1.example.net A 203.0.113.5',
    'out2.example.net A 203.0.113.6',
    'out3.example.net A',
    'mail.example.net A',
    '5.113.0.203.in-addr.arpa PTR out1.example.net',
    'out3.example.net TXT v=spf1 a -all',
  ])
    t.ok(made.includes(record), record)
  t.notMatch(made.join('\n'), /10\.0\.0\.7|7\.0\.0\.10/)
  t.end()
})

void t.test('reports elsewhere, and no bounce host', (t) => {
  const made = records({ dns: { ...dns, report_address: 'dmarc@reports.example.org' } })
  t.ok(made.includes('_dmarc.shop.example TXT v=DMARC1; p=none; rua=mailto:dmarc@reports.example.org'))
  t.ok(made.includes('shop.example._report._dmarc.reports.example.org TXT v=DMARC1'))
  const none = records({}, { ...DOMAIN, bounceHost: '' })
  t.notMatch(none.join('\n'), /bounces|MX/)
  t.ok(none.includes('_dmarc.shop.example TXT v=DMARC1; p=none; rua=mailto:postmaster@mail.example.net'))
  t.ok(none.includes('shop.example._report._dmarc.mail.example.net TXT v=DMARC1'))
  t.end()
})

void t.test('keys from before they had states go on signing', (t) => {
  const db = new Sqlite(':memory:')
  const [first = '', second = '', third = ''] = recordsWorker.migrations
  db.exec(first + second)
  db.exec("INSERT INTO dkim_keys VALUES ('id', 'shop.example', 'k1', 'rsa-sha256', 'sealed', 'AAAA', 1, 1)")
  db.exec(third)
  t.match(db.prepare('SELECT * FROM dkim_keys').all(), [{ selector: 'k1', private_key: 'sealed', state: 'signing' }])
  db.close()
  t.end()
})

void t.test('a reader without the daemon sees the domains, and refuses records of another version', async (t) => {
  const { records, vault, directory } = await openStore(t)
  const domains = await SendingDomains.open(records, vault, systemClock)
  await domains.add('shop.example')
  {
    using reader = readRecords(directory)
    const { domain, keys } = keptDomain(reader, 'SHOP.example')
    t.equal(domain.bounceHost, 'bounces.shop.example')
    t.strictSame(keys, await domains.publishedKeys('shop.example'))
    t.throws(() => keptDomain(reader, 'other.example'), { code: 'not-found', remedy: /domain list/ } as never)
    t.throws(() => reader.read(reader.query.deleteFrom('domains')), /readonly|does not return data/)
  }
  const db = new Sqlite(`${directory}/relevo.db`)
  db.exec("UPDATE schema_versions SET version = version - 1 WHERE module = 'records'")
  t.throws(() => readRecords(directory), { code: 'other-schema', remedy: /Start the daemon/ } as never)
  db.exec("UPDATE schema_versions SET version = version + 1 WHERE module = 'records'")
  db.close()
  t.throws(() => readRecords(`${directory}/nowhere`), { code: 'not-found', field: 'data_dir' } as never)
})
