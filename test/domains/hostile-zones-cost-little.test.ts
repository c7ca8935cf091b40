import fc from 'fast-check'
import t from 'tap'
import type { Clock } from '#base'
import { type AskServer, DnsInspector, type DnsRecord, inspectionJson, inspectionOf, renderRecords } from '#domains'
import { inspectDomain } from '../../src/domains/check/inspect-domain.ts'
import { judgeDkim } from '../../src/domains/check/judge-dkim.ts'
import { judgeDmarc } from '../../src/domains/check/judge-dmarc.ts'
import { judgeSpfPresence } from '../../src/domains/check/judge-spf.ts'
import { inPieces, panelFault } from '../../src/domains/check/judge-txt.ts'
import { withReports } from '../../src/domains/policy/dmarc-record.ts'
import { mergeSpf, parseSpf } from '../../src/domains/policy/spf-record.ts'
import { readTags } from '../../src/domains/policy/tag-list.ts'
import { loadTemplates, readTemplates } from '../../src/domains/records/template.ts'
import { quotedTxt, txtStrings } from '../../src/domains/records/txt-strings.ts'
import { factsOf, RSA_VALUE } from './faulty-zones.ts'

const templates = loadTemplates()
const SHOP = { name: 'shop.test', bounceHost: 'bounces.shop.test', active: true, createdMs: 0 }
/** As long as a value that is looked at can be. */
const LONG = 4096

const word = fc.constantFrom(
  ...[
    'v=spf1',
    'v=DMARC1',
    'v=DKIM1',
    ';',
    ' ',
    '"',
    '\\',
    'p=',
    'p=none',
    'rua=mailto:a@b.test',
    'include:',
    'a:x.test',
  ],
  ...['redirect=', 'all', '%{', '%{d}', '\u0000', '\u001b[31m', 'k=rsa', 'sp=', RSA_VALUE, 'A'.repeat(255), '\u00ff'],
)
const text = fc.array(fc.oneof(word, fc.string()), { maxLength: 12 }).map((words) => words.join(''))
const name = fc.constantFrom(
  'a.test',
  'mail.host.test',
  'bounces.shop.test',
  'shop.test',
  '',
  '.',
  'x'.repeat(70),
  'ü.test',
  '*.test',
)

function recordOf(type: DnsRecord['type'], at: string, values: { text: string; name: string; n: number }): DnsRecord {
  const base = { name: at, ttlS: values.n }
  if (type === 'MX') return { ...base, type, preference: values.n, exchange: values.name }
  if (type === 'TXT') return { ...base, type, strings: [values.text, values.name] }
  if (type === 'SOA') return { ...base, type }
  return { ...base, type, value: type === 'A' ? (values.n % 2 === 0 ? '203.0.113.5' : values.text) : values.name }
}

const TYPES = ['A', 'AAAA', 'CNAME', 'NS', 'PTR', 'MX', 'TXT', 'SOA'] as const
const answer = fc.record({
  rcode: fc.constantFrom('NOERROR', 'NOERROR', 'NXDOMAIN', 'SERVFAIL', 'REFUSED', 'RCODE_11'),
  authoritative: fc.boolean(),
  none: fc.boolean(),
  records: fc.array(
    fc.record({
      type: fc.constantFrom(...TYPES),
      same: fc.boolean(),
      own: fc.boolean(),
      text,
      name,
      n: fc.nat({ max: 100_000 }),
    }),
    { maxLength: 6 },
  ),
})

void t.test(
  'whatever servers answer, a look at a domain ends, within its bounds, and can be shown in every form',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { minLength: 3, maxLength: 12 }), async (answers) => {
        let asked = 0
        const ask: AskServer = (_, question) => {
          const { none, records, ...head } = answers[asked++ % answers.length]!
          if (none) return Promise.resolve(null)
          const made = records.map(({ type, same, own, ...values }) =>
            recordOf(same ? question.type : type, own ? question.name : values.name, values),
          )
          return Promise.resolve({ ...head, answers: made, authorities: made, additionals: made })
        }
        const seen = await inspectDomain(factsOf('shop.test'), templates, {
          ask,
          resolvers: [{ address: '127.0.0.1', port: 53 }],
          authorityPort: 53,
        })
        if (asked > 600) throw new Error(`${asked} questions`)
        const back = inspectionOf(JSON.parse(JSON.stringify(inspectionJson(seen))) as ReturnType<typeof inspectionJson>)
        for (const format of ['bind', 'cloudflare', 'route53'] as const)
          if (/[^\x20-\x7e\n\u00a0-\uffff]/.test(await renderRecords(back, format)))
            throw new Error('a control character in a file to import')
      }),
      { numRuns: 150 },
    )
    t.pass('held')
  },
)

