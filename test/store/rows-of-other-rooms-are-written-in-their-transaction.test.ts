import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import t from 'tap'
import { type Database, Records } from '#store'
import { directory, open } from './store-rig.ts'

const module = { name: 'rows', url: new URL('./writing-rows-module.ts', import.meta.url), migrations: [] }

const event = { id: 'e1', atMs: 5, type: 'sent', messageId: 'm1', recipientKey: 1, recipient: 'a@x.example' }
const rest = { provider: 'own', class: 'mx', status: '2.0.0', detail: { source: '192.0.2.1' } }

void t.test('an event written twice is one, and its detail is read back', async (t) => {
  await using database = await open(directory(t), { modules: [module] })
  const records = new Records(database)
  await database.write('test.events', [{ ...event, ...rest }])
  await database.write('test.events', [
    { ...event, ...rest, type: 'bounced' },
    { ...event, ...rest, id: 'e2', type: 'complained', detail: { text: 'a "quoted"\u0000 word' } },
  ])
  const rows = await records.read(records.query.selectFrom('events').selectAll().orderBy('seq'))
  t.match(rows, [
    { seq: 1, id: 'e1', at_ms: 5, type: 'sent', message_id: 'm1', recipient_key: 1, recipient: 'a@x.example' },
    { id: 'e2', type: 'complained', provider: 'own', class: 'mx', status: '2.0.0' },
  ])
  t.equal(rows.length, 2)
  t.same(JSON.parse(rows[1]!.detail), { text: 'a "quoted"\u0000 word' })
})

void t.test('counters move by steps, also down, each name and period for itself', async (t) => {
  await using database = await open(directory(t), { modules: [module] })
  const records = new Records(database)
  const move = (name: string, period: string, delta: number) => ({ name, period, delta })
  await database.write('test.move', [move('w', 'd1', 2), move('w', 'd1', 3), move('w', 'd2', 1), move('p', 'd1', -1)])
  await database.write('test.move', [move('w', 'd1', -1)])
  t.same(await records.read(records.query.selectFrom('counters').selectAll().orderBy('name').orderBy('period')), [
    { name: 'p', period: 'd1', value: -1 },
    { name: 'w', period: 'd1', value: 4 },
    { name: 'w', period: 'd2', value: 1 },
  ])
})

type Change = { reason: string; atMs: number; untilMs: number | null }

async function suppressed(database: Database, changes: readonly Change[]): Promise<unknown> {
  const records = new Records(database)
  await records.write(records.query.deleteFrom('suppressions'))
  for (const { reason, atMs, untilMs } of changes)
    await database.write('test.suppress', [
      {
        address: 'a@x.example',
        scope: 'everything',
        class: `class of ${reason}`,
        smtpCode: '',
        detail: `${atMs}`,
        reason,
        atMs,
        untilMs,
      },
    ])
  return records.readOne(records.query.selectFrom('suppressions').selectAll())
}

void t.test('a suppression said again counts up; the stronger reason and the later end stand', async (t) => {
  await using database = await open(directory(t), { modules: [module] })
  const soft = { reason: 'soft-bounce', atMs: 1, untilMs: 100 }
  const hard = { reason: 'hard-bounce', atMs: 2, untilMs: null }
  const complaint = { reason: 'complaint', atMs: 3, untilMs: null }
  const once = (reason: string, atMs: number, untilMs: number | null) => ({ reason, atMs, untilMs })
  const cases: readonly [string, readonly Change[], object][] = [
    ['one', [soft], { reason: 'soft-bounce', count: 1, first_ms: 1, last_ms: 1, until_ms: 100 }],
    [
      'stronger',
      [soft, hard],
      {
        reason: 'hard-bounce',
        class: 'class of hard-bounce',
        detail: '2',
        count: 2,
        first_ms: 1,
        last_ms: 2,
        until_ms: null,
      },
    ],
    [
      'weaker',
      [complaint, { ...soft, atMs: 9 }],
      {
        reason: 'complaint',
        class: 'class of complaint',
        detail: '3',
        count: 2,
        first_ms: 3,
        last_ms: 9,
        until_ms: null,
      },
    ],
    ['equal takes the newer', [hard, { ...hard, atMs: 7 }], { reason: 'hard-bounce', detail: '7', count: 2 }],
    ['unsubscribed over a hard bounce', [once('unsubscribe', 1, null), hard], { reason: 'unsubscribe' }],
    ['by hand over a hard bounce', [hard, once('manual', 4, null)], { reason: 'manual' }],
    ['a complaint over all', [once('manual', 1, null), complaint], { reason: 'complaint' }],
    ['the later end', [soft, { ...soft, atMs: 2, untilMs: 50 }], { until_ms: 100 }],
    ['extended', [soft, { ...soft, atMs: 2, untilMs: 200 }], { until_ms: 200 }],
    ['for ever stays', [hard, soft], { until_ms: null }],
  ]
  for (const [name, changes, expected] of cases) t.match(await suppressed(database, changes), expected, name)
})

void t.test('what is asked often is found by an index', async (t) => {
  const path = directory(t)
  await (await open(path))[Symbol.asyncDispose]()
  const db = new Sqlite(join(path, 'relevo.db'), { readonly: true })
  t.teardown(() => db.close())
  for (const query of [
    'SELECT * FROM suppressions WHERE address = ?',
    'SELECT * FROM suppressions WHERE address IN (?, ?)',
    'SELECT * FROM events WHERE message_id = ? ORDER BY seq',
    'SELECT * FROM events WHERE at_ms > ?',
    'SELECT * FROM events WHERE type = ? AND seq > ? ORDER BY seq LIMIT 10',
    'SELECT * FROM events WHERE id = ?',
    'SELECT * FROM inbound_mail WHERE processed_ms IS NULL ORDER BY seq LIMIT 10',
    'SELECT * FROM tokens WHERE hash = ?',
    'SELECT * FROM credentials WHERE username = ?',
    'SELECT * FROM dkim_keys WHERE domain = ?',
    'SELECT * FROM counters WHERE name = ? AND period = ?',
  ]) {
    const values = Array.from(query.matchAll(/\?/g), () => 'x')
    const plan = (db.prepare(`EXPLAIN QUERY PLAN ${query}`).all(...values) as { detail: string }[]).map(
      (step) => step.detail,
    )
    t.ok(
      plan.every((step) => step.includes('INDEX') || step.includes('PRIMARY KEY')) &&
        !plan.some((step) => /rowid>/.test(step)),
      `${query}: ${plan.join('; ')}`,
    )
    t.notOk(
      plan.some((step) => step.includes('TEMP B-TREE')),
      query,
    )
  }
})
