import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { silentLog } from '#base'
import { type NewEvent, Queue, type QueueStore } from '#queue'
import { manualClock, tempDir } from '#world'
import { message, queued, settlement, T0 } from '../contract/queue-messages.ts'
import { openSqlite, queueDefaults } from '../contract/sqlite-driver.ts'

/** Accepts two messages, leases both, settles the first as sent, and ends with that settlement never having reached the store. */
async function killed(path: string): Promise<{ sent: string; other: string }> {
  await using opened = await openSqlite(path)
  const store = new Proxy(opened.store, {
    get: (of, name) =>
      name === 'settle'
        ? () => new Promise(() => {})
        : (of[name as keyof QueueStore] as (...args: unknown[]) => unknown).bind(of),
  })
  const queue = await Queue.open({ store, ...options(path) })
  const [one, two] = [message(['one@a.example']), message(['two@a.example'])]
  for (const each of [one, two]) await queue.accept(each, queued(each))
  const [first] = await queue.claim('a.example')
  await queue.claim('a.example')
  void queue.settle([settlement(first!, 'sent')])
  return first!.message.id === one.id ? { sent: one.id, other: two.id } : { sent: two.id, other: one.id }
}

function options(directory: string, onEvents: (events: readonly NewEvent[]) => void = () => {}) {
  const config = { ...queueDefaults, min_free_bytes: 0 }
  return { config, directory, owner: 'node', clock: manualClock(T0), log: silentLog, onEvents }
}

void t.test('a kill between the 250 of a peer and its commit costs no copy', async (t) => {
  await using directory = await tempDir()
  const { sent, other } = await killed(directory.path)
  const told: NewEvent[] = []
  await using opened = await openSqlite(directory.path)
  await using queue = await Queue.open({
    store: opened.store,
    ...options(directory.path, (events) => told.push(...events)),
  })
  t.match(await queue.message(sent), { recipients: [{ state: 'sent', maybeDuplicate: false }] })
  t.equal(told.filter(({ type, messageId }) => type === 'sent' && messageId === sent).length, 1)
  t.match(
    await queue.message(other),
    { recipients: [{ state: 'ready', maybeDuplicate: true }] },
    'the other is not known',
  )
  const claims = await queue.claim('a.example', 10)
  t.same(
    claims.map((claim) => claim.message.id),
    [other],
  )
})

void t.test('a note that is cut off, damaged or old means nothing', async (t) => {
  for (const [what, spoil] of [
    ['cut off', (path: string) => truncateSync(path, readFileSync(path).indexOf(10) - 5)],
    [
      'damaged',
      (path: string) => writeFileSync(path, readFileSync(path, 'latin1').replace('"sent"', '"seNt"'), 'latin1'),
    ],
    ['no text at all', (path: string) => writeFileSync(path, Buffer.alloc(100_000, 0xff))],
  ] as const) {
    await using directory = await tempDir()
    const { sent } = await killed(directory.path)
    spoil(join(directory.path, 'relevo.sent'))
    await using opened = await openSqlite(directory.path)
    await using queue = await Queue.open({ store: opened.store, ...options(directory.path) })
    t.match(await queue.message(sent), { recipients: [{ state: 'ready', maybeDuplicate: true }] }, what)
  }

  await using directory = await tempDir()
  const { sent } = await killed(directory.path)
  const note = readFileSync(join(directory.path, 'relevo.sent'))
  for (let start = 0; start < 2; start++) {
    await using opened = await openSqlite(directory.path)
    await using queue = await Queue.open({ store: opened.store, ...options(directory.path) })
    t.match(await queue.message(sent), { recipients: [{ state: 'sent' }] })
    t.equal((await opened.store.counts()).sent, 1, 'once, however often it is read')
    await queue[Symbol.asyncDispose]()
    writeFileSync(join(directory.path, 'relevo.sent'), note)
  }
})

void t.test('after an orderly end nothing is noted', async (t) => {
  await using directory = await tempDir()
  await killed(directory.path)
  await using opened = await openSqlite(directory.path)
  await using queue = await Queue.open({ store: opened.store, ...options(directory.path) })
  const [claim] = await queue.claim('a.example')
  await queue.settle([settlement(claim!, 'sent')])
  t.match(readFileSync(join(directory.path, 'relevo.sent'), 'latin1'), claim!.message.id)
  await queue[Symbol.asyncDispose]()
  t.notMatch(readFileSync(join(directory.path, 'relevo.sent'), 'latin1'), claim!.message.id)
})
