import { spawn } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { silentLog, systemClock } from '#base'
import { checkQueue, Queue, queueKeeping, queueWorker } from '#queue'
import { backupStore, checkStore, fingerprintOf, openDatabase, Records, restoreStore, Vault } from '#store'
import { manualClock, tempDir } from '#world'
import { body, message, queued, settlement, T0 } from '../contract/queue-messages.ts'
import { openSqlite, queueDefaults } from '../contract/sqlite-driver.ts'
import { contentFor, DOMAINS } from './busy-queue-rig.ts'

const ROOMS = [queueKeeping]
const KEY = Buffer.alloc(32, 7)
const { name, migrations } = queueWorker(queueDefaults)
const MODULES = [{ name, migrations }]

async function directory(t: Test): Promise<string> {
  const made = await tempDir()
  t.teardown(() => made[Symbol.asyncDispose]())
  return made.path
}

function backup(directory: string, target: string) {
  return backupStore({ directory, target, rooms: ROOMS, version: 'test', clock: systemClock })
}

function restore(source: string, directory: string, nowMs = T0, fingerprint = fingerprintOf(KEY)) {
  return restoreStore({ source, directory, rooms: ROOMS, modules: MODULES, fingerprint, nowMs })
}

const wrong = (directory: string) => checkStore(directory, [checkQueue]).filter(({ ok }) => !ok)

void t.test('made under load it is whole, again and again, and holds all that was answered before', async (t) => {
  const source = await directory(t)
  const targets = await directory(t)
  const child = spawn(process.execPath, [join(import.meta.dirname, 'busy-queue.ts'), source, 'm'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise((resolve) => child.once('close', resolve))
  const accepted: string[] = []
  const over: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [what, id = ''] = line.split(' ')
    if (what === 'accepted') accepted.push(id)
    if (what === 'ended') over.push(id)
  })
  while (accepted.length < 300) await new Promise((resolve) => systemClock.after(20, () => resolve(null)))
  const made: { target: string; messages: number; accepted: number; over: number }[] = []
  for (let n = 0; n < 4; n++) {
    const before = { accepted: accepted.length, over: over.length }
    const target = join(targets, `${n}`)
    const { counts } = await backup(source, target)
    made.push({ target, messages: counts.messages!, ...before })
    await new Promise((resolve) => systemClock.after(20, () => resolve(null)))
  }
  child.kill('SIGKILL')
  await ended
  t.ok(
    made.every(({ messages }, n) => n === 0 || messages > made[n - 1]!.messages),
    'mail was accepted meanwhile',
  )
  for (const { target, ...before } of made) {
    t.same(wrong(target), [])
    const copy = join(targets, 'opened')
    rmSync(copy, { recursive: true, force: true })
    cpSync(target, copy, { recursive: true })
    await using opened = await openSqlite(copy)
    let missing = 0
    for (const id of accepted.slice(0, before.accepted)) if ((await opened.store.message(id)) === null) missing += 1
    t.equal(missing, 0, `${before.accepted} were answered before`)
    let unsettled = 0
    for (const id of over.slice(0, before.over))
      if ((await opened.store.message(id))?.recipients.some(({ settledMs }) => settledMs === null)) unsettled += 1
    t.equal(unsettled, 0, `${before.over} had ended before`)
  }

  const back = join(await directory(t), 'data')
  const { counts } = await restore(made.at(-1)!.target, back, T0)
  t.same(wrong(back), [])
  await using opened = await openSqlite(back)
  const clock = manualClock(systemClock.now() + 86_400_000)
  await using queue = await Queue.open({
    ...{ store: opened.store, config: { ...queueDefaults, min_free_bytes: 0 }, directory: back, owner: 'busy', clock },
    log: silentLog,
  })
  t.equal(queue.nextDestination(), null, 'nothing goes out by itself')
  t.equal((await queue.counts()).held, counts.unsettled_recipients)
  const page = await queue.list({ states: ['held'] }, null, 500)
  t.ok(page.rows.length > 0)
  t.ok(page.rows.every(({ recipient }) => recipient.reason === 'restored 2026-11-24T12:00:00.000Z'))
  t.ok(page.rows.every(({ recipient }) => recipient.maybeDuplicate))
  const released = await queue.steer('release', { restored: true }, 'test', { dryRun: false, limit: 100_000 })
  t.equal(released.count, counts.unsettled_recipients)
  let claimed = 0
  for (const domain of DOMAINS)
    for (;;) {
      const [claim] = await queue.claim(domain)
      if (claim === undefined) break
      claimed += 1
      if (claimed % 20 === 0) t.ok((await queue.content(claim.message.id)).equals(contentFor(claim.message.id)))
      await queue.settle([settlement(claim, 'sent', { atMs: clock.now() })])
    }
  t.equal(claimed, counts.unsettled_recipients)
})

