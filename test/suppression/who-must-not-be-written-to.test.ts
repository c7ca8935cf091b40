import t from 'tap'
import { systemClock } from '#base'
import { SuppressionList, suppressionWorker } from '#suppression'
import { openStore } from '../routing/store-rig.ts'

type Tap = Parameters<typeof openStore>[0]

async function open(t: Tap) {
  const store = await openStore(t, [suppressionWorker])
  return { ...store, list: new SuppressionList(store.database, store.records, systemClock) }
}

const MAIL = { sendingDomain: 'shop.example' }

void t.test('an entry holds in its scope, whatever the case, and says why', async (t) => {
  const { list } = await open(t)
  await list.add([
    { address: 'Dead@Example.org', reason: 'hard-bounce', detail: 'no such user' },
    { address: 'angry@example.org', scope: 'domain:shop.example', reason: 'complaint' },
    { address: 'some@example.org', scope: 'category:news', reason: 'unsubscribe' },
    { address: '*@closed.example' },
  ])
  t.match(await list.check('DEAD@example.ORG', MAIL), {
    reason: 'hard-bounce',
    detail: 'no such user',
    scope: 'everything',
  })
  t.match(await list.check('angry@example.org', MAIL), { reason: 'complaint' })
  t.equal(await list.check('angry@example.org', { sendingDomain: 'other.example' }), null)
  t.equal(await list.check('some@example.org', MAIL), null)
  t.match(await list.check('some@example.org', { ...MAIL, category: 'News' }), { reason: 'unsubscribe' })
  t.match(await list.check('anybody@closed.example', MAIL), { address: '*@closed.example' })
  t.equal(await list.check('anybody@open.example', MAIL), null)
})

void t.test('what was found clear is asked again after anything is written, here or by a settlement', async (t) => {
  const { list, records } = await open(t)
  t.equal(await list.check('a@example.org', MAIL), null)
  await list.add([{ address: 'a@example.org' }])
  t.ok(await list.check('a@example.org', MAIL))
  t.equal(await list.remove('A@example.org'), 1)
  t.equal(await list.check('a@example.org', MAIL), null)
  await records.write(
    records.query.insertInto('suppressions').values({
      address: 'a@example.org',
      scope: 'everything',
      reason: 'hard-bounce',
      class: 'user-unknown',
      smtp_code: '550',
      detail: '',
      count: 1,
      first_ms: 1,
      last_ms: 1,
      until_ms: null,
    }),
  )
  list.wroteElsewhere()
  t.match(await list.check('a@example.org', MAIL), { class: 'user-unknown' })
})

void t.test('an entry with an end holds until then', async (t) => {
  const { list } = await open(t)
  await list.add([
    { address: 'past@example.org', untilMs: Date.now() - 1000 },
    { address: 'still@example.org', untilMs: Date.now() + 60_000 },
  ])
  t.equal(await list.check('past@example.org', MAIL), null)
  t.ok(await list.check('still@example.org', MAIL))
})

void t.test('what is exported is imported again as it was; bad lines are told and passed over', async (t) => {
  const { list } = await open(t)
  await list.add([
    { address: 'one@example.org', reason: 'complaint', scope: 'domain:shop.example', detail: 'said "no", twice' },
    { address: 'two@example.org', untilMs: Date.UTC(2030, 0) },
    { address: '*@three.example', detail: '=1+1' },
  ])
  const lines: string[] = []
  for await (const line of list.export()) lines.push(line)
  t.equal(lines.length, 4)
  t.match(lines.join('\n'), /"said ""no"", twice"/)
  t.notMatch(lines.join('\n'), /,=1\+1/, 'no spreadsheet formula leaves')
  const again = await open(t)
  const report = await again.list.import([
    ...lines,
    'not an address',
    'x@example.org,because',
    'y@example.org,manual,nowhere',
    'z@example.org,manual,everything,someday',
  ])
  t.equal(report.added, 3)
  t.same(
    report.refused.map(({ line }) => line),
    [5, 6, 7, 8],
  )
  t.match(report.refused[1]?.problem, /is not a reason/)
  const page = await again.list.list({ limit: 10 })
  t.same(
    page.rows.map(({ address, scope, reason, untilMs }) => [address, scope, reason, untilMs]),
    [
      ['*@three.example', 'everything', 'manual', null],
      ['one@example.org', 'domain:shop.example', 'complaint', null],
      ['two@example.org', 'everything', 'manual', Date.UTC(2030, 0)],
    ],
  )
})

void t.test('pages are whole and in order', async (t) => {
  const { list } = await open(t)
  await list.add(Array.from({ length: 25 }, (_, i) => ({ address: `u${String(i).padStart(2, '0')}@example.org` })))
  const seen: string[] = []
  let cursor: string | undefined
  do {
    const page = await list.list({ limit: 10, ...(cursor === undefined ? {} : { cursor }) })
    seen.push(...page.rows.map((row) => row.address))
    cursor = page.next ?? undefined
  } while (cursor !== undefined)
  t.equal(seen.length, 25)
  t.same(seen, [...seen].sort())
})
