import t from 'tap'
import { loggedIn, MESSAGE, openRig, submit, Wire } from './rig.ts'

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60))

void t.test('connections of one address, also unfinished handshakes, also after STARTTLS', async (t) => {
  const rig = await openRig(t, { settings: { max_connections_per_address: 4 } })
  const first = Wire.open(rig.port('starttls'))
  await first.reply()
  await first.say('EHLO client.example')
  await first.starttls()
  const second = Wire.open(rig.port('tls')) // never begins its handshake
  const third = Wire.openTls(rig.port('tls'))
  await third.reply()
  const fourth = Wire.open(rig.port('starttls'))
  await fourth.reply()
  await settled()
  t.equal(rig.server.connections, 4)
  const fifth = Wire.open(rig.port('starttls'))
  t.match(await fifth.reply(), /^421 4\.7\.0 mail\.relevo\.test too many connections from your address$/)
  t.equal(await Wire.openTls(rig.port('tls')).reply(), null)
  for (const wire of [first, second, third, fourth]) wire.close()
  for (let i = 0; i < 50 && rig.server.connections > 0; i++) await settled()
  t.equal(rig.server.connections, 0, 'all are given back')
  const again = Wire.open(rig.port('starttls'))
  t.match(await again.reply(), /^220 /)
  again.close()
})

void t.test('connections of all together', async (t) => {
  const rig = await openRig(t, { settings: { max_connections: 2 } })
  const wires = [Wire.open(rig.port('starttls')), Wire.open(rig.port('starttls'))]
  for (const wire of wires) await wire.reply()
  t.match(await Wire.open(rig.port('starttls')).reply(), /^421 4\.3\.2 /)
  for (const wire of wires) wire.close()
})

void t.test('a session without a command is ended, one that trickles bytes too', async (t) => {
  const rig = await openRig(t, { settings: { idle_timeout: 1 } })
  const idle = Wire.open(rig.port('starttls'))
  const trickling = Wire.open(rig.port('starttls'))
  await idle.reply()
  await trickling.reply()
  const timer = setInterval(() => trickling.write('N'), 100)
  t.match(await idle.end(), /^421 4\.4\.2 /)
  t.match(await trickling.end(), /^421 4\.4\.2 /)
  clearInterval(timer)
})

void t.test('a client that waits for its answer is not idle', async (t) => {
  const rig = await openRig(t, { settings: { idle_timeout: 1 } })
  rig.queue.commitMs = 2500
  const wire = await loggedIn(rig.port('tls'))
  t.match(await submit(wire), /^250 /)
  wire.close()
})

void t.test('too many errors end the session, suppressed recipients are none', async (t) => {
  const gone = { reason: 'complaint', class: '', detail: '', firstMs: 0 }
  const rig = await openRig(t, { settings: { max_errors: 5 }, suppressed: new Map([['gone@example.net', gone]]) })
  const wire = await loggedIn(rig.port('tls'))
  await wire.say('MAIL FROM:<app@example.com>')
  for (let i = 0; i < 30; i++)
    t.match(await wire.say('RCPT TO:<gone@example.net>'), /^550 5\.7\.1 .*since 1970-01-01: complaint; /)
  for (let i = 0; i < 4; i++) t.match(await wire.say('RCPT TO:<nobody>'), /^501 /)
  wire.write('RCPT TO:<nobody>\r\n')
  t.match(await wire.end(), /^501 .*\r\n421 4\.7\.0 too many errors/)
})

void t.test('memory for unfinished messages is bounded over all sessions', async (t) => {
  const rig = await openRig(t, { contentBudgetBytes: 500_000, settings: { max_message_bytes: 400_000 } })
  const wires = await Promise.all(Array.from({ length: 4 }, () => loggedIn(rig.port('tls'))))
  for (const wire of wires) {
    await wire.say('MAIL FROM:<app@example.com>')
    await wire.say('RCPT TO:<you@example.net>')
    await wire.say('DATA')
    wire.write(`${MESSAGE}${'x'.repeat(200_000)}`)
    await settled()
  }
  const replies: (string | null)[] = []
  for (const wire of wires) {
    wire.write('\r\n.\r\n')
    replies.push(await wire.reply())
  }
  t.ok(replies.some((reply) => reply?.startsWith('250 ')))
  t.ok(replies.some((reply) => reply?.startsWith('452 4.3.1 ')))
  t.equal(replies.filter((reply) => reply?.startsWith('250 ')).length, rig.queue.messages.length)
  t.match(await submit(wires[3]!), /^250 /, 'and is given back')
  for (const wire of wires) wire.close()
})

void t.test('a client that goes away in the middle of a message leaves nothing', async (t) => {
  const rig = await openRig(t, { contentBudgetBytes: 300_000 })
  for (let i = 0; i < 5; i++) {
    const wire = await loggedIn(rig.port('tls'))
    await wire.say('MAIL FROM:<app@example.com>')
    await wire.say('RCPT TO:<you@example.net>')
    await wire.say('DATA')
    wire.write(`${MESSAGE}${'x'.repeat(200_000)}`)
    await settled()
    wire.close()
  }
  await settled()
  t.equal(rig.queue.messages.length, 0)
  t.equal(rig.server.connections, 0)
  const wire = await loggedIn(rig.port('tls'))
  t.match(await submit(wire, `${MESSAGE}${'x'.repeat(200_000)}`), /^250 /)
  wire.close()
})

void t.test('resets at any moment hurt nobody', async (t) => {
  const rig = await openRig(t)
  const script = `EHLO x\r\nSTARTTLS\r\n\x16\x03\x01\x00\x10`
  for (let i = 0; i < 300; i++) {
    const wire = Wire.open(rig.port(i % 2 === 0 ? 'starttls' : 'tls'))
    await new Promise((resolve) => wire.socket.once('connect', resolve))
    wire.write(script.slice(0, i % script.length))
    if (i % 3 === 0) await new Promise(setImmediate)
    wire.socket.resetAndDestroy()
  }
  const wire = await loggedIn(rig.port('tls'))
  t.match(await submit(wire), /^250 /)
  wire.close()
  for (let i = 0; i < 50 && rig.server.connections > 0; i++) await settled()
  t.equal(rig.server.connections, 0)
})

void t.test('stopping ends idle sessions at once and lets a message finish', async (t) => {
  const rig = await openRig(t)
  rig.queue.commitMs = 300
  const idle = Wire.open(rig.port('starttls'))
  await idle.reply()
  const busy = await loggedIn(rig.port('tls'))
  const answer = submit(busy)
  while (rig.queue.messages.length === 0 && rig.acceptor.waiting === 0) {
    await settled()
    break
  }
  await new Promise((resolve) => setTimeout(resolve, 100))
  const started = performance.now()
  const stopped = rig.server.stop(3000)
  t.match(await idle.end(), /^421 4\.3\.2 shutting down/)
  t.match(await answer, /^250 2\.0\.0 queued as /)
  t.match(await busy.say('MAIL FROM:<app@example.com>'), /^421 /)
  await busy.end()
  await stopped
  t.ok(performance.now() - started < 2500)
  await t.rejects(new Promise((_, reject) => Wire.open(1).socket.once('error', reject)))
})
