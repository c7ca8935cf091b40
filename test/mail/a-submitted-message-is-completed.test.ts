import { isAscii } from 'node:buffer'
import fc from 'fast-check'
import t from 'tap'
import {
  type CompletedMessage,
  type CompleteOptions,
  completeMessage,
  fieldValue,
  type MessageError,
  readFields,
  splitMessage,
} from '#mail'
import { randomFrom, randomMessage } from './random-message.ts'

const OPTIONS: CompleteOptions = {
  hostname: 'mail.relevo.example',
  id: '01kabc',
  nowMs: Date.UTC(2026, 2, 3, 9, 8, 7),
  client: { address: '192.0.2.7', name: null, helo: 'app.example' },
  protocol: 'ESMTPSA',
  recipient: 'someone@example.org',
  smtpUtf8: false,
}
const PLAIN = 'From: app@relevo.example\r\nTo: a@example.org\r\n'

function complete(raw: string | Buffer, options: Partial<CompleteOptions> = {}): CompletedMessage {
  const result = completeMessage(Buffer.from(raw), { ...OPTIONS, ...options })
  if (!result.ok) throw new Error(result.error.message)
  return result.value
}

function refusal(raw: string | Buffer, options: Partial<CompleteOptions> = {}): MessageError {
  const result = completeMessage(Buffer.from(raw), { ...OPTIONS, ...options })
  if (result.ok) throw new Error('the message was taken')
  return result.error
}

function field(message: CompletedMessage, name: string): string | null {
  const found = readFields(splitMessage(message.content).header).filter((f) => f.name === name)
  return found.length === 0 ? null : found.map(fieldValue).join('|')
}

await t.test('what is missing is added', async (t) => {
  const message = complete(`${PLAIN}Subject: Hi\r\n\r\nHello\r\n`)
  t.equal(
    message.content.toString(),
    [
      'Received: from app.example ([192.0.2.7])',
      '\tby mail.relevo.example (Relevo) with ESMTPSA id 01kabc',
      '\tfor <someone@example.org>;',
      '\tTue, 03 Mar 2026 09:08:07 +0000',
      'From: app@relevo.example',
      'To: a@example.org',
      'Subject: Hi',
      'Date: Tue, 03 Mar 2026 09:08:07 +0000',
      'Message-ID: <01kabc@relevo.example>',
      '',
      'Hello',
      '',
    ].join('\r\n'),
  )
  t.match(message, {
    messageIdHeader: '<01kabc@relevo.example>',
    subject: 'Hi',
    receivedCount: 1,
    headerFrom: { text: 'app@relevo.example' },
  })
})

await t.test('what is there stays, unless it does not conform', async (t) => {
  const kept = complete(
    `${PLAIN}Date: Tue, 3 Mar 2026 10:00:00 +0100 (CET)\r\nMessage-ID:\r\n <x@y.example>\r\nReceived: a\r\nDKIM-Signature: v=1; d=other.example\r\n\r\n`,
  )
  t.equal(field(kept, 'date'), 'Tue, 3 Mar 2026 10:00:00 +0100 (CET)')
  t.equal(kept.messageIdHeader, '<x@y.example>')
  t.equal(kept.receivedCount, 2)
  t.equal(field(kept, 'dkim-signature'), 'v=1; d=other.example')
  const replaced = complete(`${PLAIN}Date: yesterday\r\nMessage-ID: 17\r\n\r\n`)
  t.equal(field(replaced, 'date'), 'Tue, 03 Mar 2026 09:08:07 +0000')
  t.equal(field(replaced, 'message-id'), '<01kabc@relevo.example>')
})

await t.test('what is not for others goes', async (t) => {
  const message = complete(
    `Return-Path: <x@y.example>\r\nBcc: secret@example.org,\r\n other@example.org\r\nRESENT-BCC: z@example.org\r\n${PLAIN}\r\n`,
  )
  t.notMatch(message.content.toString(), /bcc|secret|other@|return-path/i)
  t.equal(
    field(complete(`${PLAIN}\r\n`, { client: null, recipient: null }), 'received'),
    'by mail.relevo.example (Relevo) with ESMTPSA id 01kabc;\tTue, 03 Mar 2026 09:08:07 +0000',
  )
  const hostile = complete(`${PLAIN}\r\n`, { client: { address: '2001:db8::1', name: 'a\r\nX: y', helo: 'evil) (' } })
  t.match(field(hostile, 'received'), /^from unknown \(unknown \[IPv6:2001:db8::1\]\)/)
})

