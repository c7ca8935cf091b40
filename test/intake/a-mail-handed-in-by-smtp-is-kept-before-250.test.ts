import { createTransport } from 'nodemailer'
import t from 'tap'
import { certificate, loggedIn, openRig, PASSWORD, submit } from './rig.ts'

for (const kind of ['starttls', 'tls'] as const)
  void t.test(`nodemailer hands in a mail over ${kind}`, async (t) => {
    const rig = await openRig(t)
    const transport = createTransport({
      host: 'localhost',
      port: rig.port(kind),
      secure: kind === 'tls',
      requireTLS: true,
      tls: { ca: certificate().cert as Buffer },
      auth: { user: 'app', pass: PASSWORD },
    })
    const sent = await transport.sendMail({
      from: 'App <app@example.com>',
      to: ['one@example.net', 'two@example.net'],
      bcc: 'hidden@example.net',
      subject: 'Grüße',
      text: '.a line with a dot\n.\n..and more\n',
      headers: { 'X-Relevo-Tag': 'receipt', 'X-Relevo-Priority': 'high' },
    })
    transport.close()
    const message = rig.queue.messages[0]!
    t.equal(rig.queue.messages.length, 1)
    t.equal(sent.response, `250 2.0.0 queued as ${message.id}`)
    t.strictSame(
      message.recipients.map((recipient) => recipient.address),
      ['one@example.net', 'two@example.net', 'hidden@example.net'],
    )
    t.equal(message.reversePath, 'app@example.com')
    t.equal(message.sendingDomain, 'example.com')
    t.equal(message.submitter, 'smtp:app')
    t.equal(message.priority, 'high')
    t.equal(message.subject, 'Grüße')
    t.strictSame(message.tags, ['receipt'])
    t.equal(message.sandbox, true)
    const text = Buffer.from(message.content).toString('latin1')
    t.match(text, /^Received: from \[127\.0\.0\.1\] .*\r\n\tby mail\.relevo\.test \(Relevo\) with ESMTPSA id /)
    t.match(text, /\r\n\r\n\.a line with a dot\r\n\.\r\n\.\.and more\r\n$/)
    t.notMatch(text, /bcc|x-relevo/i)
    t.strictSame(
      rig.queue.events.map((event) => [event.type, event.recipient]),
      message.recipients.map((recipient) => ['queued', recipient.address]),
    )
  })

void t.test('250 comes only after the commit', async (t) => {
  const rig = await openRig(t)
  rig.queue.commitMs = 150
  const wire = await loggedIn(rig.port('tls'))
  const started = performance.now()
  t.match(await submit(wire), /^250 2\.0\.0 queued as [0-9a-z]{26}$/)
  t.ok(performance.now() - started > 149)
  t.equal(rig.queue.messages.length, 1)
  wire.close()
})

void t.test('a second mail goes over the same session, and QUIT ends it', async (t) => {
  const rig = await openRig(t)
  const wire = await loggedIn(rig.port('tls'))
  t.match(await submit(wire), /^250 /)
  t.match(await submit(wire), /^250 /)
  t.match(await wire.say('QUIT'), /^221 2\.0\.0 /)
  await wire.end()
  t.equal(rig.queue.messages.length, 2)
})
