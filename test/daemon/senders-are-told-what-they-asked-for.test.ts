import t from 'tap'
import { RawClient } from '#world'
import { DaemonRig, DOMAIN } from './daemon-rig.ts'

const WITHOUT_DSN = ['PIPELINING', 'SIZE 52428800', 'ENHANCEDSTATUSCODES']

async function submit(rig: DaemonRig, to: string, mail: string, rcpt: string): Promise<void> {
  const client = await RawClient.open(rig.ports.trusted)
  await client.reply()
  await client.ask('EHLO app.test')
  await client.ask(`MAIL FROM:<app@${DOMAIN}>${mail}`)
  await client.ask(`RCPT TO:<${to}>${rcpt}`)
  await client.ask('DATA')
  const reply = await client.ask(`From: <app@${DOMAIN}>\r\nTo: <${to}>\r\nSubject: Hello\r\n\r\nThe body.\r\n.`)
  client.close()
  if (reply.code !== 250) throw new Error(reply.lines.join(' '))
}

/** A report from the MX to the return path it was given, as RFC 3464 writes them. */
async function report(rig: DaemonRig, path: string, fields: readonly string[], subject: string): Promise<void> {
  const client = await RawClient.open(rig.ports.inbound)
  await client.reply()
  for (const line of ['EHLO mx.test', 'MAIL FROM:<>', `RCPT TO:<${path}>`, 'DATA']) await client.ask(line)
  const type = 'Content-Type: multipart/report; report-type=delivery-status; boundary=b'
  const head = ['From: MAILER-DAEMON@mx.test', `To: ${path}`, `Subject: ${subject}`, type, '']
  const parts = [
    '--b',
    '',
    subject,
    '--b',
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.test',
    '',
  ]
  await client.ask([...head, ...parts, ...fields, '', '--b--', '.'].join('\r\n'))
  client.close()
}

/** The notices that the sender has. */
function notices(rig: DaemonRig): string[] {
  return rig.mx.taken.filter((mail) => mail.reversePath === '').map((mail) => mail.content.toString('latin1'))
}

void t.test(
  'RFC 3461: a host without DSN takes it, and the sender who asked for success is told it was passed on',
  async (t) => {
    await using rig = await DaemonRig.open({ bad: { offers: WITHOUT_DSN } })
    await submit(rig, 'a@bad.test', ' RET=FULL ENVID=e+2B1', ' NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old@bad.test')
    await submit(rig, 'b@bad.test', '', ' NOTIFY=FAILURE')
    await submit(rig, 'c@bad.test', '', '')
    t.ok(await rig.until(() => notices(rig).length === 1))
    await rig.until(async () => {
      const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
      return queue.sent === 4
    })
    t.equal(notices(rig).length, 1, 'one notice, to the one who asked')
    const text = notices(rig)[0]!
    t.match(text, /Original-Envelope-Id: e\+1/)
    t.match(
      text,
      /Original-Recipient: rfc822;old@bad\.test\r\nFinal-Recipient: rfc822; a@bad\.test\r\nAction: relayed\r\nStatus: 2\./,
    )
    t.notMatch(text, /The body\./, 'the header alone')
  },
)

void t.test(
  'a host with DSN is told what was asked; what it reports to our return path is told on, once',
  async (t) => {
    await using rig = await DaemonRig.open()
    await submit(
      rig,
      'a@good.test',
      ' RET=HDRS ENVID=e+2B1',
      ' NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;old+2Ba@good.test',
    )
    t.ok(await rig.until(() => rig.mx.taken.length === 1))
    t.match(
      rig.mx.commands.find((line) => line.startsWith('MAIL')),
      / RET=HDRS ENVID=e\+2B1$/,
    )
    t.match(
      rig.mx.commands.find((line) => line.startsWith('RCPT')),
      /^RCPT TO:<a@good\.test> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;old\+2Ba@good\.test$/,
    )
    t.same(notices(rig), [], 'nothing is told that the host will tell')
    const path = rig.mx.taken[0]!.reversePath
    const fields = (action: string, status: string) => [
      'Final-Recipient: rfc822; a@good.test',
      `Action: ${action}`,
      `Status: ${status}`,
    ]
    await report(rig, path, fields('delivered', '2.1.5'), 'Successful Mail Delivery Report')
    t.ok(await rig.until(() => notices(rig).length === 1))
    t.match(notices(rig)[0], /Final-Recipient: rfc822; a@good\.test\r\nAction: delivered\r\nStatus: 2\.1\.5/)
    t.match(notices(rig)[0], /Original-Envelope-Id: e\+1[\s\S]*Original-Recipient: rfc822;old\+a@good\.test/)
    await report(rig, path, fields('delivered', '2.1.5'), 'Successful Mail Delivery Report')
    await report(
      rig,
      path,
      [...fields('failed', '5.2.2'), 'Diagnostic-Code: smtp; 552 mailbox full'],
      'Undelivered Mail',
    )
    t.ok(await rig.until(() => notices(rig).length === 2))
    t.match(notices(rig)[1], /Action: failed\r\nStatus: 5\.2\.2/, 'also what turns out later')
    const read = async (): Promise<boolean> => {
      const { mails } = await rig.api.get<{ mails: { result: unknown }[] }>('/inbound?kind=bounce')
      return mails.filter((mail) => mail.result !== null).length === 3
    }
    t.ok(await rig.until(read), 'all three were read')
    t.equal(notices(rig).length, 2, 'success was told once')
  },
)

void t.test('a message that waits longer than delay_notice is told of once to the sender who asked', async (t) => {
  await using rig = await DaemonRig.open({ bad: 'mail451', delivery: 'delay_notice = 2\nretry_after = [1, 1, 3]' })
  await submit(rig, 'a@bad.test', '', ' NOTIFY=FAILURE,DELAY')
  await submit(rig, 'b@bad.test', '', ' NOTIFY=FAILURE')
  t.ok(await rig.until(() => notices(rig).length === 1, 30_000))
  const text = notices(rig)[0]!
  t.match(text, /Final-Recipient: rfc822; a@bad\.test\r\nAction: delayed\r\nStatus: 4\./)
  t.match(text, /Will-Retry-Until: /)
  const tries = async (): Promise<number> => {
    const { events } = await rig.api.get<{ events: { recipient: string }[] }>('/events?type=deferred&limit=1000')
    return events.filter((event) => event.recipient === 'a@bad.test').length
  }
  const before = await tries()
  t.ok(await rig.until(async () => (await tries()) >= before + 2, 30_000), 'it is tried on')
  t.equal(notices(rig).length, 1)
})