void t.test('however slow the servers are, a look ends after a minute', async (t) => {
  let nowMs = 0
  let asked = 0
  const clock: Clock = { now: () => nowMs, monotonicMs: () => nowMs, after: () => () => {} }
  const inspector = new DnsInspector({
    settings: {
      hostname: 'mail.host.test',
      sources: [],
      dns: { public_addresses: [], report_address: '', check: '', authority_port: 53 },
    },
    ask: (_, { name, type }) => {
      asked++
      nowMs += 3000
      // Always one more name to look at.
      return Promise.resolve({
        rcode: 'NOERROR',
        authoritative: true,
        answers: [{ name, ttlS: 1, type: 'CNAME', value: `x${asked}.${type.toLowerCase()}.test` }],
        authorities: [],
        additionals: [],
      })
    },
    resolvers: () => [{ address: '127.0.0.1', port: 53 }],
    clock,
  })
  t.equal((await inspector.inspect(SHOP, [])).ready, false)
  t.ok(asked <= 20, `${asked} questions of 3 s`)
  t.ok((await inspector.plan(SHOP, [])).records.length > 5)
  t.ok(asked <= 20, 'a plan asks nobody')
})

void t.test(
  'values of any kind are judged without an error, and with one finding at least when they are wrong',
  async (t) => {
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), (values) => {
        const key = judgeDkim('n.test', RSA_VALUE, values, new Map([['other', RSA_VALUE.replace('A', 'B')]]))
        if (key.length === 0 && values[0]!.replace(/\s/g, '').includes(RSA_VALUE.slice(-40)) === false)
          throw new Error('a wrong key is taken')
        judgeDmarc('n.test', values, true)
        judgeSpfPresence('n.test', values)
      }),
      { numRuns: 2000 },
    )
    t.pass('held')
  },
)

void t.test('long values made to be slow are not', async (t) => {
  const fill = (part: string): string => part.repeat(Math.ceil(LONG / part.length)).slice(0, LONG)
  const hostile = [
    ...[
      '\\',
      ' ',
      ';',
      '" ',
      'p ',
      'a=',
      'v=DMARC1; ',
      'v=spf1 ',
      ':',
      '%{',
      '/',
      '//1',
      '1/',
      '\t;',
      '; rua=',
      '=',
      '"',
    ].map(fill),
    ...['v=DMARC1;', 'v=spf1 ', 'v=DKIM1; p='].flatMap((head) =>
      [' ', ';', 'a', '\\', '"', ':/', '.', '-'].map((part) => (head + fill(part)).slice(0, LONG)),
    ),
  ]
  // Runs that nearly match to their end.
  hostile.push(...hostile.map((value) => `${value.slice(0, -1)}x`))
  let worstMs = 0
  for (const value of hostile)
    for (const work of [
      () => judgeDkim('n.test', RSA_VALUE, [value], new Map()),
      () => judgeDmarc('n.test', [value], true),
      () => judgeSpfPresence('n.test', [value]),
      () => panelFault('n.test', value, /^v=spf1/),
      () => inPieces([value, value, value], RSA_VALUE),
      () => withReports(value, 'a@b.test'),
      () => mergeSpf(value, ['a:x.test']),
      () => parseSpf(value),
      () => readTags(value),
      () => quotedTxt(value),
    ]) {
      // The best of three: what others do on this machine is not counted.
      const took = [0, 1, 2].map(() => {
        const began = performance.now()
        work()
        return performance.now() - began
      })
      worstMs = Math.max(worstMs, Math.min(...took))
    }
  t.ok(worstMs < 40, `at most ${worstMs.toFixed(1)} ms`)
})

void t.test(
  'a text is cut into strings that together are it, and are written so that nothing ends them early',
  async (t) => {
    fc.assert(
      fc.property(fc.string({ maxLength: 2000 }), (value) => {
        const strings = txtStrings(value)
        if (strings.join('') !== value || strings.some((one) => one.length > 255)) throw new Error('cut wrongly')
        const quoted = quotedTxt(value)
        if (!/^"(?:[^"\\]|\\.)*"(?: "(?:[^"\\]|\\.)*")*$/.test(quoted) || /[^\x20-\x7e]/.test(quoted))
          throw new Error(quoted)
      }),
    )
    t.pass('held')
  },
)

void t.test('a template that cannot be meant is refused with its place', async (t) => {
  const good = 'id = "x"\nname = "{domain}"\ntype = "TXT"\nvalue = "v"\ncheck = "spf"\nneed = "required"\nwhy = "w"\n'
  t.equal(readTemplates(`[[record]]\n${good}`, 'x.toml').length, 1)
  for (const [toml, message] of [
    ['nothing = 1', /x\.toml: nothing is not known/],
    ['', /it has no \[\[record\]\]/],
    ['[[record]\n', /x\.toml: /],
    [
      `[[record]]\n${good.replace('{domain}', '{domian}')}`,
      /record 1: \{domian\} in name is not known; known are domain/,
    ],
    [`[[record]]\n${good.replace('"TXT"', '"TXTS"')}`, /type is "TXTS"; allowed is A, AAAA/],
    [`[[record]]\n${good.replace('"spf"', '"spv"')}`, /check is "spv"/],
    [`[[record]]\n${good.replace('id = "x"\n', '')}`, /id is missing/],
    [`[[record]]\n${good}colour = "red"`, /colour is not known/],
    [`[[record]]\n${good}when = "moon"`, /moon is not a word/],
    [`[[record]]\n${good.replace('"v"', '5')}`, /value is not a text/],
    [`[[record]]\n${good.replace('{domain}', '{selector}')}`, /\{selector\} in name is not known/],
  ] as const)
    t.throws(() => readTemplates(toml, 'x.toml'), { code: 'bad-dns-template', message, remedy: /./ } as never)
})
