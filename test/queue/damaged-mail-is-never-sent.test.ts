import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import Sqlite from 'better-sqlite3'
import t, { type Test } from 'tap'
import { isMachineError, silentLog } from '#base'
import { DamagedContent, type NewMessage, Queue } from '#queue'
import { manualClock, tempDir } from '#world'
import { body, message, queued, T0 } from '../contract/queue-messages.ts'
import { keysOf } from '../contract/queue-store.ts'
import { openSqlite, queueDefaults } from '../contract/sqlite-driver.ts'

async function directory(t: Test): Promise<string> {
  const made = await tempDir()
  t.teardown(() => made[Symbol.asyncDispose]())
  return made.path
}

async function keep(path: string, mails: readonly NewMessage[]): Promise<void> {
  await using opened = await openSqlite(path)
  await Promise.all(mails.map((mail) => opened.store.accept(mail, queued(mail))))
}

function sql(path: string, text: string, ...values: readonly unknown[]): void {
  const db = new Sqlite(join(path, 'relevo.db'))
  if (db.prepare(text).run(...values).changes === 0) throw new Error(`nothing was changed by ${text}`)
  db.close()
}

void t.test('a byte flipped in a content: it is never returned, and the message is held with an event', async (t) => {
  const path = await directory(t)
  const small = message(['one@a.example'], { content: body('small') })
  const large = message(['two@a.example', 'three@b.example'], { content: body('large', 100_000) })
  const sound = message(['four@a.example'], { content: body('sound', 100_000) })
  await keep(path, [small, large, sound])

  const flipped = Buffer.from(small.content)
  flipped[20] = flipped[20]! ^ 1
  sql(path, 'UPDATE bodies SET content = ?', flipped)
  const [name] = readdirSync(join(path, 'segments'))
  const fd = openSync(join(path, 'segments', name!), 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, 20 + 70_000)
  byte[0] = byte[0]! ^ 0x80
  writeSync(fd, byte, 0, 1, 20 + 70_000)
  closeSync(fd)

  const opened = await openSqlite(path)
  const options = { config: queueDefaults, directory: path, owner: 'node', clock: manualClock(T0), log: silentLog }
  const queue = await Queue.open({ store: opened.store, ...options })
  t.teardown(() => opened[Symbol.asyncDispose]())
  for (const mail of [small, large]) {
    await t.rejects(queue.content(mail.id), DamagedContent)
    for (const recipient of (await queue.message(mail.id))!.recipients)
      t.match(recipient, { state: 'held', reason: 'damaged' })
  }
  t.same(await queue.content(sound.id), Buffer.from(sound.content))
  const held = (await opened.events()).filter(({ type }) => type === 'held')
  t.same(held.map(({ recipient }) => recipient).sort(), ['one@a.example', 'three@b.example', 'two@a.example'])
  t.same(await queue.claim('b.example'), [], 'what is held is not claimed')
  t.equal((await queue.claim('a.example'))[0]?.message.id, sound.id)
})

void t.test('a content that is cut short, gone, or of another message is not believed', async (t) => {
  const path = await directory(t)
  const mails = Array.from({ length: 4 }, (_, i) => message([`u${i}@a.example`], { content: body(`mail ${i}`) }))
  await keep(path, mails)
  sql(path, 'UPDATE bodies SET content = substr(content, 1, length(content) - 2) WHERE message = 1')
  sql(path, 'DELETE FROM bodies WHERE message = 2')
  sql(path, 'UPDATE bodies SET content = (SELECT content FROM bodies WHERE message = 4) WHERE message = 3')
  await using opened = await openSqlite(path)
  for (const mail of mails.slice(0, 3)) await t.rejects(opened.store.content(mail.id), DamagedContent)
  t.same(await opened.store.content(mails[3]!.id), Buffer.from(mails[3]!.content))
})

void t.test('a missing segment file damages its own messages only, and a new one is begun', async (t) => {
  const path = await directory(t)
  const lost = message(['one@a.example'], { content: body('lost', 100_000) })
  const small = message(['two@a.example'])
  await keep(path, [lost, small])
  rmSync(join(path, 'segments', '00000001.seg'))
  const fresh = message(['three@a.example'], { content: body('fresh', 100_000) })
  {
    await using opened = await openSqlite(path)
    await t.rejects(opened.store.content(lost.id), DamagedContent)
    t.same(await opened.store.content(small.id), Buffer.from(small.content))
    // Two in one commit, one of which cannot be: the rollback finds no file to go back to.
    const twice = [fresh, { ...fresh, messageIdHeader: '<again>' }, message([], { id: small.id })]
    const results = await Promise.allSettled(twice.map((mail) => opened.store.accept(mail, [])))
    t.same(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'rejected'],
    )
    t.same(await opened.store.content(fresh.id), Buffer.from(fresh.content))
  }
  await using opened = await openSqlite(path)
  t.same(await opened.store.content(fresh.id), Buffer.from(fresh.content))
  t.equal(await opened.store.holdDamaged(lost.id, T0), 1)
})