await t.test('line ends', async (t) => {
  const body = (raw: string) => splitMessage(complete(raw).content).body.toString()
  t.equal(body(`${PLAIN}\r\na\nb\rc\r\nd\r\r\ne`), 'a\r\nb\r\nc\r\nd\r\ne\r\n')
  t.equal(body(`${PLAIN.replaceAll('\r\n', '\n')}\nx\n.\ny\n`), 'x\r\n.\r\ny\r\n')
  t.equal(body(PLAIN), '', 'a header alone')
  for (const ending of ['\n.\n', '\r.\r', '\n.\r\n', '\r\n.\r', '\r\n.\n', '\r.\r\n', '\r\r\n.\r\r\n'])
    t.notMatch(
      complete(`${PLAIN}\r\na${ending}MAIL FROM:<x@y.example>`).content.toString(),
      /\r(?!\n)|(?<!\r)\n/,
      JSON.stringify(ending),
    )
})

await t.test('raw UTF-8 in the header', async (t) => {
  const message = complete(
    'From: Jürgen "Ü" <j@relevo.example>\r\nTo: "Ä, b" <a@münchen.example>, team: ü <c@d.example>;\r\nSubject: Grüße\r\n für dich\r\nContent-Type: text/plain; charset=utf-8; name="größe.txt"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nä\r\n',
  )
  t.ok(isAscii(message.content))
  t.equal(message.subject, 'Grüße für dich')
  t.equal(field(message, 'from'), '=?utf-8?B?SsO8cmdlbiDDnA==?= <j@relevo.example>')
  t.equal(
    field(message, 'to'),
    '=?utf-8?B?w4QsIGI=?= <a@xn--mnchen-3ya.example>, team: =?utf-8?B?w7w=?= <c@d.example>;',
  )
  t.equal(field(message, 'content-type'), "text/plain; charset=utf-8; name*=utf-8''gr%C3%B6%C3%9Fe.txt")
  t.match(refusal(`${PLAIN}Reply-To: ü@example.org\r\n\r\n`), { field: 'Reply-To', message: /needs SMTPUTF8/ })
  t.match(refusal(`${PLAIN}References: <ü@example.org>\r\n\r\n`), { field: 'References', message: /must be ASCII/ })
  t.match(refusal(Buffer.from(`${PLAIN}Subject: Gr\u00fc\u00dfe\r\n\r\n`, 'latin1')), {
    field: 'Subject',
    message: /not UTF-8/,
  })
  const utf8 = complete('From: ü@relevo.example\r\nSubject: Grüße\r\n\r\nSchöne Tage\r\n', { smtpUtf8: true })
  t.match(utf8, { headerFrom: { utf8: true, text: 'ü@relevo.example' } })
  t.match(utf8.content.toString(), /\r\nSubject: Grüße\r\n(?:.+\r\n)*\r\nSch=C3=B6ne Tage\r\n$/)
  t.match(refusal(Buffer.from(`${PLAIN}Subject: \u00fc\r\n\r\n`, 'latin1'), { smtpUtf8: true }), { field: 'Subject' })
})

