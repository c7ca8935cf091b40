import t from 'tap'
import { loggedIn, MESSAGE, openRig, PASSWORD, plain, submit, Wire } from './rig.ts'

void t.test('junk before EHLO is refused, and too much of it ends the session', async (t) => {
  const rig = await openRig(t)
  const wire = Wire.open(rig.port('starttls'))
  t.match(await wire.reply(), /^220 mail\.relevo\.test ESMTP Relevo$/)
  t.match(await wire.say('\x16\x03\x01\x02\x00'), /^500 5\.5\.2 /)
  t.match(await wire.say('MAIL FROM:<app@example.com>'), /^503 5\.5\.1 /)
  t.match(await wire.say('GARBAGE \xff\xfe'), /^500 5\.5\.2 /)
  let last: string | null = ''
  for (let i = 0; i < 20 && last?.startsWith('421') === false; i++) last = await wire.say('garbage')
  t.match(last, /^421 /)
  await wire.end()
})

void t.test('pipelined garbage is answered line by line until the session ends', async (t) => {
  const rig = await openRig(t)
  const wire = Wire.open(rig.port('starttls'))
  await wire.reply()
  wire.write('nonsense\r\n'.repeat(5000))
  const text = await wire.end()
  t.match(text, /421 /)
  t.ok(text.split('\r\n').length < 30)
})

void t.test('an HTTP request gets no mail in', async (t) => {
  const rig = await openRig(t)
  const wire = Wire.open(rig.port('starttls'))
  await wire.reply()
  wire.write('POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<app@example.com>\r\n')
  t.match(await wire.end(), /^421 /)
})

void t.test('AUTH without TLS is refused and not offered', async (t) => {
  const rig = await openRig(t)
  const wire = Wire.open(rig.port('starttls'))
  await wire.reply()
  const ehlo = await wire.say('EHLO client.example')
  t.notMatch(ehlo, /AUTH/)
  t.match(
    ehlo,
    /250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-STARTTLS\r\n250-SIZE 1048576\r\n250-FUTURERELEASE 31622400 20\S+\r\n250 MT-PRIORITY$/,
  )
  t.match(await wire.say(plain('app', PASSWORD)), /^538 5\.7\.11 /)
  t.match(await wire.say('AUTH LOGIN'), /^538 5\.7\.11 /)
  t.match(await wire.say('MAIL FROM:<app@example.com>'), /^530 5\.7\.0 /)
  await wire.starttls()
  t.match(await wire.say('EHLO client.example'), /250-AUTH PLAIN LOGIN\r\n/)
  t.match(await wire.say('MAIL FROM:<app@example.com>'), /^530 5\.7\.0 /)
  t.match(await wire.say(plain('app', PASSWORD)), /^235 2\.7\.0 /)
  wire.close()
})

void t.test('without a certificate nobody can log in', async (t) => {
  const rig = await openRig(t, { tls: null })
  const wire = Wire.open(rig.port('starttls'))
  await wire.reply()
  t.notMatch(await wire.say('EHLO client.example'), /AUTH|STARTTLS/)
  t.match(await wire.say(plain('app', PASSWORD)), /^538 5\.7\.11 /)
  wire.close()
})

void t.test('a recipient too many is answered 452 and the others stay', async (t) => {
  const rig = await openRig(t)
  const wire = await loggedIn(rig.port('tls'))
  await wire.say('MAIL FROM:<app@example.com>')
  for (let i = 0; i < 10; i++) t.match(await wire.say(`RCPT TO:<r${i}@example.net>`), /^250 2\.1\.5 /)
  t.match(await wire.say('RCPT TO:<r10@example.net>'), /^452 4\.5\.3 .*at most 10/)
  t.match(await wire.say('RCPT TO:<r3@example.net>'), /^250 /, 'one that is there already is no further one')
  t.match(await wire.say('DATA'), /^354 /)
  wire.write(`${MESSAGE}.\r\n`)
  t.match(await wire.reply(), /^250 /)
  t.equal(rig.queue.messages[0]!.recipients.length, 10)
  wire.close()
})

void t.test('a 60 MB message is refused at MAIL where SIZE tells', async (t) => {
  const rig = await openRig(t, { settings: { max_message_bytes: 52_428_800 } })
  const wire = await loggedIn(rig.port('tls'))
  t.match(await wire.say('MAIL FROM:<app@example.com> SIZE=60000000'), /^552 5\.3\.4 .*52428800/)
  t.match(await wire.say('MAIL FROM:<app@example.com> SIZE=99999999999999999999'), /^552 5\.3\.4 /)
  t.match(await wire.say('MAIL FROM:<app@example.com> SIZE=52428800'), /^250 /)
  wire.close()
})