void t.test('a content that cannot be read now is not taken for damaged: nothing is held', async (t) => {
  const path = await directory(t)
  const mail = message(['one@a.example'], { content: body('kept', 150_000) })
  await keep(path, [mail])
  const file = join(path, 'segments', '00000001.seg')
  const opened = await openSqlite(path)
  t.teardown(() => opened[Symbol.asyncDispose]())
  const options = { config: queueDefaults, directory: path, owner: 'node', clock: manualClock(T0), log: silentLog }
  const queue = await Queue.open({ store: opened.store, ...options })
  renameSync(file, `${file}.kept`)
  mkdirSync(file)
  const error = await queue.content(mail.id).catch((thrown: unknown) => thrown)
  t.ok(isMachineError(error), String(error))
  t.match((await queue.message(mail.id))!.recipients, [{ state: 'ready' }])
  rmdirSync(file)
  renameSync(`${file}.kept`, file)
  t.same(await queue.content(mail.id), Buffer.from(mail.content))
})

void t.test(
  'a store of the first tables is opened as it is, and its rows take the wider checksum as they move',
  async (t) => {
    const path = await directory(t)
    const mails = ['one', 'two', 'three'].map((name) => message([`${name}@a.example`]))
    await keep(path, mails)
    // As the first version of the tables left it.
    const db = new Sqlite(join(path, 'relevo.db'))
    for (const row of db.prepare('SELECT * FROM messages').all() as Record<string, string | number>[])
      db.prepare('UPDATE messages SET row_checksum = ? WHERE key = ?').run(
        crc32(
          [row.id, row.reverse_path, row.sending_domain, row.expires_ms, row.sandbox, row.size, row.checksum].join(
            '\0',
          ),
        ),
        row.key,
      )
    for (const row of db.prepare('SELECT * FROM recipients').all() as Record<string, string | number>[])
      db.prepare('UPDATE recipients SET row_checksum = ? WHERE key = ?').run(
        crc32([row.message, row.address, row.domain, row.original_recipient, row.notify].join('\0')),
        row.key,
      )
    db.exec(`ALTER TABLE messages DROP COLUMN checksum_form; ALTER TABLE recipients DROP COLUMN checksum_form;
    ALTER TABLE recipients DROP COLUMN lone_crashes; ALTER TABLE messages DROP COLUMN tls;
    UPDATE schema_versions SET version = 1 WHERE module = 'queue';
    UPDATE recipients SET address = 'evil@a.example' WHERE key = 2`)
    db.close()
    await using opened = await openSqlite(path)
    const rows = await opened.store.schedule(0, 10)
    t.equal(rows.length, 3)
    const claims = await opened.store.lease(keysOf(rows), 'node', T0, T0 + 1000)
    t.same(
      claims.map(({ message }) => message.id),
      [mails[0]!.id, mails[2]!.id],
      'what was altered is found by the old checksum',
    )
    await opened.store.reclaim('node', T0)
    const look = new Sqlite(join(path, 'relevo.db'), { readonly: true })
    t.same(look.prepare('SELECT checksum_form FROM recipients ORDER BY key').pluck().all(), [1, 0, 1])
    look.close()
    t.equal((await opened.store.lease([rows[0]!.key], 'node', T0, T0 + 1000)).length, 1)
  },
)

void t.test('a row whose fields were altered is held at the lease, whichever field it is', async (t) => {
  const alterations = [
    "UPDATE recipients SET address = 'other@a.example'",
    "UPDATE recipients SET domain = 'evil.example'",
    "UPDATE recipients SET original_recipient = 'rfc822;other@a.example'",
    "UPDATE recipients SET notify = 'never'",
    'UPDATE recipients SET message = 2',
    "UPDATE messages SET reverse_path = 'other@sender.example'",
    "UPDATE messages SET sending_domain = 'other.example'",
    'UPDATE messages SET expires_ms = expires_ms + 1',
    'UPDATE messages SET sandbox = 0',
    "UPDATE messages SET envelope_id = 'x'",
    "UPDATE messages SET ret = 'full'",
    'UPDATE messages SET smtp_utf8 = 1',
    "UPDATE messages SET header_from = 'x@sender.example'",
    "UPDATE messages SET route = 'relay'",
    "UPDATE messages SET tls = 'optional'",
    'UPDATE messages SET priority = 0',
    'UPDATE messages SET priority = 6',
    "UPDATE messages SET tags = '[x'",
    'UPDATE recipients SET due_ms = due_ms + 1e12',
    'UPDATE recipients SET attempts = 9',
    'UPDATE messages SET size = size + 1',
    'UPDATE messages SET checksum = checksum + 1',
    "UPDATE messages SET id = 'x' || substr(id, 2)",
  ]
  const path = await directory(t)
  const mails = alterations.map(() => message(['user@a.example'], { sandbox: true }))
  await keep(path, [...mails, message(['good@a.example'])])
  for (const [i, text] of alterations.entries())
    sql(path, `${text} WHERE ${text.includes('recipients') ? '' : 'messages.'}key = ?`, i + 1)

  await using opened = await openSqlite(path)
  const { store } = opened
  const rows = await store.schedule(0, 100)
  const claims = await store.lease(keysOf(rows), 'node', T0, T0 + 1000)
  t.same(
    claims.flatMap(({ recipients }) => recipients.map(({ address }) => address)),
    ['good@a.example'],
  )
  const list = (await store.list({ states: ['held'] }, null, 100)).rows
  t.equal(list.length, alterations.length)
  for (const { recipient } of list) t.equal(recipient.reason, 'damaged', `${alterations[recipient.key - 1]}`)
  t.equal((await opened.events()).filter(({ type }) => type === 'held').length, alterations.length)
  t.same(await store.schedule(0, 100), [])
})