await t.test('From must name the author', async (t) => {
  const cases: [string, string | null, RegExp][] = [
    ['To: a@example.org\r\n\r\n', 'From', /is missing: add it/],
    ['', 'From', /is missing/],
    ['\r\nFrom: a@relevo.example\r\n', 'From', /is missing/],
    ['From: a@relevo.example\r\nFrom: b@relevo.example\r\n\r\n', 'From', /twice/],
    ['From: nobody\r\n\r\n', 'From', /"nobody" is not an address/],
    ['From:\r\n\r\n', 'From', /has no address/],
    ['From: a@localhost\r\n\r\n', 'From', /no dot/],
    ['From: a@[192.0.2.1]\r\n\r\n', 'From', /literal/],
    ['From: group: a@relevo.example;\r\n\r\n', 'From', /group/],
    ['From: a@relevo.example, b@relevo.example\r\n\r\n', 'From', /no Sender/],
    [
      'From: a@relevo.example, b@relevo.example\r\nSender: c@relevo.example, d@relevo.example\r\n\r\n',
      'Sender',
      /several/,
    ],
    ['From: a@relevo.example\r\nSender: x\r\n\r\n', 'Sender', /not an address/],
    ['From: boss@bank.example <a@relevo.example>\r\n\r\n', 'From', /quotes/],
    [`From: ${'a@relevo.example,'.repeat(101)}\r\n\r\n`, 'From', /more than 100/],
  ]
  for (const [raw, name, message] of cases)
    t.match(refusal(raw), { field: name, message, code: 554, enhanced: '5.6.0' }, raw.slice(0, 60))
  t.match(complete('From: a@relevo.example, b@relevo.example\r\nSender: c@relevo.example\r\n\r\n'), {
    headerFrom: { local: 'a' },
  })
  t.equal(
    field(complete('From: a@relevo.example\r\nfrom : a@relevo.example\r\n\r\n'), 'from'),
    'a@relevo.example',
    'the same twice is once',
  )
})

await t.test('headers that cannot be sent', async (t) => {
  t.match(refusal(`${PLAIN}Subject: a\0b\r\n\r\n`), { field: null, message: /NUL/ })
  t.match(refusal(`${PLAIN}a line\r\n\r\n`), { message: /line 3 of the header is not a field/ })
  t.match(refusal(`${PLAIN}${'X: y\r\n'.repeat(2000)}\r\n`), { code: 552, enhanced: '5.3.4', message: /2000 fields/ })
  t.match(refusal(`${PLAIN}X: ${'y '.repeat(140_000)}\r\n\r\n`), { code: 552, message: /256 KiB/ })
  t.match(refusal(`${PLAIN}X: ${'y'.repeat(2000)}\r\n\r\n`), { field: 'X', message: /998 octets without a space/ })
  t.match(refusal(`${PLAIN}Subject: a\r\nSubject: b\r\n\r\n`), { field: 'Subject', message: /twice/ })
  const list = complete(
    `From: a@relevo.example\r\nTo: ${Array.from({ length: 300 }, (_, i) => `r${i}@example.org`).join()}\r\nSubject: ${'y'.repeat(2000)}\r\n\r\n`,
  )
  t.ok(
    list.content
      .toString()
      .split('\r\n')
      .every((line) => line.length <= 998),
    'where it can be written otherwise it is',
  )
  t.match(field(list, 'to'), /^r0@example\.org, r1@example.org,.* r299@example\.org$/)
  const folded = complete(
    `From app Mon Mar  2 10:00:00 2026\r\n${PLAIN}X-Long: ${'word '.repeat(400)}\r\nX-Gap: a\r\n \r\n b\r\nSpaced : c\r\n\r\n`,
  )
  t.ok(
    folded.content
      .toString()
      .split('\r\n')
      .every((line) => line.length <= 998),
  )
  t.equal(field(folded, 'x-gap'), 'a  b')
  t.match(folded.content.toString(), /\r\nSpaced: c\r\n/)
})

await t.test('control headers are read and go', async (t) => {
  const message = complete(
    `${PLAIN}X-Relevo-Tag: a, b\r\nx-relevo-tag: c\r\nX-Relevo-Metadata-Order: 17\r\nX-Relevo-Metadata-__proto__: x\r\nX-Relevo-Priority: Urgent\r\nX-Relevo-Send-At: 2026-04-01T08:00:00+02:00\r\nX-Relevo-Track-Opens: yes\r\nX-Relevo-Track-Clicks: off\r\nX-Relevo-Template: welcome\r\nX-Relevo-Idempotency-Key: k-1\r\nX-Relevo-Category: receipts\r\nX-Relevo-Campaign: =?utf-8?Q?Fr=C3=BChling?=\r\nX-Relevo-Route: eu\r\n\r\n`,
  )
  t.strictSame(
    { ...message.control, metadata: Object.entries(message.control.metadata) },
    {
      tags: ['a', 'b', 'c'],
      metadata: [
        ['order', '17'],
        ['__proto__', 'x'],
      ],
      priority: 'urgent',
      sendAtMs: Date.UTC(2026, 3, 1, 6),
      idempotencyKey: 'k-1',
      category: 'receipts',
      campaign: 'Frühling',
      route: 'eu',
      trackOpens: true,
      trackClicks: false,
      template: 'welcome',
    },
  )
  t.notMatch(message.content.toString(), /relevo-/i)
})

