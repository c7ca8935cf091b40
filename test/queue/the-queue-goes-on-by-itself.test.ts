import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { silentLog } from '#base'
import type { Config } from '#config'
import { type NewEvent, Queue } from '#queue'
import { manualClock, tempDir } from '#world'
import { message, queued, settlement, T0 } from '../contract/queue-messages.ts'
import type { OpenStore } from '../contract/queue-store.ts'
import { openSqlite, queueDefaults } from '../contract/sqlite-driver.ts'
import { smallDisk } from './small-disk.ts'

const DAY_MS = 86_400_000

async function open(t: Test, directory?: string, settings: Partial<Config['queue']> = {}) {
  let path = directory
  if (path === undefined) {
    const made = await tempDir()
    t.teardown(() => made[Symbol.asyncDispose]())
    path = made.path
  }
  const config = { ...queueDefaults, min_free_bytes: 0, ...settings }
  const clock = manualClock(T0)
  const told: NewEvent[] = []
  const opened: OpenStore = await openSqlite(path, settings)
  const start = (): Promise<Queue> =>
    Queue.open({
      store: opened.store,
      ...{ config, directory: path, owner: 'node', clock, log: silentLog },
      onEvents: (events) => told.push(...events),
    })
  const queues = [await start()]
  t.teardown(async () => {
    for (const queue of queues) await queue[Symbol.asyncDispose]()
    await opened[Symbol.asyncDispose]()
  })
  /** As after a kill: nobody ended the one before. */
  const reopen = async (): Promise<Queue> => {
    queues.push(await start())
    return queues.at(-1)!
  }
  return { queue: queues[0]!, clock, told, opened, path, reopen }
}

void t.test('mail is offered when it is due, by priority, and told of after its commit', async (t) => {
  const { queue, clock, told } = await open(t)
  let woken = 0
  queue.onDue(() => {
    woken += 1
  })
  const later = message(['one@a.example'], { notBeforeMs: T0 + 60_000, priority: 'urgent' })
  const now = message(['two@b.example'])
  await queue.accept(later, queued(later))
  t.equal(woken, 0)
  await queue.accept(now, queued(now))
  t.equal(woken, 1)
  t.equal(told.length, 2)
  t.same(queue.nextDestination(), { domain: 'b.example', priority: 'normal' })
  t.equal(queue.backlog(), 1)
  const [claim] = await queue.claim('b.example')
  t.equal(queue.nextDestination(), null)
  t.same(await queue.claim('b.example'), [])
  await queue.settle([settlement(claim!, 'deferred', { dueMs: T0 + 30_000 })])
  await clock.advance(29_000)
  t.equal(queue.nextDestination(), null)
  await clock.advance(1000)
  t.equal(woken, 2)
  t.same(queue.nextDestination(), { domain: 'b.example', priority: 'normal' })
  await clock.advance(30_000)
  t.equal(woken, 3)
  t.same(queue.nextDestination(), { domain: 'a.example', priority: 'urgent' })
  t.equal(queue.dueFor('a.example'), 1)
})

void t.test('nobody has time for what is due: the timer does not fire in a circle', async (t) => {
  const { queue, clock } = await open(t)
  let woken = 0
  // As when all connections are at work: it is woken and does not look.
  queue.onDue(() => {
    woken += 1
  })
  const later = message(['one@a.example'], { notBeforeMs: T0 + 10 })
  await queue.accept(later, queued(later))
  queue.park('b.example', T0 + 20, 'warmup-cap')
  await clock.advance(1000)
  t.equal(woken, 2, 'once for each of the two times')
})

