import t from 'tap'
import { RawClient } from '#world'
import { DaemonRig, DOMAIN } from './daemon-rig.ts'

type Status = { queue: Record<string, number> }
type Mails = { mails: { kind: string; mail_from: string; result: { led_to: string } | null }[] }

async function submit(rig: DaemonRig, to: string, parameters = '', from = `app@${DOMAIN}`): Promise<string> {
  const client = await RawClient.open(rig.ports.trusted)
  await client.reply()
  for (const line of ['EHLO app.test', `MAIL FROM:<${from}>`, `RCPT TO:<${to}>${parameters}`]) {
    const reply = await client.ask(line)
    if (reply.code !== 250) {
      client.close()
      return reply.lines.join(' ')
    }
  }
  await client.ask('DATA')
  const reply = await client.ask(`From: <${from}>\r\nTo: <${to}>\r\nSubject: Hello\r\n\r\nHello.\r\n.`)
  client.close()
  return reply.lines.join(' ')
}

/** Hands a mail to port 25 and answers with the reply to the last line said. */
async function toPort25(rig: DaemonRig, from: string, to: string, content: string): Promise<string> {
  const client = await RawClient.open(rig.ports.inbound)
  await client.reply()
  await client.ask('EHLO mx.test')
  await client.ask(`MAIL FROM:<${from}>`)
  const rcpt = await client.ask(`RCPT TO:<${to}>`)
  if (rcpt.code !== 250) {
    client.close()
    return rcpt.lines.join(' ')
  }
  await client.ask('DATA')
  const reply = await client.ask(`${content}\r\n.`)
  client.close()
  return reply.lines.join(' ')
}

const empty = (rig: DaemonRig) => async (): Promise<boolean> => {
  const { queue } = await rig.api.get<Status>('/status')
  return queue.ready === 0 && queue.leased === 0
}

void t.test('an unknown user bounces, is suppressed, and the sender who asked gets a DSN', async (t) => {
  await using rig = await DaemonRig.open({ bad: 'rcpt550' })
  t.match(
    await submit(rig, 'nobody@bad.test', ' NOTIFY=FAILURE ORCPT=rfc822;nobody@bad.test'),
    /^250 2\.0\.0 queued as /,
  )
  t.match(await submit(rig, 'silent@bad.test', ' NOTIFY=NEVER'), /^250 /)
  t.ok(await rig.until(() => rig.mx.taken.length === 1))
  await rig.until(empty(rig))
  t.equal(rig.mx.taken.length, 1, 'one notice, for the one that was asked for')
  const [dsn] = rig.mx.taken
  t.equal(dsn?.reversePath, '', 'with the null reverse-path')
  t.same(dsn?.recipients, [`app@${DOMAIN}`])
  const text = dsn?.content.toString('latin1') ?? ''
  t.match(text, /Content-Type: multipart\/report; report-type=delivery-status/)
  t.match(text, /Final-Recipient: rfc822; nobody@bad\.test\r\nAction: failed\r\nStatus: 5\.1\.1\r\n/)
  t.match(text, /Original-Recipient: rfc822;nobody@bad\.test/)
  t.match(text, /DKIM-Signature: /, 'signed')
  t.match(await submit(rig, 'nobody@bad.test'), /^550 5\.7\.1 <nobody@bad\.test> is suppressed since 20\d\d-/)
})