void t.test('a 60 MB message that was not announced is read to its end, kept nowhere, and refused', async (t) => {
  const rig = await openRig(t, { settings: { max_message_bytes: 20_000_000 } })
  const wire = await loggedIn(rig.port('tls'))
  await wire.say('MAIL FROM:<app@example.com>')
  await wire.say('RCPT TO:<you@example.net>')
  await wire.say('DATA')
  const line = Buffer.alloc(1_000_000, 'x')
  line.write('\r\n', 999_998)
  const before = process.memoryUsage().rss
  wire.write(MESSAGE)
  for (let i = 0; i < 60; i++)
    if (!wire.socket.write(line)) await new Promise((resolve) => wire.socket.once('drain', resolve))
  wire.write('\r\n.\r\n')
  t.match(await wire.reply(), /^552 5\.3\.4 /)
  t.ok(process.memoryUsage().rss - before < 120_000_000)
  t.equal(rig.queue.messages.length, 0)
  t.match(await submit(wire), /^250 /, 'the session goes on')
  wire.close()
})

void t.test('a message many times too large ends the session before its end', async (t) => {
  const rig = await openRig(t, { settings: { max_message_bytes: 100_000 } })
  const wire = await loggedIn(rig.port('tls'))
  await wire.say('MAIL FROM:<app@example.com>')
  await wire.say('RCPT TO:<you@example.net>')
  await wire.say('DATA')
  wire.write(Buffer.alloc(600_000, 'x'))
  t.match(await wire.end(), /^552 5\.3\.4 /)
})

void t.test('a command line of 10 MB is answered 500, ends the session, and takes no memory', async (t) => {
  const rig = await openRig(t)
  const wire = Wire.open(rig.port('starttls'))
  await wire.reply()
  const before = process.memoryUsage().rss
  const chunk = Buffer.alloc(100_000, 'A')
  for (let i = 0; i < 100 && !wire.socket.destroyed; i++)
    if (!wire.socket.write(chunk))
      await Promise.race([
        new Promise((resolve) => wire.socket.once('drain', resolve)),
        new Promise((resolve) => wire.socket.once('close', resolve)),
      ])
  t.match(await wire.end(), /^500 5\.5\.6 line too long\r\n$/)
  t.ok(process.memoryUsage().rss - before < 20_000_000)
})

void t.test('a content line of 10 MB is taken and folded to lines that may leave', async (t) => {
  const rig = await openRig(t, { settings: { max_message_bytes: 20_000_000 } })
  const wire = await loggedIn(rig.port('tls'))
  t.match(await submit(wire, `${MESSAGE}${'x'.repeat(10_000_000)}`), /^250 /)
  const text = Buffer.from(rig.queue.messages[0]!.content).toString('latin1')
  t.ok(text.split('\r\n').every((line) => line.length <= 998))
  wire.close()
})

void t.test('NUL in the header is refused, 8-bit there is encoded or refused', async (t) => {
  const rig = await openRig(t)
  const wire = await loggedIn(rig.port('tls'))
  t.match(await submit(wire, MESSAGE.replace('hello', 'hel\0lo')), /^554 5\.6\.0 .*NUL/)
  t.match(await submit(wire, MESSAGE.replace('hello', 'caf\xe9')), /^554 5\.6\.0 .*Subject/)
  t.equal(rig.queue.messages.length, 0)
  t.match(await submit(wire, MESSAGE.replace('hello', 'caf\xc3\xa9')), /^250 /)
  t.match(Buffer.from(rig.queue.messages[0]!.content).toString('latin1'), /Subject: =\?utf-8\?/i)
  wire.close()
})

void t.test('From missing, empty, double or of two people is refused and the reason said', async (t) => {
  const rig = await openRig(t)
  const wire = await loggedIn(rig.port('tls'))
  const without = MESSAGE.replace(/^From.*\r\n/, '')
  t.match(await submit(wire, without), /^554 5\.6\.0 From: is missing/)
  t.match(await submit(wire, `From: \r\n${without}`), /^554 5\.6\.0 From: has no address/)
  t.match(await submit(wire, `From: b@example.com\r\n${MESSAGE}`), /^554 5\.6\.0 From: stands there twice/)
  t.match(await submit(wire, `From: a@example.com, b@example.com\r\n${without}`), /^554 5\.6\.0 From: has several/)
  t.equal(rig.queue.messages.length, 0)
  wire.close()
})

void t.test('addresses that are none are refused by name', async (t) => {
  const rig = await openRig(t, { settings: { max_errors: 100 } })
  const wire = await loggedIn(rig.port('tls'))
  await wire.say('MAIL FROM:<app@example.com>')
  for (const address of [
    'a@[127.0.0.1]',
    'a@[IPv6:::1]',
    'a@localhost',
    'a@b@c.example',
    '"quoted string"@x',
    'a b@example.net',
    '@example.net',
    'a@',
    'a@example..net',
    'a@-example.net',
    'a@example.net:25',
    'a(comment)@example.net',
    '=?utf-8?q?a?=@example.net',
    'a@192.0.2.1',
    `${'a'.repeat(65)}@example.net`,
    'relay.example:a@example.net',
    '@relay.example:a@example.net',
    'a%b@example.net@example.com',
    '',
  ])
    t.match(await wire.say(`RCPT TO:<${address}>`), /^501 5\.(1\.3|5\.4) /, address)
  for (const line of ['RCPT TO:a@example.net', 'RCPT TO:<a@example.net', 'RCPT a@example.net', 'RCPT TO', 'RCPT'])
    t.match(await wire.say(line), /^501 5\./, line)
  t.match(await wire.say('RCPT TO:<"quoted string"@example.net>'), /^250 /)
  t.match(await wire.say('RCPT TO:<"a@b>c"@example.net>'), /^250 /)
  t.match(await wire.say('RCPT TO:<us\xc3\xa9r@example.net>'), /^553 5\.6\.7 /)
  t.match(await wire.say('RCPT TO:<a@b\xc3\xbccher.example>'), /^250 /)
  await wire.say('DATA')
  wire.write(`${MESSAGE}.\r\n`)
  await wire.reply()
  t.strictSame(
    rig.queue.messages[0]!.recipients.map((recipient) => recipient.address),
    ['"quoted string"@example.net', '"a@b>c"@example.net', 'a@xn--bcher-kva.example'],
  )
  wire.close()
})