await t.test('the headers of other services', async (t) => {
  const control = (fields: string) => {
    const message = complete(`${PLAIN}${fields}\r\n`)
    t.notMatch(message.content.toString(), /^x-(smtpapi|mailgun|pm|ses)/im)
    return message.control
  }
  t.match(
    control('X-SMTPAPI: {"category": ["news", "b"],\r\n "unique_args": {"order": 17}, "send_at": 1775030400}\r\n'),
    { category: 'news', tags: ['news', 'b'], metadata: { order: '17' }, sendAtMs: 1_775_030_400_000 },
  )
  t.match(
    control(
      'X-Mailgun-Tag: a\r\nX-Mailgun-Tag: b\r\nX-Mailgun-Variables: {"k": {"deep": true}}\r\nX-Mailgun-Deliver-By: Wed, 01 Apr 2026 08:00:00 +0200\r\nX-Mailgun-Track-Clicks: htmlonly\r\nX-Mailgun-Dkim: yes\r\n',
    ),
    { tags: ['a', 'b'], metadata: { k: '{"deep":true}' }, sendAtMs: Date.UTC(2026, 3, 1, 6), trackClicks: true },
  )
  t.match(
    control('X-PM-Tag: t\r\nX-PM-Metadata-Color: blue\r\nX-PM-Message-Stream: outbound\r\nX-PM-TrackOpens: true\r\n'),
    { tags: ['t'], metadata: { color: 'blue' }, trackOpens: true },
  )
  t.match(control('X-SES-MESSAGE-TAGS: campaign=spring, k=v\r\nX-SES-CONFIGURATION-SET: set\r\n'), {
    metadata: { campaign: 'spring', k: 'v' },
  })
  t.match(
    control(
      'X-Mailgun-Deliver-By: 1775030400\r\nX-Relevo-Send-At: 1775030401\r\nX-Mailgun-Tag: x\r\nX-Relevo-Tag: x\r\n',
    ),
    { sendAtMs: 1_775_030_401_000, tags: ['x'] },
    'ours win',
  )
})

await t.test('a malformed control header is refused by its name and with the remedy', async (t) => {
  const cases: [string, RegExp][] = [
    ['X-Relevo-Priority: asap', /^X-Relevo-Priority: write urgent, high, normal or low/],
    ['X-Relevo-Send-At: tomorrow', /^X-Relevo-Send-At: write a time/],
    ['X-Relevo-Send-At: 2026-04-01 08:00', /write a time/],
    ['X-Relevo-Track-Opens: maybe', /write yes or no/],
    ['X-Relevo-Tags: a', /no such control header: known/],
    ['X-Relevo-Tag:', /a tag has 1 to 128/],
    ['X-Relevo-Idempotency-Key: a b', /printable ASCII/],
    ['X-Relevo-Priority: low\r\nX-Relevo-Priority: high', /twice with different values/],
    [`X-Relevo-Metadata-${'k'.repeat(65)}: v`, /metadata key has/],
    [`X-Relevo-Metadata-k: ${'v'.repeat(1100)}`, /metadata value has/],
    ['X-Relevo-Metadata-k: =?utf-8?Q?a=0D=0AX:_y?=', /no control characters/],
    [Array.from({ length: 51 }, (_, i) => `X-Relevo-Metadata-k${i}: v`).join('\r\n'), /more than 50/],
    [`X-Relevo-Tag: ${Array.from({ length: 33 }, (_, i) => `t${i}`).join()}`, /more than 32 tags/],
    ['X-SMTPAPI: {', /write one JSON object/],
    ['X-SMTPAPI: []', /write one JSON object/],
    ['X-SMTPAPI: {"to": ["a@example.org"]}', /"to" is not supported/],
    ['X-SMTPAPI: {"category": 1}', /"category" is a string/],
    ['X-SMTPAPI: {"unique_args": []}', /"unique_args" is a JSON object/],
    ['X-Mailgun-Variables: 1', /write one JSON object/],
    ['X-Mailgun-Drop-Message: yes', /sandbox/],
    ['X-SES-MESSAGE-TAGS: a', /name=value/],
  ]
  for (const [fields, message] of cases)
    t.match(refusal(`${PLAIN}${fields}\r\n\r\n`), { code: 554, message, field: /^X-/ }, fields.slice(0, 60))
})