void t.test('why says what each recipient waits for', async (t) => {
  const { queue } = await open(t)
  const mail = message(['a@parked.example', 'a@busy.example', 'a@free.example', 'a@held.example'])
  await queue.accept(mail, queued(mail))
  queue.park('parked.example', T0 + 60_000, 'warmup-cap')
  queue.block('busy.example')
  await queue.steer('hold', { domain: 'held.example' }, 'look first', { dryRun: false, limit: 5 })
  t.same(await queue.why(mail.id), [
    { address: 'a@parked.example', state: 'ready', reason: 'warmup-cap', untilMs: T0 + 60_000 },
    { address: 'a@busy.example', state: 'ready', reason: 'destination-concurrency', untilMs: null },
    { address: 'a@free.example', state: 'ready', reason: 'new', untilMs: null },
    { address: 'a@held.example', state: 'held', reason: 'look first', untilMs: null },
  ])
  const [claim] = await queue.claim('free.example')
  await queue.settle([settlement(claim!, 'deferred', { dueMs: T0 + 300_000, reason: 'greylisted' })])
  t.match((await queue.why(mail.id))[2], { state: 'deferred', reason: 'greylisted', untilMs: T0 + 300_000 })
  t.same(await queue.why('unknown'), [])
})

void t.test('a clock that is set takes no lease from an attempt, and strands no mail', async (t) => {
  const { queue, clock } = await open(t)
  const under = message(['one@a.example'])
  const waits = message(['two@a.example'])
  await queue.accept(under, queued(under))
  await queue.accept(waits, queued(waits))
  const [claim] = await queue.claim('a.example')
  clock.jump(30 * DAY_MS)
  await clock.advance(60_000)
  // The look for lost leases is made in the writer; a write behind it has its answer after it.
  await queue.note([], [])
  t.equal((await queue.counts()).leased, 1, '30 days on, the lease stands')
  clock.jump(-60 * DAY_MS)
  t.same(queue.nextDestination(), { domain: 'a.example', priority: 'normal' })
  const [other] = await queue.claim('a.example')
  t.equal(other?.message.id, waits.id, '30 days back, what was due is still due')
  await clock.advance(60_000)
  await queue.note([], [])
  t.same(await queue.settle([settlement(claim!, 'sent'), settlement(other!, 'sent')]), [
    { kind: 'settled' },
    { kind: 'settled' },
  ])
})

void t.test('a clock that is set shortens no wait, ends no lifetime, and moves what was appointed', async (t) => {
  for (const byMs of [30 * DAY_MS, -30 * DAY_MS, 3_600_000, -3_600_000]) {
    const { queue, clock } = await open(t)
    const waits = message(['waits@a.example'])
    const parked = message(['parked@b.example'])
    const later = message(['later@c.example'], { notBeforeMs: T0 + 20 * DAY_MS, expiresMs: T0 + 24 * DAY_MS })
    for (const mail of [waits, parked, later]) await queue.accept(mail, queued(mail))
    const [claim] = await queue.claim('a.example')
    await queue.settle([settlement(claim!, 'deferred', { dueMs: T0 + 60_000 })])
    queue.park('b.example', T0 + 60_000, 'warmup-cap')
    await clock.advance(30_000)
    clock.jump(byMs)
    t.equal(queue.nextDestination(), null, `set by ${byMs}: nothing is due before its time`)
    t.same(await queue.claimExpired(10), [], 'and no lifetime is over')
    // Those that were appointed are planned anew.
    for (let i = 0; i < 50 && byMs >= 20 * DAY_MS && queue.dueFor('c.example') === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      queue.nextDestination()
    }
    t.equal(queue.dueFor('c.example'), byMs >= 20 * DAY_MS ? 1 : 0, 'what was appointed follows the clock')
    if (byMs >= 20 * DAY_MS) t.equal((await queue.claim('c.example')).length, 1)
    await clock.advance(30_000)
    const [again] = await queue.claim('a.example')
    t.equal(again?.message.id, waits.id, 'it is due when its wait is over')
    t.equal(again?.message.expiresMs, waits.expiresMs + byMs, 'and its lifetime is as long as it was')
    t.equal((await queue.claim('b.example'))[0]?.message.id, parked.id, 'so are those of a destination that waited')
    await queue.settle([settlement(again!, 'deferred', { dueMs: clock.now() + 60_000 })])
    const young = message(['young@d.example'], { acceptedMs: clock.now() })
    await queue.accept(young, queued(young))
    t.equal((await queue.claim('d.example'))[0]?.message.expiresMs, young.expiresMs, 'mail of the new time has its own')
    await clock.advance(59_000)
    t.same(await queue.claim('a.example'), [])
    await clock.advance(1000)
    t.equal((await queue.claim('a.example')).length, 1)
  }
})

