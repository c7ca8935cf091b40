import fc from 'fast-check'
import t from 'tap'
import type { Said } from '../../src/domains/lookup/contract.ts'
import { mergeSpf, parseSpf } from '../../src/domains/policy/spf-record.ts'
import { walkSpf } from '../../src/domains/policy/spf-walk.ts'

type Names = Readonly<Record<string, { readonly TXT?: string; readonly A?: readonly string[]; readonly MX?: string }>>
type Mailauth = {
  spf(options: unknown): Promise<{ readonly status?: { readonly result?: string } }>
}
const { spf } = (await import('mailauth/lib/spf/index.js' as string)) as Mailauth

/** Belongs to no record of the tests: a receiver then looks at every word. */
const STRANGER = '203.0.113.250'
const SENDER = 'someone@start.test'

function looker(names: Names) {
  return (name: string, type: string): Promise<Said> => {
    const entry = Object.hasOwn(names, name) ? names[name] : undefined
    if (entry === undefined) return Promise.resolve({ kind: 'nxdomain', cname: null })
    const values =
      type === 'TXT' && entry.TXT !== undefined
        ? [entry.TXT]
        : type === 'A'
          ? (entry.A ?? [])
          : type === 'MX' && entry.MX !== undefined
            ? [`10 ${entry.MX}`]
            : []
    if (values.length === 0) return Promise.resolve({ kind: 'nodata', cname: null })
    return Promise.resolve({ kind: 'records', values, ttlS: 60, cname: null, strings: [] })
  }
}

/** What mailauth, which is no part of Relevo, says of the same names. */
async function oracle(names: Names, ip: string): Promise<string> {
  const no = (code: string): Error => Object.assign(new Error(code), { code })
  const { status } = await spf({
    sender: SENDER,
    ip,
    helo: 'helo.test',
    mta: 'mta.test',
    resolver: (name: string, type: string) => {
      const entry = Object.hasOwn(names, name) ? names[name] : undefined
      if (entry === undefined) return Promise.reject(no('ENOTFOUND'))
      if (type === 'TXT' && entry.TXT !== undefined) return Promise.resolve([[entry.TXT]])
      if (type === 'A' && (entry.A ?? []).length > 0) return Promise.resolve(entry.A)
      if (type === 'MX' && entry.MX !== undefined) return Promise.resolve([{ exchange: entry.MX, priority: 10 }])
      return Promise.reject(no('ENODATA'))
    },
  })
  return status?.result ?? 'none'
}

const ours = (names: Names, address: string) =>
  walkSpf('start.test', names['start.test']!.TXT!, { address, sender: SENDER, helo: 'helo.test' }, looker(names))

const NAMES = ['start.test', 'one.test', 'two.test', 'three.test', 'gone.test'] as const
const address = fc.constantFrom('198.51.100.1', '198.51.100.2', '198.51.100.130', STRANGER)
const qualifier = fc.constantFrom('', '', '+', '-', '~', '?')
const target = fc.constantFrom(...NAMES, '%{o}', 'h.%{d}', '%{ir}.one.test')
const term = fc.oneof(
  fc.tuple(qualifier, fc.constantFrom('ip4:198.51.100.1', 'ip4:198.51.100.128/25', 'ip6:2001:db8::/32')),
  fc.tuple(
    qualifier,
    target.map((name) => `a:${name}`),
  ),
  fc.tuple(qualifier, fc.constantFrom('a', 'mx', 'a/25', 'mx:one.test', 'exists:one.test', 'exists:gone.test')),
  fc.tuple(qualifier, fc.constantFrom('include:one.test', 'include:two.test', 'include:three.test')),
)
const ending = fc.constantFrom('', '-all', '~all', '?all', 'redirect=three.test', '+all')
const record = fc
  .tuple(fc.array(term, { maxLength: 4 }), ending)
  .map(([terms, end]) => ['v=spf1', ...terms.map((parts) => parts.join('')), end].filter(Boolean).join(' '))
const world = fc.record({ start: record, one: record, two: record, three: record }).map(
  (records): Names => ({
    'start.test': { TXT: records.start, A: ['198.51.100.1'] },
    'one.test': { TXT: records.one, A: ['198.51.100.2'], MX: 'two.test' },
    'two.test': { TXT: records.two, A: ['198.51.100.130'] },
    'three.test': { TXT: records.three },
    'h.start.test': { A: ['198.51.100.2'] },
  }),
)

