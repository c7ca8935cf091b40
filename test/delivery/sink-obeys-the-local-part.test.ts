import { simpleParser } from 'mailparser'
import t from 'tap'
import { silentLog, systemClock } from '#base'
import { openSink, type Sink, type SinkOptions } from '#delivery'
import { certificate, dialogue, fastClock, load, RawClient, scriptedMx } from '#world'
import { dial, message, opened, said } from './smtp-client-harness.ts'

const FREE = { host: '127.0.0.1', port: 0 }

function sinkWith(changes: Partial<SinkOptions> = {}): Promise<Sink> {
  return openSink({ listen: FREE, clock: systemClock, log: silentLog, hostname: 'sink.test', ...changes })
}

await t.test('each local part has its outcome', async (t) => {
  const expected: Readonly<Record<string, string>> = {
    ...{ anything: 'delivered', 'john.doe+tag': 'delivered', unknowing: 'delivered', '4500-x': 'delivered' },
    ...{ '450-x': 'deferred rcpt rcpt-deferred 4.2.1', '451': 'deferred rcpt rcpt-deferred 4.3.0' },
    ...{ '452-x': 'deferred rcpt rcpt-deferred 4.3.1', '550-x': 'refused rcpt rcpt-refused 5.1.1' },
    ...{ '552-x': 'refused rcpt rcpt-refused 5.2.2', '554-x': 'refused rcpt rcpt-refused 5.7.1' },
    ...{ '550-5.7.26-x': 'refused rcpt rcpt-refused 5.7.26', '599-x': 'refused rcpt rcpt-refused 5.0.0' },
    ...{ '421-x': 'deferred rcpt service-closing 4.3.2 infrastructure' },
    ...{ 'dot-450-x': 'deferred dot dot-deferred 4.2.1', 'dot-554-x': 'refused dot dot-refused 5.7.1' },
    ...{ 'dot-451-4.7.1-x': 'deferred dot dot-deferred 4.7.1', 'DOT-550-X': 'refused dot dot-refused 5.1.1' },
    ...{ full: 'deferred rcpt rcpt-deferred 4.2.2', unknown: 'refused rcpt rcpt-refused 5.1.1' },
    ...{ 'blocked-2': 'refused rcpt rcpt-refused 5.7.1', spam: 'refused dot dot-refused 5.7.1' },
    ...{ ratelimit: 'deferred rcpt service-closing 4.7.0 infrastructure', disabled: 'refused rcpt rcpt-refused 5.2.1' },
    ...{ 'drop-at-rcpt': 'deferred rcpt lost 4.4.2 infrastructure', 'drop-after-dot': 'uncertain dot lost' },
    ...{ 'stall-after-dot-x': 'uncertain dot dot-timeout', toobig: 'refused dot dot-refused 5.3.4' },
  }
  await using sink = await sinkWith()
  for (const [local, outcome] of Object.entries(expected)) {
    const before = sink.taken
    const connection = await opened(sink.address.port, { deadlines: local.startsWith('stall') ? { dotMs: 400 } : {} })
    const sent = await connection.send(message({}, [`${local}@example.test`]))
    const seen = said(sent.results[0]).replace(/connection-(?:closed|reset)/, 'lost')
    // A reset also throws away the answer to MAIL that came just before it.
    t.equal(local === 'drop-at-rcpt' ? seen.replace(' mail ', ' rcpt ') : seen, outcome, local)
    t.equal(sink.taken - before, /^(?:delivered|uncertain)/.test(outcome) ? 1 : 0, `${local}: taken`)
    connection.destroy()
  }
})

await t.test(
  'greylist: later, then taken; slow: taken in time; several recipients each by their own rule',
  async (t) => {
    await using sink = await sinkWith({ clock: fastClock(100) })
    const connection = await opened(sink.address.port)
    const outcomes = async (...to: string[]): Promise<string[]> =>
      (await connection.send(message({}, to))).results.map(said)
    t.strictSame(await outcomes('greylist-a@x.test'), ['deferred rcpt rcpt-deferred 4.7.1'])
    t.strictSame(await outcomes('greylist-a@x.test'), ['delivered'])
    const started = performance.now()
    t.strictSame(await outcomes('slow@x.test', 'b@x.test'), ['delivered', 'delivered'])
    t.ok(performance.now() - started >= 45)
    t.strictSame(await outcomes('a@x.test', 'unknown@x.test', 'full@x.test'), [
      ...['delivered', 'refused rcpt rcpt-refused 5.1.1', 'deferred rcpt rcpt-deferred 4.2.2'],
    ])
    connection.destroy()
  },
)