void t.test('mail that a clock ahead deferred, found by one that is right: it waits two days at most', async (t) => {
  const { queue, clock, reopen } = await open(t)
  const mail = message(['one@a.example'])
  const later = message(['later@b.example'], { notBeforeMs: T0 + 20 * DAY_MS })
  for (const one of [mail, later]) await queue.accept(one, queued(one))
  const [claim] = await queue.claim('a.example')
  await queue.settle([settlement(claim!, 'deferred', { dueMs: T0 + 30 * DAY_MS })])
  const again = await reopen()
  clock.skip(2 * DAY_MS - 1000)
  t.equal(again.nextDestination(), null)
  clock.skip(1000)
  t.equal(again.nextDestination()?.domain, 'a.example')
  t.equal((await again.claim('a.example'))[0]?.message.id, mail.id)
  clock.skip(18 * DAY_MS)
  t.equal(again.nextDestination()?.domain, 'b.example', 'what was appointed keeps its time')
})

void t.test('those that may be the cause of crashes go one at a time, while others go on', async (t) => {
  const { queue, clock, reopen, opened } = await open(t)
  const mail = message(['one@a.example', 'two@b.example', 'three@c.example'])
  await queue.accept(mail, queued(mail))
  let last: Queue = queue
  for (let crash = 0; crash < 2; crash++) {
    for (const domain of ['a.example', 'b.example', 'c.example']) t.equal((await last.claim(domain)).length, 1)
    last = await reopen()
  }
  const other = message(['other@d.example'])
  await last.accept(other, queued(other))
  const offered = (): string[] => ['a', 'b', 'c', 'd'].filter((name) => last.dueFor(`${name}.example`) > 0)
  last.nextDestination()
  t.same(offered(), ['a', 'd'])
  const [claim] = await last.claim('a.example')
  last.nextDestination()
  t.same(offered(), ['d'], 'the next waits for the end of this one')
  await last.settle([settlement(claim!, 'sent', { atMs: clock.now() })])
  last.nextDestination()
  t.same(offered(), ['b', 'd'])
  await clock.advance(60_000)
  last.nextDestination()
  t.same(offered(), ['b', 'c', 'd'], 'one that is not tried for a minute holds up no other')
  t.equal((await opened.store.counts()).held, 0)
})

void t.test('a lease that was forgotten is taken back when it ends', async (t) => {
  const { queue, clock } = await open(t, undefined, { lease: 60 })
  const mail = message(['one@a.example'])
  await queue.accept(mail, queued(mail))
  await queue.claim('a.example')
  await clock.advance(30_000)
  await queue.note([], [])
  t.equal(queue.nextDestination(), null)
  for (let i = 0; i < 50 && queue.nextDestination() === null; i++) {
    await clock.advance(31_000)
    await queue.note([], [])
  }
  const [claim] = await queue.claim('a.example')
  t.match(claim?.recipients[0], { fence: 2, maybeDuplicate: true })
})