void t.test('the same answer as mailauth, where nothing is wrong with the records', async (t) => {
  let compared = 0
  await fc.assert(
    fc.asyncProperty(world, address, async (names, ip) => {
      const walk = await ours(names, ip)
      const sound = walk.loop === null && walk.unreadable === null && walk.leadsNowhere.length === 0
      if (!sound || walk.lookUps > 10 || walk.voidLookUps > 2) return
      compared++
      if (walk.result !== (await oracle(names, ip)))
        throw new Error(`${ip}: ${walk.result}, mailauth ${await oracle(names, ip)}: ${JSON.stringify(names)}`)
    }),
    { numRuns: 1500 },
  )
  t.ok(compared > 300, `${compared} compared`)
})

void t.test('and for an address that is nowhere, whatever is wrong', async (t) => {
  const results = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(world, async (names) => {
      const { result } = await ours(names, STRANGER)
      // What lets everybody in ends it early: then a receiver does not see the rest.
      if (Object.values(names).some(({ TXT = '' }) => /\+all|exists:one/.test(TXT))) return
      results.set(result, (results.get(result) ?? 0) + 1)
      const theirs = await oracle(names, STRANGER)
      if (result !== theirs) throw new Error(`${result}, mailauth ${theirs}: ${JSON.stringify(names)}`)
    }),
    { numRuns: 1500 },
  )
  t.ok((results.get('permerror') ?? 0) > 50 && (results.get('fail') ?? 0) > 10, JSON.stringify([...results]))
})

void t.test('a record with our hosts put in lets them pass, and everybody who passed before', async (t) => {
  await fc.assert(
    fc.asyncProperty(world, address, async (names, ip) => {
      const before = await ours(names, ip)
      const text = mergeSpf(names['start.test']!.TXT!, ['ip4:203.0.113.5'])
      const merged: Names = { ...names, 'start.test': { ...names['start.test'], TXT: text } }
      const walk = await ours(merged, '203.0.113.5')
      const after = await ours(merged, ip)
      if (before.result === 'pass' && after.result !== 'pass') throw new Error(`${ip} no longer passes: ${text}`)
      if (after.lookUps !== before.lookUps) throw new Error(`look-ups changed: ${text}`)
      // A word before ours may decide against it, or the record is an error as it was.
      if (before.result !== 'permerror' && walk.result !== 'pass' && !/all|exists|[-~?](?:include|ip4:203)/.test(text))
        throw new Error(`ours does not pass (${walk.result}): ${text}`)
      if (mergeSpf(text, ['ip4:203.0.113.5']) !== text) throw new Error('put in twice')
    }),
    { numRuns: 500 },
  )
  t.pass('held')
})

void t.test('words that are no SPF are told with the reason', (t) => {
  for (const [word, reason] of [
    ['ipv4:1.2.3.4', /no mechanism/],
    ['ip4:1.2.3.400', /IPv4 address/],
    ['ip4:1.2.3.4/33', /more than 32/],
    ['ip4:2001:db8::1', /IPv4 address|no mechanism/],
    ['ip6:1.2.3.4', /IPv6 address/],
    ['ip6:2001:db8::1/129', /more than 128/],
    ['include', /domain name/],
    ['include:', /domain name/],
    ['include:mail', /domain name/],
    ['a:mail,example.com', /domain name/],
    ['mx:exa%mple.com', /domain name/],
    ['all:example.com', /stands alone/],
    ['redirect=', /domain name/],
    ['a/33', /too large/],
    ['ptr/24', /prefix/],
    ['exists:example.com/24', /prefix/],
    ['-', /no mechanism/],
    ['\u00a0', /character/],
  ] as const)
    t.match(parseSpf(`v=spf1 ${word} -all`), { ok: false, error: { term: word, reason } }, word)
  for (const word of [
    'a',
    'a:x.example/24//64',
    'mx//64',
    'IP4:1.2.3.4',
    'exists:%{ir}.sbl.example.com',
    'a:_x.example.com.',
    'op=auth',
    'exp=e.%{d2}',
  ])
    t.match(parseSpf(`v=spf1 ${word} -all`), { ok: true }, word)
  t.end()
})
