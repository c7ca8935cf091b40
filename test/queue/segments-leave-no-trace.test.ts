import { appendFileSync, existsSync, mkdirSync, readdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import t, { type Test } from 'tap'
import type { NewMessage } from '#queue'
import type { WorkerContext } from '#store'
import { tempDir } from '#world'
import { QueueReading } from '../../src/queue/sqlite/reading.ts'
import { body, message, queued, settlement, T0 } from '../contract/queue-messages.ts'
import { keysOf, type OpenStore } from '../contract/queue-store.ts'
import { openSqlite } from '../contract/sqlite-driver.ts'
import { smallDisk } from './small-disk.ts'

const RECORD = 60_000
/** Three records a file. */
const SETTINGS = { segment_bytes: 3 * RECORD + 1000 }

async function directory(t: Test): Promise<string> {
  const made = await tempDir()
  t.teardown(() => made[Symbol.asyncDispose]())
  return made.path
}

function files(path: string): Record<string, number> {
  const folder = join(path, 'segments')
  return Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [name, statSync(join(folder, name)).size]),
  )
}

const large = (i: number): NewMessage =>
  message([`u${i}@a.example`], { content: body(`mail ${i} `, RECORD - 100).subarray(0, RECORD - 100) })

async function accept(opened: OpenStore, mails: readonly NewMessage[]): Promise<void> {
  await Promise.all(mails.map((mail) => opened.store.accept(mail, queued(mail))))
}

async function settle(opened: OpenStore, mails: readonly NewMessage[]): Promise<void> {
  for (const mail of mails) {
    const view = (await opened.store.message(mail.id))!
    const [claim] = await opened.store.lease(keysOf(view.recipients), 'node', T0, T0 + 1000)
    await opened.store.settle([settlement(claim!, 'sent')])
  }
}

async function same(t: Test, opened: OpenStore, mails: readonly NewMessage[]): Promise<void> {
  for (const mail of mails) t.same(await opened.store.content(mail.id), Buffer.from(mail.content))
}

void t.test('large contents go to files of bounded size, small ones stay in the row', async (t) => {
  const path = await directory(t)
  const mails = Array.from({ length: 7 }, (_, i) => large(i))
  {
    await using opened = await openSqlite(path, SETTINGS)
    await accept(opened, [...mails, message()])
    await same(t, opened, mails)
  }
  t.same(files(path), {
    '00000001.seg': 3 * (RECORD - 80),
    '00000002.seg': 3 * (RECORD - 80),
    '00000003.seg': RECORD - 80,
  })
  await using opened = await openSqlite(path, SETTINGS)
  const more = large(8)
  await accept(opened, [more])
  await same(t, opened, [...mails, more])
  t.equal(files(path)['00000003.seg'], 2 * (RECORD - 80), 'after a reopen the last file goes on')
})

void t.test('what a crash left behind the last commit is cut, what is not ours is left alone', async (t) => {
  const path = await directory(t)
  const first = large(1)
  {
    await using opened = await openSqlite(path, SETTINGS)
    await accept(opened, [first])
  }
  const folder = join(path, 'segments')
  appendFileSync(join(folder, '00000001.seg'), Buffer.alloc(12_345, 7))
  writeFileSync(join(folder, '00000002.seg'), 'of a commit that never was')
  writeFileSync(join(folder, 'notes.txt'), 'of the administrator')
  mkdirSync(join(folder, 'lost+found'))
  await using opened = await openSqlite(path, SETTINGS)
  t.equal(files(path)['00000001.seg'], RECORD - 80)
  t.notOk(existsSync(join(folder, '00000002.seg')))
  t.ok(existsSync(join(folder, 'notes.txt')) && existsSync(join(folder, 'lost+found')))
  const second = large(2)
  await accept(opened, [second])
  await same(t, opened, [first, second])
  t.equal(files(path)['00000001.seg'], 2 * (RECORD - 80))
})

void t.test('a commit that found no room leaves nothing, in files old and new', async (t) => {
  const disk = await smallDisk(t, 24)
  if (disk === null) return
  const first = large(1)
  const others = [large(2), large(3), large(4), large(5)]
  {
    await using opened = await openSqlite(disk.path, SETTINGS)
    await accept(opened, [first])
    const before = files(disk.path)
    disk.fill(250_000)
    // Some of them fit, into this file and the next, before one does not.
    const huge = message(['x@a.example'], { content: new Uint8Array(2_000_000) })
    const results = await Promise.allSettled([...others, huge].map((mail) => opened.store.accept(mail, queued(mail))))
    t.same(
      results.map((result) => (result.status === 'rejected' ? (result.reason as { code: string }).code : 'kept')),
      Array.from({ length: 5 }, () => 'ENOSPC'),
    )
    t.same(files(disk.path), before)
    t.same(await opened.countedStates(), { ready: 1 })
    t.equal((await opened.events()).length, 1)
    disk.empty()
    await accept(opened, others)
    await same(t, opened, [first, ...others])
  }
  await using opened = await openSqlite(disk.path, SETTINGS)
  await same(t, opened, [first, ...others])
  t.same(Object.keys(files(disk.path)), ['00000001.seg', '00000002.seg'])
})