void t.test('a full disk is answered 452, nothing is half kept, and the service returns by itself', async (t) => {
  const rig = await openRig(t)
  const wire = await loggedIn(rig.port('tls'))
  rig.queue.fault = Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' })
  t.match(await submit(wire), /^452 4\.3\.1 /, 'after the dot')
  t.match(await wire.say('MAIL FROM:<app@example.com>'), /^452 4\.3\.1 /, 'then at MAIL already')
  rig.queue.fault = null
  await new Promise((resolve) => setTimeout(resolve, 1050))
  t.match(await submit(wire), /^250 /)
  t.equal(rig.queue.messages.length, 1)
  t.ok(rig.acceptor.taking)
  wire.close()
})

void t.test('low free space is answered 452 at MAIL', async (t) => {
  let low = true
  const rig = await openRig(t, { isStorageLow: () => low })
  const wire = await loggedIn(rig.port('tls'))
  t.match(await wire.say('MAIL FROM:<app@example.com>'), /^452 4\.3\.1 /)
  low = false
  t.match(await submit(wire), /^250 /)
  wire.close()
})

void t.test('a store that failed takes nothing any more and says so', async (t) => {
  const rig = await openRig(t)
  const wire = await loggedIn(rig.port('tls'))
  rig.queue.fault = Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' })
  t.match(await submit(wire), /^451 4\.3\.0 /)
  rig.queue.fault = null
  t.match(await wire.say('MAIL FROM:<app@example.com>'), /^451 4\.3\.0 /)
  t.notOk(rig.acceptor.taking)
  t.equal(rig.storeFaults.length, 1)
  wire.close()
})

void t.test('commands out of order, parameters that are wrong', async (t) => {
  const rig = await openRig(t, { settings: { max_errors: 100 } })
  const wire = await loggedIn(rig.port('tls'))
  t.match(await wire.say('RCPT TO:<you@example.net>'), /^503 5\.5\.1 /)
  t.match(await wire.say('DATA'), /^503 5\.5\.1 /)
  for (const parameters of [
    'BODY=BINARYMIME',
    'SMTPUTF8=1',
    'RET=ALL',
    'ENVID=a+0',
    'SIZE=x',
    'NOSUCH',
    'RET=FULL RET=HDRS',
    '=',
    'ENVID=+0D+0A',
  ])
    t.match(await wire.say(`MAIL FROM:<app@example.com> ${parameters}`), /^(501|555) 5\.5\.4 /, parameters)
  t.match(await wire.say('MAIL FROM:<app@example.com> BODY=8BITMIME'), /^250 2\.1\.0 /)
  t.match(await wire.say('MAIL FROM:<app@example.com>'), /^503 5\.5\.1 /)
  t.match(await wire.say(plain('app', PASSWORD)), /^503 5\.5\.1 /)
  for (const parameters of [
    'NOTIFY=',
    'NOTIFY=NEVER,SUCCESS',
    'NOTIFY=SUCCESS,SUCCESS',
    'NOTIFY=X',
    'ORCPT=rfc822',
    'ORCPT=;a',
    'ORCPT=rfc822;a+0D',
    'X=1',
  ])
    t.match(await wire.say(`RCPT TO:<you@example.net> ${parameters}`), /^(501|555) 5\.5\.4 /, parameters)
  t.match(await wire.say('DATA'), /^554 5\.5\.1 no recipient/)
  t.match(await wire.say('RSET'), /^250 2\.0\.0 /)
  for (const line of [
    'XCLIENT ADDR=127.0.0.1',
    'XFORWARD ADDR=127.0.0.1',
    'WIZ',
    'KILL',
    'BDAT 5',
    'ETRN x',
    'TURN',
    'EXPN list',
    '__proto__',
    'constructor',
  ])
    t.match(await wire.say(line), /^50[02] 5\.5\./, line)
  wire.close()
})

void t.test('content sent behind a refused DATA is never read as commands', async (t) => {
  const rig = await openRig(t)
  const wire = await loggedIn(rig.port('tls'))
  await wire.say('MAIL FROM:<app@example.com>')
  wire.write('DATA\r\nRSET\r\nMAIL FROM:<app@example.com>\r\nRCPT TO:<you@example.net>\r\nDATA\r\n')
  t.match(await wire.end(), /^554 5\.5\.1 no recipient was taken\r\n$/)
})
