import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { BEHAVIOURS, fastClock, manualClock, type Script } from '#world'
import { hosts, openRig, until } from '../delivery/delivery-rig.ts'

void t.test(
  'I-06 an ambiguous end makes at most K copies and then the outcome uncertain, however long it is tried',
  async (t) => {
    const clock = manualClock()
    const { mx, zones, port } = await hosts(t, {
      drop: BEHAVIOURS.dropafterdot,
      stall: BEHAVIOURS.stallafterdot,
    })
    const rig = await openRig(t, { zones, port, clock })
    rig.start()
    const ids = new Map([
      [await rig.accept('u@drop.test'), 'drop'],
      [await rig.accept('u@stall.test'), 'stall'],
    ])
    for (let passedMs = 0; passedMs < 5 * 86_400_000; ) {
      // What stalls is waited for by the clock; what is under way on real sockets needs a moment, or its lease runs out meanwhile.
      const waiting = rig.outcomes().length < 2
      const stepMs = waiting ? 30_000 : 600_000
      await clock.advance(stepMs)
      passedMs += stepMs
      if (waiting) await pause(15)
    }
    t.ok(await rig.ended(2))
    for (const [id, name] of ids) {
      t.equal(mx[name]!.taken.length, 3, `${name} took three copies in five days`)
      t.strictSame(rig.types(id), ['deferred', 'deferred', 'uncertain'], name)
      t.match((await rig.queue.message(id))!.recipients, [{ state: 'uncertain', maybeDuplicate: true }])
    }
    await rig.everyRecipientEndedOnce()
  },
)

void t.test(
  'I-07 a reply ahead of the content never counts: what follows it does, and the delivery is flagged',
  async (t) => {
    const { mx, zones, port } = await hosts(t, {
      refuses: BEHAVIOURS.earlyreply,
      takes: { data: BEHAVIOURS.earlyreply.data },
    })
    const rig = await openRig(t, { zones, port })
    rig.start()
    const refused = await rig.accept('u@refuses.test')
    const taken = await rig.accept('u@takes.test')
    t.ok(await rig.ended(2))
    const of = (id: string) => rig.outcomes().find((event) => event.messageId === id)
    t.match(of(refused), { type: 'bounced', status: '5.7.1' })
    t.match(of(taken), { type: 'sent', detail: { reply: /taken/, earlyReply: '250 taken already' } })
    t.strictSame([mx.refuses!.taken.length, mx.takes!.taken.length], [0, 1])
    const [attempt] = (await rig.queue.message(taken))!.recipients[0]!.tries
    t.match(attempt!.transcript, /it does not count/)
    await rig.everyRecipientEndedOnce()
  },
)

void t.test('I-08 extra replies end the connection, and none of ten messages is credited with one', async (t) => {
  const { mx, zones, port } = await hosts(t, { desync: BEHAVIOURS.desync })
  const rig = await openRig(t, { zones, port, delivery: { connections_per_site: 1 } })
  for (let i = 0; i < 10; i++) await rig.accept(`u${i}@desync.test`)
  rig.start()
  t.ok(await rig.ended(10))
  const took = mx.desync!.taken.flatMap((taken) => taken.recipients).sort()
  const sent = rig
    .outcomes()
    .filter((event) => event.type === 'sent')
    .map((event) => event.recipient)
    .sort()
  t.strictSame(sent, took, 'each that is recorded as sent was taken, once')
  t.equal(took.length, 10)
  t.equal(mx.desync!.connections, 10)
  await rig.everyRecipientEndedOnce()
})

