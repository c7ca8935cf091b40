import type { Test } from 'tap'
import type { Config } from '#config'
import { type Claim, DamagedContent, type QueueFilter, type QueueStore, type RecipientState } from '#queue'
import { tempDir } from '#world'
import { attemptRecord, body, event, message, queued, settlement, T0 } from './queue-messages.ts'

/** An open store, and what can be seen of it from beside. */
export interface OpenStore extends AsyncDisposable {
  readonly store: QueueStore
  /** All events, in the order they were written. */
  events(): Promise<readonly SeenEvent[]>
  suppressions(): Promise<readonly { address: string; scope: string; reason: string; count: number }[]>
  counters(): Promise<readonly { name: string; period: string; value: number }[]>
  /** Recipients in each state, really counted. */
  countedStates(): Promise<Partial<Record<RecipientState, number>>>
}

export type SeenEvent = {
  readonly id: string
  readonly type: string
  readonly message_id: string | null
  readonly recipient_key: number | null
  readonly recipient: string | null
  readonly detail: string
}

export type QueueDriver = {
  open(directory: string, settings?: Partial<Config['queue']>): Promise<OpenStore>
}

const LEASE_MS = 600_000
const LARGE = 60_000

/** What every driver of `QueueStore` promises. */
export async function queueStoreSuite(t: Test, driver: QueueDriver): Promise<void> {
  async function fresh(t: Test, settings: Partial<Config['queue']> = {}) {
    const directory = await tempDir()
    t.teardown(() => directory[Symbol.asyncDispose]())
    return { directory: directory.path, open: () => driver.open(directory.path, settings) }
  }

  /** Accepts a message and leases all of its recipients that are due. */
  async function claimed(store: QueueStore, of = message(), nowMs = T0): Promise<Claim> {
    const { due } = await store.accept(of, queued(of))
    const [claim] = await store.lease(keysOf(due), 'node', nowMs, nowMs + LEASE_MS)
    return claim!
  }

  await t.test(
    'what was accepted is there after a reopen, with its events and the keys of its recipients',
    async (t) => {
      const { open } = await fresh(t)
      const sent = message([], {
        tags: ['welcome', 'it"s'],
        metadata: { user: '17' },
        envelopeId: 'env-1',
        ret: 'hdrs',
        priority: 'high',
        campaign: 'spring',
        category: 'news',
        route: 'relay',
        smtpUtf8: true,
        tls: 'required',
        recipients: [
          {
            address: 'one@a.example',
            domain: 'a.example',
            notify: ['failure', 'delay'],
            originalRecipient: 'rfc822;first@a.example',
          },
          { address: 'two@b.example', domain: 'b.example' },
        ],
      })
      {
        await using opened = await open()
        const { result, due } = await opened.store.accept(sent, queued(sent))
        t.same(result, { kind: 'accepted', id: sent.id })
        t.same(
          due.map(({ domain, priority, dueMs }) => ({ domain, priority, dueMs })),
          [
            { domain: 'a.example', priority: 'high', dueMs: T0 },
            { domain: 'b.example', priority: 'high', dueMs: T0 },
          ],
        )
      }
      await using opened = await open()
      const view = (await opened.store.message(sent.id))!
      const { content: _content, recipients: _recipients, notBeforeMs: _notBefore, ...head } = sent
      t.match(view, head)
      t.equal(view.size, sent.content.length)
      t.equal(view.contentKept, true)
      t.same(await opened.store.content(sent.id), Buffer.from(sent.content))
      t.same(
        view.recipients.map(({ address, state, tries }) => ({ address, state, tries })),
        [
          { address: 'one@a.example', state: 'ready', tries: [] },
          { address: 'two@b.example', state: 'ready', tries: [] },
        ],
      )
      const events = await opened.events()
      t.same(
        events.map((seen) => [seen.type, seen.message_id, seen.recipient, seen.recipient_key]),
        view.recipients.map(({ address, key }) => ['queued', sent.id, address, key]),
      )
      const rows = await opened.store.schedule(0, 10)
      t.same(keysOf(rows), keysOf(view.recipients))
      const claims = await opened.store.lease(keysOf(rows), 'node', T0, T0 + LEASE_MS)
      t.same(
        claims[0]!.recipients.map(({ address, notify, originalRecipient }) => ({ address, notify, originalRecipient })),
        [
          {
            address: 'one@a.example',
            notify: ['failure', 'delay'],
            originalRecipient: 'rfc822;first@a.example',
          },
          { address: 'two@b.example', notify: null, originalRecipient: null },
        ],
      )
      const { metadata: _metadata, ...claimHead } = head
      t.match(claims[0]!.message, claimHead)
      t.equal((await opened.store.recipient(rows[0]!.key))?.recipient.address, 'one@a.example')
      t.equal(await opened.store.recipient(9999), null)
      t.equal(await opened.store.message('unknown'), null)
    },
  )

  await t.test('an idempotency key is answered with the first message, also after a reopen', async (t) => {
    const { open } = await fresh(t)
    const idempotency = { scope: 'token:1', key: 'k', fingerprint: 'f' }
    const first = message(['one@a.example'], { idempotency })
    const again = (over = {}) => {
      const next = message(['one@a.example'], { idempotency: { ...idempotency, ...over } })
      return [next, queued(next)] as const
    }
    {
      await using opened = await open()
      const together = await Promise.all([
        opened.store.accept(first, queued(first)),
        opened.store.accept(...again()),
        opened.store.accept(...again({ fingerprint: 'other' })),
      ])
      t.same(
        together.map(({ result }) => result),
        [
          { kind: 'accepted', id: first.id },
          { kind: 'repeated', id: first.id, same: true },
          { kind: 'repeated', id: first.id, same: false },
        ],
      )
      t.same(together[1].due, [])
    }
    await using opened = await open()
    t.same((await opened.store.accept(...again())).result, { kind: 'repeated', id: first.id, same: true })
    const other = { kind: 'repeated', id: first.id, same: false }
    t.same((await opened.store.accept(...again({ fingerprint: 'other' }))).result, other)
    t.equal((await opened.store.accept(...again({ scope: 'token:2' }))).result.kind, 'accepted')
    t.equal((await opened.store.accept(...again({ key: 'k2' }))).result.kind, 'accepted')
    t.equal((await opened.store.counts()).ready, 3, 'one message for each key')
    t.equal((await opened.events()).length, 3)
    t.equal(await opened.store.forgetKeys(T0 + 6 * 86_400_000, 10), 0)
    t.equal(await opened.store.forgetKeys(T0 + 8 * 86_400_000, 2), 2, 'no more than asked')
    t.equal(await opened.store.forgetKeys(T0 + 8 * 86_400_000, 2), 1)
    t.equal((await opened.store.accept(...again())).result.kind, 'accepted', 'a forgotten key is new')
  })

  await t.test('old events go, the oldest first and no more than asked', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    for (let day = 0; day < 5; day++) {
      const one = message(['one@a.example'], { acceptedMs: T0 + day * 86_400_000 })
      await store.accept(one, queued(one))
    }
    const all = await opened.events()
    t.equal(await store.forgetEvents(T0, 10), 0, 'none is older')
    t.equal(await store.forgetEvents(T0 + 2.5 * 86_400_000, 2), 2)
    t.equal(await store.forgetEvents(T0 + 2.5 * 86_400_000, 2), 1)
    t.equal(await store.forgetEvents(T0 + 2.5 * 86_400_000, 2), 0)
    t.same(await opened.events(), all.slice(3))
  })

  await t.test('a recipient suppressed at acceptance is final at once, the others go on', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const suppressed = { reason: 'hard-bounce', detail: '5.1.1' }
    const mixed = message([], {
      recipients: [
        { address: 'gone@a.example', domain: 'a.example', suppressed },
        { address: 'here@a.example', domain: 'a.example' },
      ],
    })
    const { due } = await store.accept(mixed, queued(mixed))
    t.equal(due.length, 1)
    const view = (await store.message(mixed.id))!
    t.match(view.recipients[0], { state: 'suppressed', reason: 'hard-bounce', settledMs: T0, dueMs: null })
    t.equal(view.recipients[1]?.state, 'ready')
    const [claim] = await store.lease(keysOf(view.recipients), 'node', T0, T0 + LEASE_MS)
    t.same(
      claim?.recipients.map(({ address }) => address),
      ['here@a.example'],
      'a suppressed one cannot be leased',
    )
    const all = message([], { recipients: [{ address: 'gone@a.example', domain: 'a.example', suppressed }] })
    t.same((await store.accept(all, queued(all))).due, [])
    t.equal((await store.message(all.id))?.contentKept, false, 'nothing is kept for nobody')
    t.same(await store.retire(T0 + 1, 10), { removed: 1, more: false }, 'it is settled: the retention takes it')
  })

  await t.test('scheduled mail waits for its time', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const later = message(['one@a.example'], { notBeforeMs: T0 + 60_000 })
    const { due } = await store.accept(later, queued(later))
    t.equal(due[0]?.dueMs, T0 + 60_000)
    t.match((await store.message(later.id))?.recipients[0], {
      state: 'scheduled',
      reason: 'scheduled',
      dueMs: T0 + 60_000,
    })
    t.same(await store.lease(keysOf(due), 'node', T0 + 59_999, T0 + LEASE_MS), [])
    const [claim] = await store.lease(keysOf(due), 'node', T0 + 60_000, T0 + LEASE_MS)
    t.equal(claim?.message.id, later.id)
    const past = message(['one@a.example'], { notBeforeMs: T0 - 5 })
    t.equal((await store.accept(past, queued(past))).due[0]?.dueMs, T0 - 5)
    t.equal((await store.message(past.id))?.recipients[0]?.state, 'ready')
  })

  await t.test('only what is due and claimable is leased, and the fence grows', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const claim = await claimed(store, message(['one@a.example', 'two@a.example']))
    t.same(
      claim.recipients.map(({ fence }) => fence),
      [1, 1],
    )
    const [one, two] = keysOf(claim.recipients)
    t.same(await store.lease([one!, two!, 777], 'node', T0, T0 + LEASE_MS), [], 'leased, leased, unknown')
    const { due } = await store.settle([
      settlement(claim, 'deferred', { dueMs: T0 + 300_000 }, 0),
      settlement(claim, 'sent', {}, 1),
    ])
    t.same(
      due.map(({ key, dueMs }) => [key, dueMs]),
      [[one, T0 + 300_000]],
    )
    t.same(await store.lease([one!, two!], 'node', T0 + 299_999, T0 + LEASE_MS), [], 'not due, and sent')
    const [again] = await store.lease([one!, two!], 'node', T0 + 300_000, T0 + LEASE_MS)
    t.same(
      again?.recipients.map(({ key, fence, attempts }) => ({ key, fence, attempts })),
      [{ key: one, fence: 2, attempts: 1 }],
    )
    const racing = message(['r@a.example'])
    const { due: rows } = await store.accept(racing, queued(racing))
    const both = await Promise.all([
      store.lease(keysOf(rows), 'one', T0, T0 + LEASE_MS),
      store.lease(keysOf(rows), 'two', T0, T0 + LEASE_MS),
    ])
    t.same(
      both.map((claims) => claims.length),
      [1, 0],
      'of two that ask at once one gets it',
    )
  })

  await t.test('a settlement that comes too late changes nothing', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const claim = await claimed(store)
    const key = claim.recipients[0]!.key
    await store.reclaim('node', T0 + 1)
    const late = settlement(claim, 'sent', {
      suppressions: [suppression('user@a.example')],
      counters: [{ name: 'c', period: '', delta: 1 }],
      spawn: message(['app@sender.example']),
    })
    const before = await opened.events()
    t.same((await store.settle([late])).results, [{ kind: 'stale' }], 'taken back')
    const [again] = await store.lease([key], 'other', T0 + 1, T0 + LEASE_MS)
    t.equal(again?.recipients[0]?.fence, 2)
    t.same(
      await store.settle([late, { ...late, key: 999 }]),
      { results: [{ kind: 'stale' }, { kind: 'stale' }], due: [], done: [] },
      'leased by another',
    )
    const view = (await store.message(claim.message.id))!
    t.match(view.recipients[0], { state: 'leased', tries: [] })
    t.same(await opened.events(), before)
    t.same(await opened.suppressions(), [])
    t.same(await opened.counters(), [])
    t.equal((await store.message(late.spawn!.id)) ?? null, null)
    const done = settlement(again!, 'sent')
    t.same((await store.settle([done, done])).results, [{ kind: 'settled' }, { kind: 'stale' }], 'and never twice')
    t.equal((await opened.events()).filter(({ type }) => type === 'sent').length, 1)
  })

  await t.test('a settlement writes state, attempt, event, suppression, counter and what is born of it', async (t) => {
    const { open } = await fresh(t)
    const dsn = message(['app@sender.example'], { reversePath: '', submitter: 'system', content: body('DSN', LARGE) })
    const claimedMessage = message()
    {
      await using opened = await open()
      const claim = await claimed(opened.store, claimedMessage)
      const { results, due, done } = await opened.store.settle([
        settlement(claim, 'bounced', {
          attempt: attemptRecord({ replyCode: 550, reply: '550 5.1.1 no such user', transcript: 'RCPT …' }),
          suppressions: [suppression('user@a.example')],
          counters: [{ name: 'warmup:192.0.2.1', period: '2026-11-24', delta: 2 }],
          spawn: dsn,
        }),
      ])
      t.same(results, [{ kind: 'settled' }])
      t.same(
        due.map(({ domain, dueMs }) => [domain, dueMs]),
        [['sender.example', T0]],
      )
      t.same(done, [claim.message.id])
    }
    await using opened = await open()
    const view = (await opened.store.message(claimedMessage.id))!
    t.match(view.recipients[0], { state: 'bounced', reason: 'test-bounced', settledMs: T0, attempts: 1 })
    t.match(view.recipients[0]?.tries, [
      { replyCode: 550, reply: '550 5.1.1 no such user', transcript: 'RCPT …', endedMs: T0 + 40 },
    ])
    t.same(
      (await opened.events()).map(({ type }) => type),
      ['queued', 'bounced'],
    )
    t.match(await opened.suppressions(), [{ address: 'user@a.example', reason: 'hard-bounce', count: 1 }])
    t.match(await opened.counters(), [{ name: 'warmup:192.0.2.1', period: '2026-11-24', value: 2 }])
    t.same(await opened.store.content(dsn.id), Buffer.from(dsn.content))
    t.equal((await opened.store.message(dsn.id))?.recipients[0]?.state, 'ready')
  })

  await t.test('a message born of a settlement is born once for its key', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const { due } = await store.accept(message(['user@a.example']), [])
    const born: string[] = []
    for (let turn = 0; turn < 3; turn++) {
      const [claim] = await store.lease(keysOf(due), 'node', T0 + turn, T0 + LEASE_MS)
      const idempotency = { scope: 'delay-notice', key: '7', fingerprint: '' }
      const spawn = message(['app@sender.example'], { idempotency })
      const settled = await store.settle([settlement(claim!, 'deferred', { dueMs: T0 + turn + 1, spawn })])
      t.same(settled.results, [{ kind: 'settled' }], 'the settlement holds in any case')
      if ((await store.message(spawn.id)) !== null) born.push(spawn.id)
    }
    t.equal(born.length, 1)
  })

  await t.test('one settlement of many that cannot be written undoes them all, and leaves no trace', async (t) => {
    const { open } = await fresh(t)
    const mails = [message(['one@a.example'], { content: body('large', LARGE) }), message(['two@a.example'])]
    const spawn = message(['app@sender.example'], { content: body('DSN', LARGE) })
    {
      await using opened = await open()
      const { store } = opened
      const claims = [await claimed(store, mails[0]!), await claimed(store, mails[1]!)]
      const before = await opened.events()
      const together = await Promise.allSettled([
        // The second cannot be: a leased recipient is not cancelled. The first had dropped its content by then.
        store.settle([settlement(claims[0]!, 'sent', { spawn }), settlement(claims[1]!, 'cancelled')]),
        store.accept(message(['three@a.example'], { id: 'bystander', content: body('large', LARGE) }), []),
      ])
      t.same(
        together.map(({ status }) => status),
        ['rejected', 'fulfilled'],
        'who shares the commit is not touched',
      )
      t.same(await opened.events(), before)
      t.same(definite(await store.counts()), await opened.countedStates())
      t.same(await opened.countedStates(), { leased: 2, ready: 1 })
    }
    await using opened = await open()
    t.same(await opened.store.content(mails[0]!.id), Buffer.from(mails[0]!.content))
    t.same(await opened.store.content('bystander'), Buffer.from(body('large', LARGE)))
    t.equal(await opened.store.message(spawn.id), null)
  })

  await t.test('with the last recipient settled the content goes, in a row or a segment alike', async (t) => {
    for (const bytes of [100, LARGE]) {
      const { open } = await fresh(t)
      await using opened = await open()
      const { store } = opened
      const mail = message(['one@a.example', 'two@a.example'], { content: body('kept', bytes) })
      const claim = await claimed(store, mail)
      t.same((await store.settle([settlement(claim, 'sent', {}, 0)])).done, [])
      t.same(await store.content(mail.id), Buffer.from(mail.content), 'one of two is settled: kept')
      t.same((await store.settle([settlement(claim, 'bounced', {}, 1)])).done, [mail.id])
      await t.rejects(store.content(mail.id), DamagedContent)
      t.equal((await store.message(mail.id))?.contentKept, false)
    }
  })

  await t.test('contents stay until the retention ends when they are kept', async (t) => {
    const { open } = await fresh(t, { keep_bodies: true })
    await using opened = await open()
    const { store } = opened
    for (const bytes of [100, LARGE]) {
      const mail = message(['one@a.example'], { content: body('kept', bytes) })
      await store.settle([settlement(await claimed(store, mail), 'sent')])
      t.same(await store.content(mail.id), Buffer.from(mail.content))
      t.equal((await store.message(mail.id))?.contentKept, true)
      t.equal((await store.retire(T0 + 1, 10)).removed, 1)
      await t.rejects(store.content(mail.id), DamagedContent)
    }
  })

  await t.test(
    'a lease cut off by a crash is taken back and flagged; at the second with it alone leased it is held as poison',
    async (t) => {
      const { open } = await fresh(t)
      const mail = message()
      const first = await open()
      await first.store.accept(mail, queued(mail))
      for (let crash = 1; crash <= 3; crash++) {
        const { store } = first
        const before = await store.schedule(0, 10)
        t.equal(before.length, 1, `before crash ${crash} it is due`)
        const atMs = before[0]!.dueMs
        const [claim] = await store.lease(keysOf(before), 'node', atMs, atMs + LEASE_MS)
        t.equal(claim?.recipients[0]?.maybeDuplicate, crash > 1)
        t.same(await store.schedule(0, 10), [], 'what is leased is not due')
        t.same(await store.reclaim('another', atMs), [], 'leases of others stay')
        t.same(await store.reclaim(null, atMs + LEASE_MS), [], 'a lease that has not ended stays')
        // The second is no crash: the lease ended by time.
        const back = await (crash === 2 ? store.reclaim(null, atMs + LEASE_MS + 1) : store.reclaim('node', atMs))
        t.equal(back.length, crash < 3 ? 1 : 0)
      }
      await first[Symbol.asyncDispose]()
      await using opened = await open()
      const { store } = opened
      t.match((await store.message(mail.id))?.recipients[0], { state: 'held', reason: 'poison', maybeDuplicate: true })
      t.match((await opened.events()).at(-1), { type: 'held', recipient: 'user@a.example', detail: /poison/ })
      t.same(await store.schedule(0, 10), [])
      await store.steer('release', {}, 'by hand', T0, { dryRun: false, limit: 10 })
      const [key] = keysOf(await store.schedule(0, 10))
      const [claim] = await store.lease([key!], 'node', T0, T0 + LEASE_MS)
      await store.settle([settlement(claim!, 'deferred', { dueMs: T0 })])
      await store.lease([key!], 'node', T0, T0 + LEASE_MS)
      t.equal((await store.reclaim('node', T0)).length, 1, 'an attempt that ended begins the count anew')
    },
  )

  await t.test('hold, release, cancel and retry move what a filter means, and only what may be moved', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const now = { dryRun: false, limit: 100 }
    const mails = {
      ready: message(['r@a.example', 'r@b.example'], { tags: ['x'], campaign: 'c1' }),
      scheduled: message(['s@a.example'], { notBeforeMs: T0 + 3_600_000, priority: 'low' }),
      deferred: message(['d@a.example'], { sendingDomain: 'other.example' }),
      leased: message(['l@a.example']),
      sent: message(['o@a.example']),
    }
    const late = settlement(await claimed(store, mails.deferred), 'deferred', { dueMs: T0 + 300_000 })
    await store.settle([late])
    await claimed(store, mails.leased)
    await store.settle([settlement(await claimed(store, mails.sent), 'sent')])
    await store.accept(mails.ready, queued(mails.ready))
    await store.accept(mails.scheduled, queued(mails.scheduled))

    const dry = await store.steer('hold', {}, 'look', T0, { dryRun: true, limit: 100 })
    t.match(dry, { count: 4, due: [], gone: [], done: [], more: false })
    t.equal((await store.counts()).held, 0, 'a dry run only counts')
    const some = await store.steer('hold', {}, 'look', T0, { dryRun: false, limit: 3 })
    t.match(some, { count: 3, more: true })
    t.match(await store.steer('hold', {}, 'look', T0, { dryRun: false, limit: 3 }), { count: 1, more: false })
    t.same(await opened.countedStates(), { held: 4, leased: 1, sent: 1 })
    t.match((await store.message(mails.deferred.id))?.recipients[0], { state: 'held', reason: 'look' })
    t.same(await store.schedule(0, 10), [], 'what is held is not due')

    const filters: readonly [QueueFilter, number][] = [
      [{ domain: 'b.example' }, 1],
      [{ recipient: 'r@a.example' }, 1],
      [{ sendingDomain: 'other.example' }, 1],
      [{ messageId: mails.ready.id }, 2],
      [{ priority: 'low' }, 1],
      [{ tag: 'x' }, 2],
      [{ campaign: 'c1' }, 2],
      [{ acceptedBeforeMs: T0 }, 0],
      [{ acceptedAfterMs: T0 - 1 }, 4],
      [{ states: ['ready', 'sent'] }, 0],
      [{ domain: 'a.example', tag: 'x' }, 1],
    ]
    for (const [filter, count] of filters) {
      const found = await store.steer('release', filter, 'go', T0, { dryRun: true, limit: 100 })
      t.equal(found.count, count, JSON.stringify(filter))
    }
    const released = await store.steer('release', {}, 'go', T0 + 5, now)
    t.same(released.due.map(({ dueMs }) => dueMs).sort(), [T0 + 5, T0 + 5, T0 + 5, T0 + 3_600_000])
    t.match(
      (await store.message(mails.scheduled.id))?.recipients[0],
      { state: 'scheduled', dueMs: T0 + 3_600_000 },
      'scheduled mail goes back to its time',
    )
    t.match((await store.message(mails.deferred.id))?.recipients[0], { state: 'ready', reason: 'go' })

    const retried = await store.steer('retry', {}, 'now', T0 + 6, now)
    t.equal(retried.count, 1, 'the scheduled one')
    t.equal(retried.due[0]?.dueMs, T0 + 6)

    const cancelled = await store.steer('cancel', { messageId: mails.ready.id }, 'not wanted', T0 + 7, now)
    t.match(cancelled, { count: 2, done: [mails.ready.id], due: [] })
    t.equal(cancelled.gone.length, 2)
    const view = (await store.message(mails.ready.id))!
    t.match(view.recipients[1], { state: 'cancelled', reason: 'not wanted', settledMs: T0 + 7 })
    t.equal(view.contentKept, false)
    const types = (await opened.events()).filter(({ message_id: id }) => id === mails.ready.id).map(({ type }) => type)
    t.same(types, ['queued', 'queued', 'held', 'held', 'released', 'released', 'cancelled', 'cancelled'])
    t.equal((await store.steer('cancel', {}, 'all', T0 + 8, now)).count, 2)
    t.same(await opened.countedStates(), { leased: 1, sent: 1, cancelled: 4 }, 'a lease is never cancelled')
    t.same(definite(await store.counts()), await opened.countedStates())
  })

  await t.test('the list shows what a filter means, newest first, in pages that neither miss nor repeat', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const priorities = ['urgent', 'high', 'normal', 'low'] as const
    const mails = Array.from({ length: 40 }, (_, i) =>
      message([`u${i % 5}@d${i % 3}.example`, `v${i}@e.example`], {
        acceptedMs: T0 + i * 1000,
        priority: priorities[i % 4]!,
        tags: i % 2 === 0 ? ['even', `n${i}`] : [],
        sendingDomain: i < 10 ? 'first.example' : 'second.example',
        ...(i % 7 === 0 ? { campaign: 'seven' } : {}),
      }),
    )
    for (const mail of mails) await store.accept(mail, queued(mail))
    const firstTwenty = keysOf(await store.schedule(0, 20))
    for (const claim of await store.lease(firstTwenty, 'node', T0 + 60_000, T0 + LEASE_MS))
      await store.settle([settlement(claim, 'sent', {}, 0)])

    const everything = (await store.list({}, null, 1000)).rows
    t.equal(everything.length, 80)
    t.same(
      keysOf(everything.map(({ recipient }) => recipient)),
      [...keysOf(everything.map(({ recipient }) => recipient))].sort((a, b) => b - a),
    )
    const meant: readonly [QueueFilter, (row: (typeof everything)[number]) => boolean][] = [
      [{}, () => true],
      [{ states: ['sent'] }, (row) => row.recipient.state === 'sent'],
      [{ states: ['ready', 'leased'] }, (row) => ['ready', 'leased'].includes(row.recipient.state)],
      [{ states: [] }, () => false],
      [{ messageId: mails[3]!.id }, (row) => row.id === mails[3]!.id],
      [{ recipient: 'u1@d1.example' }, (row) => row.recipient.address === 'u1@d1.example'],
      [{ domain: 'd2.example' }, (row) => row.recipient.domain === 'd2.example'],
      [{ sendingDomain: 'first.example' }, (row) => row.sendingDomain === 'first.example'],
      [{ priority: 'urgent' }, (row) => row.priority === 'urgent'],
      [{ tag: 'even' }, (row) => row.tags.includes('even')],
      [{ tag: 'n8' }, (row) => row.tags.includes('n8')],
      [{ campaign: 'seven' }, (row) => row.campaign === 'seven'],
      [{ acceptedBeforeMs: T0 + 5000 }, (row) => row.acceptedMs < T0 + 5000],
      [{ acceptedAfterMs: T0 + 30_000 }, (row) => row.acceptedMs > T0 + 30_000],
      [
        { tag: 'even', states: ['ready'], domain: 'e.example' },
        (row) => row.tags.includes('even') && row.recipient.state === 'ready' && row.recipient.domain === 'e.example',
      ],
    ]
    for (const [filter, means] of meant) {
      const found: number[] = []
      let cursor: string | null = null
      do {
        const page: Awaited<ReturnType<QueueStore['list']>> = await store.list(filter, cursor, 7)
        t.ok(page.rows.length <= 7)
        found.push(...keysOf(page.rows.map(({ recipient }) => recipient)))
        cursor = page.next
      } while (cursor !== null)
      t.same(found, keysOf(everything.filter(means).map(({ recipient }) => recipient)), JSON.stringify(filter))
    }
    const first = await store.list({}, null, 10)
    const fresher = message(['new@a.example'], { acceptedMs: T0 + 99_000 })
    await store.accept(fresher, queued(fresher))
    t.same(
      keysOf((await store.list({}, first.next, 10)).rows.map(({ recipient }) => recipient)),
      keysOf(everything.slice(10, 20).map(({ recipient }) => recipient)),
      'what comes meanwhile moves no page',
    )
  })

  await t.test('the schedule is read back in pages, each waiting recipient once', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    for (let i = 0; i < 10; i++) {
      const mail = message([`a${i}@a.example`, `b${i}@b.example`], i % 3 === 0 ? { notBeforeMs: T0 + 1000 } : {})
      await store.accept(mail, queued(mail))
    }
    const seen: number[] = []
    for (let after = 0; ; ) {
      const rows = await store.schedule(after, 3)
      seen.push(...keysOf(rows))
      if (rows.length < 3) break
      after = rows.at(-1)!.key
    }
    t.equal(seen.length, 20)
    t.same(
      seen,
      [...new Set(seen)].sort((a, b) => a - b),
    )
  })

  await t.test('the retention removes what was settled before its time, and nothing else', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const old = message(['old@a.example'])
    const half = message(['one@a.example', 'two@a.example'])
    const held = message(['h@a.example'])
    const young = message(['young@a.example'])
    await store.settle([settlement(await claimed(store, old), 'sent')])
    await store.settle([settlement(await claimed(store, half), 'sent', {}, 0)])
    await store.accept(held, queued(held))
    await store.steer('hold', { messageId: held.id }, 'x', T0, { dryRun: false, limit: 1 })
    await store.settle([settlement(await claimed(store, young), 'bounced', { atMs: T0 + 5000 })])
    t.equal((await store.retire(T0 + 1000, 10)).removed, 1)
    t.equal(await store.message(old.id), null)
    for (const kept of [half, held, young]) t.ok(await store.message(kept.id))
    t.equal((await store.retire(T0 + 1000, 10)).removed, 0)
    t.equal((await store.retire(T0 + 5001, 10)).removed, 1)
    t.same(definite(await store.counts()), await opened.countedStates())
    t.ok(
      (await opened.events()).some(({ message_id: id }) => id === old.id),
      'what happened stays on record',
    )
  })

  await t.test('of many leased in crashes the cause is found, and only it is held', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const addresses = Array.from({ length: 10 }, (_, i) => `u${i}@a.example`)
    const mail = message(addresses)
    const { due } = await store.accept(mail, queued(mail))
    const poison = due[3]!.key
    for (let crash = 1; crash <= 2; crash++) {
      await store.lease(keysOf(due), 'node', T0, T0 + LEASE_MS)
      const back = await store.reclaim('node', T0)
      t.equal(back.length, 10)
      t.same(
        back.map(({ suspect }) => suspect),
        addresses.map(() => (crash === 2 ? true : undefined)),
      )
    }
    t.ok(
      (await store.schedule(0, 20)).every(({ suspect }) => suspect),
      'after a restart too',
    )
    // One at a time: those that end are suspects no more.
    const [claim] = await store.lease([due[0]!.key], 'node', T0, T0 + LEASE_MS)
    const settled = await store.settle([settlement(claim!, 'deferred', { dueMs: T0 })])
    t.equal(settled.due[0]?.suspect, undefined)
    for (let crash = 3; crash <= 4; crash++) {
      // Beside it goes what never was in a crash.
      const other = message([`new${crash}@b.example`])
      const { due: more } = await store.accept(other, [])
      await store.lease([poison, due[0]!.key, ...keysOf(more)], 'node', T0, T0 + LEASE_MS)
      t.equal((await store.reclaim('node', T0)).length, crash === 3 ? 3 : 2)
    }
    t.match((await store.recipient(poison))?.recipient, { state: 'held', reason: 'poison' })
    t.same((await opened.countedStates()).held, 1)
  })

  await t.test('an unbelievable message is held as damaged with an event a recipient', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const { store } = opened
    const mail = message(['one@a.example', 'two@a.example', 'three@a.example'])
    const claim = await claimed(store, mail)
    await store.settle([settlement(claim, 'sent', {}, 0), settlement(claim, 'deferred', { dueMs: T0 + 9 }, 1)])
    t.equal(await store.holdDamaged(mail.id, T0), 2)
    t.same(await opened.countedStates(), { sent: 1, held: 2 })
    t.equal((await opened.events()).filter(({ type }) => type === 'held').length, 2)
    t.same((await store.settle([settlement(claim, 'sent', {}, 2)])).results, [{ kind: 'stale' }], 'its lease is over')
    t.equal(await store.holdDamaged(mail.id, T0), 0)
    t.equal(await store.holdDamaged('unknown', T0), 0)
  })

  await t.test('events that follow an outcome are noted with what they lead to, once', async (t) => {
    const { open } = await fresh(t)
    await using opened = await open()
    const late = event('late-bounce', { messageId: 'm', recipient: 'user@a.example' })
    const counters = [{ name: 'bounces', period: '', delta: 1 }]
    await opened.store.note([late], [suppression('user@a.example')], counters)
    await opened.store.note([late], [], counters)
    t.equal((await opened.events()).length, 1)
    t.equal((await opened.suppressions()).length, 1)
    t.match(await opened.counters(), [{ name: 'bounces', value: 2 }])
  })
}

export function keysOf(rows: readonly { readonly key: number }[]): number[] {
  return rows.map(({ key }) => key)
}

/** Counts without those that are nought. */
export function definite(counts: Readonly<Record<RecipientState, number>>): Partial<Record<RecipientState, number>> {
  return Object.fromEntries(Object.entries(counts).filter(([, n]) => n !== 0))
}

export function suppression(address: string) {
  return {
    address,
    scope: 'everything',
    reason: 'hard-bounce' as const,
    class: 'invalid-recipient',
    smtpCode: '550',
    detail: 'no such user',
    atMs: T0,
    untilMs: null,
  }
}
