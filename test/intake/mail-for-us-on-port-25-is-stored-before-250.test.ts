import { createTransport } from 'nodemailer'
import t from 'tap'
import type { Records } from '#store'
import { openInbound, openRecords, Wire } from './rig.ts'

void t.test('a real client brings a bounce over STARTTLS', async (t) => {
  const inbound = await openInbound(t)
  const transport = createTransport({
    host: '127.0.0.1',
    port: inbound.port,
    requireTLS: true,
    tls: { rejectUnauthorized: false },
  })
  const sent = await transport.sendMail({
    envelope: { from: '', to: ['token@bounces.example.com'] },
    from: 'MAILER-DAEMON@mx.example.net',
    to: 'token@bounces.example.com',
    subject: 'Undelivered',
    text: 'No.',
  })
  transport.close()
  t.match(sent.response, /^250 2\.0\.0 taken as [0-9a-z]{26}$/)
  t.equal((await inbound.rows()).length, 1)
})

void t.test('ten thousand forged tokens: none is taken, all are counted, the sender is slowed', async (t) => {
  const inbound = await openInbound(t)
  let asked = 0
  while (asked < 10_000) {
    const wire = Wire.open(inbound.port)
    await wire.reply()
    wire.write('EHLO x\r\nMAIL FROM:<>\r\n')
    await wire.reply()
    if ((await wire.reply())?.startsWith('450 4.7.0')) {
      wire.close()
      break
    }
    wire.write(
      Array.from({ length: 10 }, (_, i) => `RCPT TO:<${(asked + i).toString(36)}@bounces.example.com>\r\n`).join(''),
    )
    t.notMatch(await wire.end(), /250/)
    asked += 10
  }
  t.ok(asked >= 3000 && asked < 10_000, `turned away after ${asked}`)
  t.equal(inbound.refused.length, asked)
  t.equal((await inbound.rows()).length, 0)
})

void t.test('when it cannot be stored it is not taken', async (t) => {
  const records = await openRecords(t)
  let fault: Error | null = Object.assign(new Error('full'), { code: 'SQLITE_FULL' })
  const failing = {
    query: records.query,
    read: (query: never) => records.read(query),
    write: async (...queries: never[]) => {
      if (fault !== null) throw fault
      return records.write(...queries)
    },
  } as unknown as Records
  const inbound = await openInbound(t, { records: failing })
  const bring = async (): Promise<string | null> => {
    const wire = Wire.open(inbound.port)
    await wire.reply()
    await wire.say('HELO mx')
    await wire.say('MAIL FROM:<>')
    await wire.say('RCPT TO:<token@bounces.example.com>')
    await wire.say('DATA')
    wire.write('Subject: x\r\n\r\nx\r\n.\r\n')
    const reply = await wire.reply()
    wire.close()
    return reply
  }
  t.match(await bring(), /^452 4\.3\.1 /)
  fault = Object.assign(new Error('io'), { code: 'EIO' })
  t.match(await bring(), /^451 4\.3\.0 /)
  t.equal(inbound.kicks(), 0)
  fault = null
  t.match(await bring(), /^250 /)
  t.equal(inbound.kicks(), 1)
})

void t.test('large mail is refused, at MAIL where SIZE tells', async (t) => {
  const inbound = await openInbound(t)
  const wire = Wire.open(inbound.port)
  await wire.reply()
  await wire.say('EHLO mx')
  t.match(await wire.say('MAIL FROM:<> SIZE=100001'), /^552 5\.3\.4 /)
  await wire.say('MAIL FROM:<>')
  await wire.say('RCPT TO:<token@bounces.example.com>')
  await wire.say('DATA')
  wire.write(`${'x'.repeat(200_000)}\r\n.\r\n`)
  t.match(await wire.reply(), /^552 5\.3\.4 /)
  t.equal((await inbound.rows()).length, 0)
  wire.close()
})

void t.test('one address cannot take all connections', async (t) => {
  const inbound = await openInbound(t)
  const wires = Array.from({ length: 20 }, () => Wire.open(inbound.port))
  for (const wire of wires) t.match(await wire.reply(), /^220 /)
  t.match(await Wire.open(inbound.port).reply(), /^421 4\.7\.0 /)
  for (const wire of wires) wire.close()
})