/** What must be true of every completed message. */
function holds(message: CompletedMessage): boolean {
  const text = message.content.toString('latin1')
  const fields = readFields(splitMessage(message.content).header)
  const names = fields.map((f) => f.name)
  return (
    text.startsWith('Received: ') &&
    !/\r(?!\n)|(?<!\r)\n/.test(text) &&
    names.every(
      (name) => name !== '' && !/^(?:resent-)?bcc$|^return-path$|^x-(?:relevo|mailgun|pm|ses)-|^x-smtpapi$/.test(name),
    ) &&
    ['from', 'date', 'message-id'].every((name) => names.filter((other) => other === name).length === 1) &&
    fields.every(
      (f) =>
        isAscii(f.raw) &&
        f.raw
          .toString('latin1')
          .split('\r\n')
          .every((line) => line.length <= 998),
    ) &&
    message.subject.length <= 512
  )
}

await t.test('any bytes: a refusal or a whole message', async (t) => {
  const piece = fc.oneof(
    fc.constantFrom(
      '\r\n',
      '\n',
      '\r',
      '\r\n\r\n',
      '\r\n ',
      ': ',
      'From: a@relevo.example\r\n',
      'Bcc: x@y.example\r\n',
      'X-Relevo-Tag: t\r\n',
      'Date: x\r\n',
      'Subject: ü\r\n',
      'To: "',
      'Content-Type: multipart/mixed; boundary=b\r\n',
      '--b\r\n',
      '--b--',
      '\0',
      'é',
      'y'.repeat(1200),
    ),
    fc.string({ unit: 'binary', maxLength: 12 }),
  )
  let taken = 0
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 25 }), fc.boolean(), (pieces, withFrom) => {
      const result = completeMessage(Buffer.from((withFrom ? PLAIN : '') + pieces.join('')), OPTIONS)
      if (!result.ok) return result.error.message.length > 0 && /^[\x20-\x7e]{1,480}$/.test(result.error.message)
      taken++
      return holds(result.value)
    }),
    { numRuns: 4000 },
  )
  t.ok(taken > 500, `${taken} were taken`)
})

await t.test('messages of apps', async (t) => {
  for (let seed = 1; seed <= 500; seed++) {
    const { raw, isSignedMultipart } = randomMessage(randomFrom(seed))
    const message = complete(raw)
    const text = message.content.toString('latin1')
    const isSevenBit =
      isAscii(message.content) && !text.includes('\0') && text.split('\r\n').every((line) => line.length <= 998)
    if (!holds(message) || (!isSignedMultipart && !isSevenBit)) t.fail(`seed ${seed}`)
  }
  t.pass('500 completed')
})

await t.test('hostile messages cost linear time', async (t) => {
  const n = 20_000
  const hostile = [
    'X: y\r\n'.repeat(1900),
    `To: ${'('.repeat(n * 10)}\r\n`,
    `Subject: ${'=?utf-8?q?a?= '.repeat(n / 2)}\r\n`,
    `Subject: ${'ü'.repeat(n * 4)}\r\n`,
    `Content-Type: a/b; ${'x="ü";'.repeat(n)}\r\n`,
    `X-SMTPAPI: ${'['.repeat(60_000)}\r\n`,
    `\r\n${'\n'.repeat(1e6)}`,
    `\r\n${'\r'.repeat(1e6)}`,
    `X: ${'a '.repeat(1e5)}\r\n`,
    `X:${' \r\n'.repeat(8e4)}a\r\n`,
  ]
  for (const text of hostile) {
    const started = performance.now()
    completeMessage(Buffer.from(`From: a@relevo.example\r\n${text}\r\n`), OPTIONS)
    const tookMs = performance.now() - started
    t.ok(tookMs < 500, `${JSON.stringify(text.slice(0, 30))}: ${Math.round(tookMs)} ms`)
  }
})