void t.test(
  'I-09 every try carries the same Message-ID and the same bytes, also after a restart of delivery',
  async (t) => {
    let tries = 0
    const moody: Script = {
      dot: (s) => {
        s.record()
        tries += 1
        if (tries === 3) {
          s.reset()
          return undefined
        }
        return tries < 5 ? '451 4.3.0 later' : '250 2.0.0 taken'
      },
    }
    const { mx, zones, port } = await hosts(t, { moody })
    const rig = await openRig(t, { zones, port, delivery: { retry_after: [1] } })
    const id = await rig.accept('u@moody.test')
    for (let copies = 1; copies <= 5; copies++) {
      rig.start()
      t.ok(await until(() => tries >= copies))
      await rig.stop()
    }
    t.ok(await rig.ended(1))
    const { taken } = mx.moody!
    t.equal(taken.length, 5)
    t.equal(new Set(taken.map(({ sha256 }) => sha256)).size, 1)
    t.equal(new Set(taken.map(({ content }) => /^Message-ID: (.*)$/m.exec(content.toString())![1])).size, 1)
    t.match(taken[0]!.content.toString(), new RegExp(`^Message-ID: <${id}@sending.test>`, 'm'))
    await rig.everyRecipientEndedOnce()
  },
)

void t.test(
  'I-20 each phase ends by its deadline or its limit of bytes: places come free, memory does not grow',
  async (t) => {
    const names = ['nobanner', 'tarpit', 'endlessbanner', 'hugereply', 'slowdot', 'tlshang'] as const
    const { mx, zones, port } = await hosts(t, {
      ...Object.fromEntries(names.map((name) => [name, BEHAVIOURS[name]])),
      slowdot: {
        dot: (s) => {
          s.hang()
          return undefined
        },
      },
      warm: {},
    })
    // Deadlines of a minute in six seconds.
    const clock = fastClock(10)
    const deadlines = Object.fromEntries(
      ['connect', 'banner', 'ehlo', 'tls', 'mail', 'rcpt', 'data', 'body', 'dot'].map((phase) => [
        `${phase}_timeout`,
        40,
      ]),
    )
    const rig = await openRig(t, {
      zones,
      port,
      clock,
      delivery: { ...deadlines, retry_after: [86_400], tls: 'require' },
    })
    const dispatcher = rig.start()
    for (let i = 0; i < 200; i++) await rig.accept(`u${i}@warm.test`)
    t.ok(await rig.ended(200))
    const before = settledRss()
    for (const name of names) for (let i = 0; i < 10; i++) await rig.accept(`u${i}@${name}.test`)
    let peak = 0
    const timer = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage.rss())
    }, 20)
    t.ok(await until(() => names.every((name) => mx[name]!.connections > 0)))
    t.ok(await until(() => dispatcher.active === 0, 30_000), 'every lane came free')
    clearInterval(timer)
    const grownMiB = (peak - before) / 1_048_576
    t.comment(`grew by ${grownMiB.toFixed(1)} MiB at most`)
    t.ok(grownMiB < 20, `${grownMiB} MiB`)
    t.ok(await until(() => names.every((name) => mx[name]!.open === 0)), 'and every connection is closed')
    t.equal((await rig.queue.counts()).leased, 0)
  },
)

function settledRss(): number {
  return process.memoryUsage.rss()
}

for (const together of [true, false])
  void t.test(
    `I-23 of a hundred recipients each ends by its own reply, ${together ? 'in one transaction' : 'one by one'}`,
    async (t) => {
      const { mx, zones, port } = await hosts(t, { partial: BEHAVIOURS.partial })
      const delivery = { retry_after: [1] }
      const rig = await openRig(t, { zones, port, delivery, maxRecipients: together ? 100 : 1 })
      const to = Array.from({ length: 100 }, (_, i) => `u${i}@partial.test`)
      await rig.accept(to)
      rig.start()
      t.ok(await rig.ended(100))
      const ended = (type: string) =>
        rig
          .outcomes()
          .filter((event) => event.type === type)
          .map((event) => event.recipient)
          .sort()
      t.strictSame(ended('bounced'), to.filter((_, i) => i % 3 === 1).sort())
      t.strictSame(ended('sent'), to.filter((_, i) => i % 3 !== 1).sort())
      t.strictSame(mx.partial!.taken.flatMap((taken) => taken.recipients).sort(), ended('sent'), 'one copy each')
      t.equal(rig.events.filter((event) => event.type === 'deferred').length, 33)
      await rig.everyRecipientEndedOnce()
    },
  )