void t.test(
  'what stood where it stood: states, times, keys of idempotency; what a person held stays his',
  async (t) => {
    const source = await directory(t)
    const idempotency = { scope: 'a', key: 'k', fingerprint: 'f' }
    const now = message(['now@a.example'], { idempotency, content: body('now', 150_000) })
    const later = message(['later@a.example'], { notBeforeMs: T0 + 3_600_000 })
    const mine = message(['mine@a.example'])
    const sent = message(['sent@a.example'])
    {
      await using opened = await openSqlite(source)
      const { store } = opened
      for (const mail of [now, later, mine, sent]) await store.accept(mail, queued(mail))
      await store.steer('hold', { messageId: mine.id }, 'poison', T0, { dryRun: false, limit: 10 })
      const keys = (await store.message(sent.id))!.recipients.map(({ key }) => key)
      const [claim] = await store.lease(keys, 'node', T0, T0 + 1000)
      await store.settle([settlement(claim!, 'sent')])
      await store.lease(
        (await store.message(now.id))!.recipients.map(({ key }) => key),
        'node',
        T0,
        T0 + 1000,
      )
      // Still open: the writer has its files.
      await backup(source, `${source}-copy`)
    }
    t.teardown(() => rmSync(`${source}-copy`, { recursive: true, force: true }))
    const back = await directory(t)
    await restore(`${source}-copy`, back)
    await using opened = await openSqlite(back)
    const { store } = opened
    const of = async (id: string) => (await store.message(id))!.recipients[0]
    t.match(await of(now.id), { state: 'held', reason: /^restored 2026/, dueMs: null, maybeDuplicate: true })
    t.match(await of(later.id), { state: 'held', reason: /^restored 2026/, dueMs: T0 + 3_600_000 })
    t.match(await of(mine.id), { state: 'held', reason: /^restored .*, held before: poison$/ })
    t.match(await of(sent.id), { state: 'sent', maybeDuplicate: false })
    t.same((await store.accept({ ...now, id: 'x' }, [])).result, { kind: 'repeated', id: now.id, same: true })
    const held = (await opened.events()).filter(({ type, detail }) => type === 'held' && detail.includes('restored'))
    t.same(held.map(({ message_id }) => message_id).sort(), [now.id, later.id, mine.id].sort())
    const released = await store.steer('release', { restored: true }, 'x', T0, { dryRun: false, limit: 10 })
    t.equal(released.count, 2)
    t.match(await of(later.id), { state: 'scheduled', dueMs: T0 + 3_600_000 })
    t.match(await of(mine.id), { state: 'held' })
    t.same(await store.content(now.id), Buffer.from(now.content))
  },
)

void t.test(
  'damaged, of another key, over another store, broken off: refused by name, and nothing begins',
  async (t) => {
    const source = await directory(t)
    {
      const database = await openDatabase({ directory: source, modules: [queueWorker(queueDefaults)] })
      await Vault.open(new Records(database), KEY, systemClock)
      await database[Symbol.asyncDispose]()
      await using opened = await openSqlite(source)
      for (let i = 0; i < 3; i++)
        await opened.store.accept(message(['u@a.example'], { content: body('x', 150_000) }), [])
    }
    const copy = `${source}-copy`
    t.teardown(() => rmSync(copy, { recursive: true, force: true }))
    const { files, master_key_fingerprint } = await backup(source, copy)
    t.equal(master_key_fingerprint, fingerprintOf(KEY))
    t.same(
      files.map(({ name }) => name),
      ['relevo.db', 'relevo.commits', 'segments/00000001.seg'],
    )
    await t.rejects(backup(source, copy), { code: 'not-empty' })
    await t.rejects(backup(source, join(source, 'inside')), { code: 'usage' })
    await t.rejects(restore(copy, await directory(t), T0, 'another'), { code: 'wrong-master-key', exitCode: 78 })
    await t.rejects(restore(copy, source), { code: 'not-empty', message: /relevo/ })

    for (const file of ['relevo.db', 'relevo.commits', 'segments/00000001.seg', 'manifest.json'])
      for (const [how, damage] of [
        ['flipped', (path: string) => flip(path)],
        ['shorter', (path: string) => truncateSync(path, 100)],
        ['longer', (path: string) => appendFileSync(path, 'x')],
        ['missing', (path: string) => rmSync(path)],
      ] as const) {
        const bad = join(await directory(t), 'copy')
        cpSync(copy, bad, { recursive: true })
        damage(join(bad, file))
        const into = await directory(t)
        const refused = await restore(bad, into).then(
          () => null,
          (error: Error & { code: string }) => error,
        )
        if (file === 'manifest.json' && how === 'longer' && refused === null) continue
        t.match(refused, { code: /^(damaged-backup|not-a-backup)$/ }, `${file} ${how}`)
        t.match(refused?.message, file === 'manifest.json' ? /copy/ : new RegExp(file), `${file} ${how} is named`)
        t.notOk(existsSync(join(into, 'relevo.db')))
        if (how !== 'flipped' || file === 'manifest.json') continue
        await t.rejects(
          openSqlite(into),
          { code: 'damaged-store', message: /broken off/ },
          'a start waits for the restore',
        )
        await restore(copy, into)
        await (await openSqlite(into))[Symbol.asyncDispose]()
      }

    // Broken off between the renames at the end.
    const into = await directory(t)
    await restore(copy, into)
    mkdirSync(join(into, 'restoring'))
    renameSync(join(into, 'relevo.db'), join(into, 'restoring/relevo.db'))
    await t.rejects(openSqlite(into), { code: 'damaged-store', message: /broken off/ })
    await restore(copy, into)
    t.same(wrong(into), [])
    t.same(
      readdirSync(into).filter((name) => name === 'restoring'),
      [],
    )
    const opened = await openSqlite(into)
    t.equal((await opened.store.counts()).held, 3)
    await t.rejects(restore(copy, into), { code: 'second-instance' })
    await opened[Symbol.asyncDispose]()
  },
)

function flip(path: string): void {
  const at = Math.floor(statSync(path).size / 2)
  const fd = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, at)
  byte[0] = byte[0]! ^ 0x10
  writeSync(fd, byte, 0, 1, at)
  closeSync(fd)
}