void t.test('after a restart everything that waits is offered, and what was leased is flagged', async (t) => {
  const first = await open(t)
  const mails = [message(['a@a.example']), message(['b@b.example']), message(['c@c.example'])]
  for (const mail of mails) await first.queue.accept(mail, queued(mail))
  await first.queue.claim('b.example')
  await first.queue.steer('hold', { domain: 'c.example' }, 'x', { dryRun: false, limit: 1 })
  await first.queue[Symbol.asyncDispose]()
  await first.opened[Symbol.asyncDispose]()
  const { queue } = await open(t, first.path)
  t.equal(queue.backlog(), 2)
  t.equal((await queue.claim('a.example'))[0]?.recipients[0]?.maybeDuplicate, false)
  t.equal((await queue.claim('b.example'))[0]?.recipients[0]?.maybeDuplicate, true)
  t.same(await queue.claim('c.example'), [])
})

void t.test('the retention goes in small steps, and takes all that is old enough', async (t) => {
  const { queue, clock, opened } = await open(t)
  const suppressed = { reason: 'manual', detail: '' }
  const crowd = Array.from({ length: 1500 }, (_, i) => ({
    address: `u${i}@a.example`,
    domain: 'a.example',
    suppressed,
  }))
  for (let i = 0; i < 3; i++) await queue.accept(message([], { recipients: crowd }), [])
  const young = message([], { acceptedMs: T0 + 1, recipients: crowd.slice(0, 1) })
  await queue.accept(young, [])
  t.same(await opened.store.retire(T0 + 1, 10), { removed: 1, more: true }, 'one step removes 2,000 recipients at most')
  clock.skip(30 * DAY_MS + 1)
  t.equal(await queue.runRetention(), 2)
  t.ok(await queue.message(young.id))
  clock.skip(1)
  t.equal(await queue.runRetention(), 1)
  t.same(await opened.countedStates(), {})
})

void t.test('too little free space: new mail is refused, and what is there goes on', async (t) => {
  const { queue, clock } = await open(t, undefined, { min_free_bytes: 1 })
  const mail = message()
  await queue.accept(mail, queued(mail))
  const poor = await open(t, undefined, { min_free_bytes: Number.MAX_SAFE_INTEGER })
  await t.rejects(poor.queue.accept(mail, queued(mail)), {
    code: 'insufficient-storage',
    remedy: /Free some space/,
  })
  t.equal((await poor.queue.counts()).ready, 0)
  await clock.advance(1)
  t.equal((await queue.claim('a.example')).length, 1)
})

void t.test(
  'a full disk loses nothing: mail is refused, claims wait, outcomes are recorded when there is room',
  async (t) => {
    const disk = await smallDisk(t, 24)
    if (disk === null) return
    const { queue, clock, opened } = await open(t, disk.path)
    const mails = [message(['one@a.example']), message(['two@a.example'])]
    for (const mail of mails) await queue.accept(mail, queued(mail))
    const [claim] = await queue.claim('a.example')
    disk.fill()
    const large = message(['x@b.example'], { content: new Uint8Array(3_000_000) })
    await t.rejects(queue.accept(large, queued(large)), { code: 'insufficient-storage' })
    let recorded = false
    const settling = queue.settle([settlement(claim!, 'sent', { reason: 'x'.repeat(100_000) })]).then((results) => {
      recorded = true
      return results
    })
    await t.rejects(queue.claim('a.example'), { code: /FULL|ENOSPC/ })
    t.equal(queue.dueFor('a.example'), 1, 'what could not be leased is due as before')
    await clock.advance(3000)
    await pause(50)
    t.equal(recorded, false)
    disk.empty()
    for (let i = 0; i < 100 && !recorded; i++) {
      await clock.advance(1000)
      await pause(10)
    }
    t.same(await settling, [{ kind: 'settled' }])
    t.equal((await queue.claim('a.example'))[0]?.message.id, mails[1]!.id)
    const again = message(['x@b.example'], { content: new Uint8Array(3_000_000) })
    t.equal((await queue.accept(again, queued(again))).kind, 'accepted', 'mail is taken again by itself')
    t.same(await opened.countedStates(), { ready: 1, leased: 1, sent: 1 })
  },
)