void t.test('a next file that cannot be made fails what needed it, and nothing else', async (t) => {
  const path = await directory(t)
  const mails = Array.from({ length: 3 }, (_, i) => large(i))
  const small = message()
  const after = [large(4), large(5)]
  {
    await using opened = await openSqlite(path, SETTINGS)
    await accept(opened, mails)
    const inTheWay = join(path, 'segments', '00000002.seg')
    mkdirSync(inTheWay)
    for (let i = 0; i < 3; i++) await t.rejects(accept(opened, [large(9)]), { code: 'EISDIR' })
    await accept(opened, [small])
    await same(t, opened, [...mails, small])
    t.equal(files(path)['00000001.seg'], 3 * (RECORD - 80))
    rmdirSync(inTheWay)
    await accept(opened, after)
    await same(t, opened, after)
  }
  await using opened = await openSqlite(path, SETTINGS)
  await same(t, opened, [...mails, small, ...after])
})

void t.test('a full file goes when the last of its messages is settled', async (t) => {
  const path = await directory(t)
  await using opened = await openSqlite(path, SETTINGS)
  const mails = Array.from({ length: 4 }, (_, i) => large(i))
  await accept(opened, mails)
  await settle(opened, mails.slice(0, 2))
  t.same(Object.keys(files(path)), ['00000001.seg', '00000002.seg'])
  await settle(opened, [mails[2]!])
  t.same(Object.keys(files(path)), ['00000002.seg'])
  await same(t, opened, [mails[3]!])
  await settle(opened, [mails[3]!])
  t.same(Object.keys(files(path)), ['00000002.seg'], 'the one that is appended to stays')
  const more = [large(5), large(6), large(7)]
  await accept(opened, more)
  t.same(Object.keys(files(path)), ['00000002.seg', '00000003.seg'])
  await settle(opened, [more[0]!, more[1]!])
  t.same(Object.keys(files(path)), ['00000003.seg'])
  await same(t, opened, [more[2]!])
})

void t.test('a mostly dead file is compacted: what lives moves, the file goes', async (t) => {
  const path = await directory(t)
  const mails = Array.from({ length: 7 }, (_, i) => large(i))
  {
    await using opened = await openSqlite(path, SETTINGS)
    await accept(opened, mails)
    await settle(opened, [mails[0]!])
    while (await opened.store.reclaimSpace(T0));
    t.ok(existsSync(join(path, 'segments', '00000001.seg')), 'two thirds alive: not worth it')
    await settle(opened, [mails[2]!])
    while (await opened.store.reclaimSpace(T0));
    t.same(Object.keys(files(path)), ['00000002.seg', '00000003.seg'])
    await same(t, opened, [mails[1]!, ...mails.slice(3)])
  }
  await using opened = await openSqlite(path, SETTINGS)
  await same(t, opened, [mails[1]!, ...mails.slice(3)])
  await settle(opened, [mails[1]!, ...mails.slice(3)])
  t.same(Object.keys(files(path)), ['00000003.seg'])
})

void t.test('a content that moves between the look at its place and the reading of it is still found', async (t) => {
  const path = await directory(t)
  await using opened = await openSqlite(path, SETTINGS)
  const mails = Array.from({ length: 4 }, (_, i) => large(i))
  await accept(opened, mails)
  const db = new Sqlite(join(path, 'relevo.db'), { readonly: true })
  t.teardown(() => db.close())
  const before = db.prepare('SELECT * FROM messages WHERE id = ?').get(mails[1]!.id)
  await settle(opened, [mails[0]!, mails[2]!])
  while (await opened.store.reclaimSpace(T0));
  let looks = 0
  const statement = (text: string) => {
    const prepared = db.prepare(text)
    return { get: (...values: unknown[]) => (looks++ === 0 ? before : prepared.get(...values)) } as Sqlite.Statement
  }
  const context = { db, statement, directory: path, settings: {}, role: 'reader' as const }
  const reading = new QueueReading(context as unknown as WorkerContext)
  t.same(reading.content({ messageId: mails[1]!.id }), { content: Buffer.from(mails[1]!.content) })
  t.equal(looks, 2)
})

void t.test('what cannot be read when its file is compacted is held, and the file is left for a person', async (t) => {
  const path = await directory(t)
  const mails = Array.from({ length: 4 }, (_, i) => large(i))
  {
    await using opened = await openSqlite(path, SETTINGS)
    await accept(opened, mails)
    await settle(opened, [mails[0]!, mails[1]!])
  }
  const name = join(path, 'segments', '00000001.seg')
  const damaged = Buffer.alloc(statSync(name).size, 9)
  writeFileSync(name, damaged)
  await using opened = await openSqlite(path, SETTINGS)
  while (await opened.store.reclaimSpace(T0 + 5));
  t.match((await opened.store.message(mails[2]!.id))?.recipients[0], { state: 'held', reason: 'damaged' })
  t.equal((await opened.events()).filter(({ type }) => type === 'held').length, 1)
  t.ok(existsSync(name))
  await same(t, opened, [mails[3]!])
  await opened.store.steer('cancel', { messageId: mails[2]!.id }, 'lost', T0 + 6, { dryRun: false, limit: 1 })
  t.notOk(existsSync(name), 'with its last message it goes')
})