await t.test('what it took can be read back: envelope, door, TLS and the content byte for byte', async (t) => {
  const { key, cert } = await certificate(['sink.test', '127.0.0.1'])
  const heard: string[] = []
  const relayAuth = { username: 'relay', password: 'secret' }
  await using sink = await sinkWith({
    tls: { key, cert },
    relayListen: FREE,
    relayAuth,
    onMail: (mail) => heard.push(mail.id),
  })
  const content = [Buffer.from('Subject: x\r\n\r\n.\r\n..two\r\nline\r\n')]
  const connection = await opened(sink.address.port, { tls: { mode: 'opportunistic' } })
  const recipients = [{ address: 'a@x.test', notify: ['never'], originalRecipient: null }]
  await connection.send(message({ content, recipients, ret: 'full', envelopeId: 'e1' }))
  await connection.quit()
  const relayed = await opened(sink.relayAddress!.port, { tls: { mode: 'require', verify: false }, auth: relayAuth })
  t.equal(said((await relayed.send(message({}, ['blocked@x.test']))).results[0]), 'delivered', 'the relay takes it')
  t.match(said((await relayed.send(message({}, ['relay-451-x@x.test']))).results[0]), /^deferred rcpt/)
  await relayed.quit()
  t.match(await dial(sink.relayAddress!.port, { auth: { ...relayAuth, password: 'no' } }), {
    ok: false,
    failure: { reply: { code: 535 } },
  })
  const [first, second] = sink.list()
  t.match(first, {
    ...{ door: 'mx', reversePath: 'from@example.test', helo: 'client.test', tls: /^TLSv1/, user: '', answered: true },
    recipients: [{ address: 'a@x.test', parameters: 'NOTIFY=NEVER' }],
    parameters: /RET=FULL ENVID=e1$/,
    bareLineEnds: false,
  })
  t.ok(first!.content.equals(content[0]!))
  t.match(second, { door: 'relay', user: 'relay', tls: /^TLSv1/ })
  t.equal(sink.find(second!.id), second)
  t.strictSame(heard, [first!.id, second!.id])
})

await t.test('bounce-later and complain-later send real reports to the reverse-path', async (t) => {
  await using inbound = await scriptedMx()
  await using sink = await sinkWith({ reportsTo: () => inbound, reportDelayMs: 10 })
  const connection = await opened(sink.address.port)
  const reversePath = 'token@bounces.example.test'
  await connection.send(message({ reversePath }, ['bounce-later@x.test', 'fine@x.test']))
  await connection.send(message({ reversePath }, ['complain-later-2@x.test']))
  await connection.send(message({ reversePath: '' }, ['bounce-later@x.test']))
  await connection.quit()
  while (inbound.taken.length < 2) await new Promise((resolve) => setTimeout(resolve, 10))
  await new Promise((resolve) => setTimeout(resolve, 60))
  t.equal(inbound.taken.length, 2, 'none to the null sender')
  for (const report of inbound.taken)
    t.match(report, { reversePath: '', recipients: [reversePath], bareLineEnds: false })
  const bounce = inbound.taken.find((taken) => taken.content.includes('delivery-status'))!
  t.match(
    bounce.content.toString(),
    /Final-Recipient: rfc822; bounce-later@x\.test\r\nAction: failed\r\nStatus: 5\.1\.1\r\n/,
  )
  const parsed = await simpleParser(bounce.content, { keepDeliveryStatus: true })
  t.equal(parsed.subject, 'Undelivered Mail Returned to Sender')
  t.ok(parsed.attachments.some((part) => part.contentType === 'message/delivery-status'))
  const complaint = inbound.taken.find((taken) => taken !== bounce)!
  t.match(complaint.content.toString(), /Feedback-Type: abuse\r\n[\s\S]*Original-Rcpt-To: <complain-later-2@x\.test>/)
  t.match(complaint.content.toString(), /Subject: hello/)
})

await t.test('it keeps the last messages, bounded in number and bytes', async (t) => {
  await using few = await sinkWith({ keep: { messages: 5 } })
  await load({ port: few.address.port, sessions: 2, messages: 40, to: () => 'a@x.test' })
  t.equal(few.list().length, 5)
  t.ok(few.taken >= 40)
  await using small = await sinkWith({ keep: { bytes: 10_000 } })
  await load({ port: small.address.port, sessions: 2, messages: 40, bodyBytes: 2000, to: () => 'a@x.test' })
  t.ok(small.list().reduce((bytes, mail) => bytes + mail.content.length, 0) <= 10_000)
})

await t.test('it keeps to the protocol', async (t) => {
  await using sink = await sinkWith({ maxMessageBytes: 2000 })
  const { port } = sink.address
  await dialogue(port, [
    ...['<- 220 sink.test', '-> MAIL FROM:<a@b>', '<- 503', '-> EHLO me', '<- 250-PIPELINING', '-> DATA', '<- 503'],
    ...['-> STARTTLS', '<- 502', '-> NONSENSE', '<- 500', '-> MAIL FROM:<a@b> SIZE=3000', '<- 552 5.3.4'],
    ...[
      '-> MAIL FROM:<a@b>',
      '<- 250',
      '-> MAIL FROM:<a@b>',
      '<- 503',
      '-> RCPT TO:<>',
      '<- 501',
      '-> RCPT TO:<c@d>',
      '<- 250',
    ],
    ...['-> DATA', '<- 354', `-> ${'x'.repeat(900)}`, `-> ${'x'.repeat(1200)}`, '-> .', '<- 552', '-> RSET', '<- 250'],
    ...['=> MAIL FROM:<a@b>\\r\\nRCPT TO:<c@d>\\r\\nDATA\\r\\n', '<- 250', '<- 250', '<- 354'],
    ...[
      '=> one\\n.\\nMAIL FROM:<evil@x>\\r.\\r\\r\\n.',
      '<wait 20>',
      '=> \\r',
      '<wait 20>',
      '=> \\nQUIT\\r\\n',
      '<- 250',
      '<- 221',
      '<closed>',
    ],
  ])
  t.equal(sink.taken, 1, 'wrong ends of data split nothing')
  t.equal(sink.list()[0]!.bareLineEnds, true)
  const flood = await RawClient.open(port)
  flood.write('x'.repeat(10_000))
  t.match(await flood.drain(), /500 5\.5\.2/)
})
