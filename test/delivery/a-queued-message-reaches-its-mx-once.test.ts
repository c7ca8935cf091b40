import { createHash } from 'node:crypto'
import t from 'tap'
import { generateDkimKey, loadDkimKey } from '#mail'
import { BEHAVIOURS, manualClock } from '#world'
import { hosts, openRig, until } from './delivery-rig.ts'

void t.test('a message is delivered exactly once and recorded', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  const rig = await openRig(t, { zones, port })
  rig.start()
  const id = await rig.accept('to@good.test')
  t.ok(await rig.ended(1))
  await rig.everyRecipientEndedOnce()
  t.equal(mx.good!.taken.length, 1)
  t.strictSame(rig.types(id), ['sent'])
  const view = await rig.queue.message(id)
  const [recipient] = view!.recipients
  t.equal(recipient!.state, 'sent')
  t.match(recipient!.tries, [{ remoteHost: 'mx.good.test', remoteAddress: '127.0.0.1', replyCode: 250, tls: /TLS/ }])
})

void t.test('each recipient of a partial acceptance is settled by its own reply', async (t) => {
  const { mx, zones, port } = await hosts(t, { partial: BEHAVIOURS.partial })
  const rig = await openRig(t, { zones, port, maxRecipients: 100, delivery: { retry_after: [1] } })
  const to = Array.from({ length: 30 }, (_, i) => `u${i}@partial.test`)
  const id = await rig.accept(to)
  rig.start()
  t.ok(await rig.ended(30))
  await rig.everyRecipientEndedOnce()
  const by = (type: string) =>
    rig
      .outcomes()
      .filter((event) => event.type === type)
      .map((event) => event.recipient)
  t.strictSame(by('bounced').sort(), to.filter((_, i) => i % 3 === 1).sort())
  t.strictSame(by('sent').sort(), to.filter((_, i) => i % 3 !== 1).sort())
  t.equal(rig.types(id).filter((type) => type === 'deferred').length, 10)
  t.equal(mx.partial!.taken.flatMap((taken) => taken.recipients).length, 20, 'nobody got two copies')
})

void t.test('a permanent refusal is a bounce event, a bounced state and a suppression, together', async (t) => {
  const { zones, port } = await hosts(t, { no: BEHAVIOURS.rcpt550 })
  const rig = await openRig(t, { zones, port })
  rig.start()
  await rig.accept('gone@no.test')
  t.ok(await rig.ended(1))
  t.match(rig.outcomes(), [{ type: 'bounced', status: '5.1.1', class: 'user-unknown' }])
  t.match(await rig.suppressions.of('gone@no.test'), [{ reason: 'hard-bounce', smtpCode: '550' }])
  const again = await rig.accept('gone@no.test')
  t.ok(await rig.ended(2))
  t.strictSame(rig.types(again), ['suppressed'])
  await rig.everyRecipientEndedOnce()
})

void t.test('greylisting is tried again at the time of the schedule and not before', async (t) => {
  const clock = manualClock()
  const { mx, zones, port } = await hosts(t, { grey: BEHAVIOURS.greylist })
  const rig = await openRig(t, { zones, port, clock })
  rig.start()
  const id = await rig.accept('to@grey.test')
  t.ok(await until(() => rig.types(id).includes('deferred')))
  await clock.advance(299_000)
  t.equal(mx.grey!.commands.filter((line) => line.startsWith('RCPT')).length, 1)
  t.match(await rig.queue.why(id), [{ state: 'deferred', reason: 'greylist' }])
  await clock.advance(32_000)
  t.ok(await rig.ended(1))
  t.equal(mx.grey!.taken.length, 1)
  await rig.everyRecipientEndedOnce()
})

void t.test('every try carries the same bytes, Message-ID and signature', async (t) => {
  const algorithm = 'ed25519-sha256'
  const { privateKeyDer } = await generateDkimKey(algorithm)
  const key = loadDkimKey({ domain: 'sending.test', selector: 's1', algorithm, privateKeyDer })
  let copies = 0
  const { mx, zones, port } = await hosts(t, {
    slow: {
      dot: (s) => {
        s.record()
        copies += 1
        return copies < 4 ? '451 4.3.0 later' : '250 2.0.0 taken'
      },
    },
  })
  const keysFor = async () => [key]
  const rig = await openRig(t, { zones, port, keysFor, delivery: { retry_after: [1] } })
  rig.start()
  await rig.accept('to@slow.test')
  t.ok(await rig.ended(1))
  const [first] = mx.slow!.taken
  t.equal(mx.slow!.taken.length, 4)
  t.match(String(first!.content), /^DKIM-Signature:/)
  t.equal(new Set(mx.slow!.taken.map((taken) => taken.sha256)).size, 1)
  t.equal(first!.sha256, createHash('sha256').update(first!.content).digest('hex'))
  await rig.everyRecipientEndedOnce()
})

void t.test('an end that stays ambiguous makes so many copies and then the outcome uncertain', async (t) => {
  const { mx, zones, port } = await hosts(t, { drop: BEHAVIOURS.dropafterdot })
  const rig = await openRig(t, { zones, port, delivery: { retry_after: [1], uncertain_attempts: 3 } })
  rig.start()
  const id = await rig.accept('to@drop.test')
  t.ok(await rig.ended(1))
  t.equal(mx.drop!.taken.length, 3)
  t.strictSame(rig.types(id), ['deferred', 'deferred', 'uncertain'])
  await rig.everyRecipientEndedOnce()
})

void t.test('mail whose lifetime is over ends as expired without a connection', async (t) => {
  const { mx, zones, port } = await hosts(t, { good: {} })
  const rig = await openRig(t, { zones, port })
  const id = await rig.accept('to@good.test', { expiresMs: rig.clock.now() - 1 })
  const lost = await rig.accept('to@does-not-resolve.test', { expiresMs: rig.clock.now() - 1 })
  rig.start()
  t.ok(await rig.ended(2))
  t.strictSame([rig.types(id), rig.types(lost)], [['expired'], ['expired']])
  t.equal(mx.good!.connections, 0)
  await rig.everyRecipientEndedOnce()
})