void t.test(
  'a bounce to the signed return path suppresses; a forged one, a stranger and a relay attempt do not get in',
  async (t) => {
    await using rig = await DaemonRig.open()
    await submit(rig, 'friend@good.test')
    t.ok(await rig.until(() => rig.mx.taken.length === 1))
    const path = rig.mx.taken[0]?.reversePath ?? ''
    t.match(path, /^[a-z2-7]{34}@bounces\.sender\.test$/)
    const report = [
      'From: MAILER-DAEMON@mx.test',
      `To: ${path}`,
      'Subject: Undelivered Mail Returned to Sender',
      'Content-Type: multipart/report; report-type=delivery-status; boundary=b',
      '',
      '--b',
      'Content-Type: text/plain',
      '',
      'It did not work.',
      '--b',
      'Content-Type: message/delivery-status',
      '',
      'Reporting-MTA: dns; mx.test',
      '',
      'Final-Recipient: rfc822; friend@good.test',
      'Action: failed',
      'Status: 5.1.1',
      'Diagnostic-Code: smtp; 550 5.1.1 no such user',
      '--b--',
    ].join('\r\n')
    const forged = `${path[0] === 'a' ? 'b' : 'a'}${path.slice(1)}`
    t.match(await toPort25(rig, '', forged, report), /^550 5\.1\.1/)
    t.match(await toPort25(rig, 'x@else.test', 'someone@else.test', report), /^55\d 5\.7\.1/)
    t.same((await rig.api.get<{ suppressions: unknown[] }>('/bounces')).suppressions, [])
    t.match(await toPort25(rig, '', path.toUpperCase(), report), /^250 /, 'case does not matter')
    const suppressed = async (): Promise<boolean> =>
      (await rig.api.get<{ suppressions: unknown[] }>('/bounces')).suppressions.length === 1
    t.ok(await rig.until(suppressed))
    t.match(await submit(rig, 'friend@good.test'), /^550 5\.7\.1 .*suppressed since/)
    const { events } = await rig.api.get<{ events: { type: string }[] }>('/events?recipient=friend@good.test')
    t.same(
      events.map((event) => event.type),
      ['queued', 'sent', 'late-bounce'],
      'the outcome stays as it was',
    )
  },
)

void t.test('postmaster mail is stored, listed and sent on as an attachment from our postmaster', async (t) => {
  await using rig = await DaemonRig.open({ more: '' })
  await rig.end('SIGTERM')
  const { readFileSync, writeFileSync } = await import('node:fs')
  const text = readFileSync(rig.configFile, 'utf8')
  writeFileSync(rig.configFile, text.replace('[inbound]\n', '[inbound]\nforward_to = "admin@good.test"\n'))
  await rig.start()
  const content = 'From: person@else.test\r\nTo: postmaster@mail.sender.test\r\nSubject: Question\r\n\r\nWho are you?'
  t.match(await toPort25(rig, 'person@else.test', 'postmaster@mail.sender.test', content), /^250 /)
  t.ok(await rig.until(() => rig.mx.taken.length === 1))
  const forwarded = rig.mx.taken[0]?.content.toString('latin1') ?? ''
  t.match(forwarded, /From: Postmaster <postmaster@mail\.sender\.test>/)
  t.match(forwarded, /Content-Type: message\/rfc822/)
  t.match(forwarded, /Who are you\?/)
  const { mails } = await rig.api.get<Mails>('/inbound?kind=postmaster')
  t.match(mails, [
    { kind: 'postmaster', mail_from: 'person@else.test', result: { led_to: 'sent on to admin@good.test' } },
  ])
})

void t.test('a message is delivered signed and over TLS where it is offered, and /metrics counts it', async (t) => {
  await using rig = await DaemonRig.open()
  await submit(rig, 'friend@good.test')
  t.ok(await rig.until(() => rig.mx.taken.length === 1))
  t.match(rig.mx.taken[0]?.tls, /TLS/)
  const content = rig.mx.taken[0]?.content.toString('latin1') ?? ''
  t.equal(content.match(/^DKIM-Signature:/gim)?.length, 2, 'RSA and Ed25519')
  await rig.until(empty(rig))
  const metrics = await (await fetch(`http://127.0.0.1:${rig.ports.metrics}/metrics`)).text()
  t.match(metrics, /relevo_events_total\{type="sent",way="mx"\} 1/)
  t.match(metrics, /relevo_queue_recipients\{state="sent"\} 1/)
  t.match(metrics, /relevo_event_loop_delay_seconds\{quantile="0.999"\} [\d.e-]+$/m)
  t.equal((await fetch(`http://127.0.0.1:${rig.ports.metrics}/healthz`)).status, 200)
  t.same(await (await fetch(`http://127.0.0.1:${rig.ports.metrics}/readyz`)).json(), {
    ready: true,
    mode: 'live',
    problems: [],
  })
})
