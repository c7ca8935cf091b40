import t from 'tap'
import { loadReplyRules, parseBounceFile, readReport } from '#feedback'
import { crlf, DAEMON, failedGroup, multipart, ORIGINAL, plain, report } from './returned-mail.ts'

const rules = loadReplyRules(new URL('../../config/replies.toml', import.meta.url).pathname)
const read = (text: string) => readReport(Buffer.from(text), rules)
const HOLIDAY = ['From: Ana <ana@example.org>', 'To: shop@sending.example']

await t.test('a report with fields says the same with either line end', async (t) => {
  const one = report([failedGroup('ana@example.org')])
  const expected = {
    kind: 'bounce',
    recipients: [
      {
        address: 'ana@example.org',
        action: 'failed',
        status: '5.1.1',
        smtpCode: '550',
        class: 'user-unknown',
        hard: true,
        diagnostic: '550 5.1.1 no such user here',
      },
    ],
    originalMessageId: '<order-17@sending.example>',
    originalReturnPath: 'b+token@sending.example',
  }
  t.strictSame(read(one), expected)
  t.strictSame(read(crlf(one)), expected)
  const { kind, recipients } = expected
  t.strictSame(parseBounceFile(Buffer.from(one), rules), { kind, recipients })
})

await t.test('several recipients are read each with what was said of it', async (t) => {
  const got = read(
    report([
      failedGroup('a@example.org'),
      failedGroup('b@example.org', '5.2.2', '552 5.2.2 mailbox full'),
      'Final-Recipient: rfc822; c@example.org\nAction: relayed\nStatus: 2.0.0',
      'Final-Recipient: rfc822; d@example.org\nAction: delayed\nStatus: 4.4.1',
      // One that is told twice counts once.
      failedGroup('a@example.org'),
    ]),
  )
  t.equal(got.kind, 'bounce')
  t.strictSame(
    got.recipients.map(({ address, action, class: replyClass, hard }) => [address, action, replyClass, hard]),
    [
      ['a@example.org', 'failed', 'user-unknown', true],
      ['b@example.org', 'failed', 'mailbox-full', false],
      ['c@example.org', 'relayed', 'relayed', null],
      ['d@example.org', 'delayed', 'delayed', null],
    ],
  )
})

await t.test('folded, typed and bracketed addresses are one address', async (t) => {
  for (const field of [
    'Final-Recipient: rfc822;ana@example.org',
    'Final-Recipient: Rfc822;\n <ana@example.org>',
    'final-recipient : utf-8; ana@example.org',
    'Original-Recipient: rfc822; ana@example.org',
    'Original-Recipient: rfc822; ana@example.org\nFinal-Recipient: x-local; ana-box',
  ])
    t.equal(read(report([`${field}\nAction: failed\nStatus: 5.1.1`])).recipients[0]?.address, 'ana@example.org', field)
})

await t.test('a delayed, relayed or delivered notice is no failure', async (t) => {
  const of = (action: string, status: string) =>
    read(report([`Final-Recipient: rfc822; ana@example.org\nAction: ${action}\nStatus: ${status}`]))
  t.equal(of('delayed', '4.4.1').kind, 'delay')
  for (const action of ['relayed', 'delivered', 'expanded']) t.equal(of(action, '2.0.0').kind, 'success', action)
  for (const [action, status] of [
    ['delayed', '4.4.1'],
    ['relayed', '2.0.0'],
  ] as const)
    t.equal(of(action, status).recipients[0]?.hard, null)
  const words = plain('Your message to <ana@example.org> has not been delivered yet. We will keep trying for 3 days.', [
    ...DAEMON.slice(0, 3),
    'Subject: Warning: message delayed',
  ])
  t.equal(read(words).kind, 'delay')
  t.equal(read(words).recipients[0]?.hard, null)
})

const NOTICES: readonly [string, string][] = [
  [
    'Exim',
    plain(
      'A message that you sent could not be delivered to one of its recipients.\n\n  ana@example.org\n    SMTP error after RCPT TO:<ana@example.org>:\n    550 5.1.1 no such user\n',
      [
        ...DAEMON.slice(0, 3),
        'X-Failed-Recipients: ana@example.org',
        'Subject: Mail delivery failed: returning message to sender',
      ],
    ),
  ],
  [
    'qmail',
    plain(
      'Hi. This is the mail program of mx.example.org.\nYour message came to nothing.\n\n<ana@example.org>:\n192.0.2.7 does not like this recipient.\nRemote host said: 550 5.1.1 no such user\n\n--- Below this line is a copy of the message.\n\nReceived: from a\nTo: other@example.net\n',
      [...DAEMON.slice(0, 3), 'Subject: failure notice'],
    ),
  ],
  [
    'Sendmail',
    plain(
      '   ----- The following addresses had permanent fatal errors -----\n<ana@example.org>\n    (reason: 550 5.1.1 no such user)\n\n   ----- Transcript of session follows -----\n... while talking to mx.example.org.:\n550 5.1.1 <ana@example.org>... User unknown\n',
      [...DAEMON.slice(0, 3), 'Subject: Returned mail: see transcript for details'],
    ),
  ],
  [
    'Exchange',
    plain(
      'Your message did not reach some or all of the intended recipients.\n\n      Subject: Your order\n\nThe following recipient(s) could not be reached:\n\n      ana@example.org on 3/4/2026 9:00 AM\n            The e-mail account does not exist at the organization.\n            <mx.example.org #5.1.1>\n',
      [
        'From: System Administrator <postmaster@example.org>',
        'To: shop@sending.example',
        'Subject: Undeliverable: Your order',
      ],
    ),
  ],
  ['a sentence', plain('Delivery to the following recipient failed permanently: <ana@example.org>: user unknown')],
  ['fields in plain text', plain(`The mail failed.\n\n${failedGroup('ana@example.org')}\n`)],
]

await t.test('notices in words are read too', async (t) => {
  for (const [name, text] of NOTICES)
    for (const form of [text, crlf(text)]) {
      const got = read(form)
      t.equal(got.kind, 'bounce', name)
      t.strictSame(
        got.recipients.map((one) => [one.address, one.class, one.hard]),
        [['ana@example.org', 'user-unknown', true]],
        name,
      )
    }
})

const BOUNCE = report([failedGroup('ana@example.org')])

const OTHERS: readonly [string, string, string][] = [
  [
    'an automatic answer',
    'auto-reply',
    plain('I am away until Monday.', [
      ...HOLIDAY,
      'Subject: Automatic reply: Your order',
      'Auto-Submitted: auto-replied',
    ]),
  ],
  [
    'one without marks',
    'auto-reply',
    plain('Bin am Montag wieder da.', [...HOLIDAY, 'Subject: Abwesenheit: Your order']),
  ],
  [
    'one that quotes a bounce',
    'auto-reply',
    plain('I am away.\n\n> Your message could not be delivered.\n> <ana@example.org>: user unknown\n', [
      ...HOLIDAY,
      'Subject: Out of office: Undelivered Mail Returned to Sender',
    ]),
  ],
  [
    'one that repeats its fields',
    'auto-reply',
    plain(`I am away. You wrote:\n\n${failedGroup('x@example.org')}\n`, [
      ...HOLIDAY,
      'Subject: Out of office: Undelivered Mail',
      'Auto-Submitted: auto-replied',
    ]),
  ],
  [
    'a challenge',
    'challenge',
    plain('Please confirm your message: click on this link to deliver it.', [...HOLIDAY, 'Subject: Please confirm']),
  ],
  [
    'a receipt that it was read',
    'other',
    multipart([...HOLIDAY, 'Subject: Read: Your order'], 'report; report-type=disposition-notification', [
      { type: 'text/plain', text: 'It was read.' },
      {
        type: 'message/disposition-notification',
        text: 'Final-Recipient: rfc822; ana@example.org\nDisposition: manual-action/MDN-sent-manually; displayed',
      },
    ]),
  ],
  [
    'mail of a list',
    'other',
    plain('Does anybody know why my mail to <x@example.org> is returned?', [
      ...HOLIDAY,
      'Subject: [talk] a question',
      'List-Id: <talk.example.org>',
      'Precedence: list',
    ]),
  ],
  ['ordinary mail', 'other', plain('Thank you for ana@example.org.', [...HOLIDAY, 'Subject: Re: Your order'])],
  [
    'a person who passes a bounce on',
    'other',
    multipart([...HOLIDAY, 'Subject: what is this?'], 'mixed', [
      { type: 'text/plain', text: 'Look what I got.' },
      { type: 'message/rfc822', text: BOUNCE },
    ]),
  ],
  [
    'a person who passes a complaint on',
    'other',
    multipart([...HOLIDAY, 'Subject: what is this?'], 'mixed', [
      { type: 'text/plain', text: 'Look.' },
      {
        type: 'message/rfc822',
        text: multipart(HOLIDAY, 'report; report-type=feedback-report', [
          { type: 'message/feedback-report', text: 'Feedback-Type: abuse' },
        ]),
      },
    ]),
  ],
  [
    'one with an encoded subject',
    'auto-reply',
    plain('不在です。', [...HOLIDAY, `Subject: =?utf-8?B?${Buffer.from('自動返信: ご注文').toString('base64')}?=`]),
  ],
  ['nothing at all', 'other', ''],
  ['no mail', 'other', '\0\x01\xff'],
]

await t.test('what is no bounce names nobody', async (t) => {
  for (const [name, kind, text] of OTHERS)
    for (const form of [text, crlf(text)]) {
      const got = read(form)
      t.equal(got.kind, kind, name)
      t.strictSame(got.recipients, [], name)
    }
})

await t.test('a complaint says whom and which mail', async (t) => {
  const text = multipart(
    ['From: fbl@provider.example', 'To: fbl@sending.example', 'Subject: Your order'],
    'report; report-type=feedback-report',
    [
      { type: 'text/plain', text: 'Somebody complained.' },
      {
        type: 'message/feedback-report',
        text: 'Feedback-Type: abuse\nVersion: 1\nUser-Agent: Test/1\nOriginal-Mail-From: <b+token@sending.example>\nOriginal-Rcpt-To: <ana@example.org>',
      },
      { type: 'message/rfc822', text: ORIGINAL },
    ],
  )
  t.match(read(crlf(text)), {
    kind: 'complaint',
    recipients: [{ address: 'ana@example.org', class: 'complaint', hard: null, diagnostic: 'abuse' }],
    originalMessageId: '<order-17@sending.example>',
    originalReturnPath: 'b+token@sending.example',
  })
  const bare = read(text.replace(/^Original-.*\n?/gm, ''))
  t.equal(bare.recipients[0]?.address, 'ana@example.org', 'from the original when the fields are silent')
  t.equal(bare.originalReturnPath, 'b+token@sending.example')
})

await t.test('the other forms of complaints are told from reports', async (t) => {
  const arf = (fields: string) =>
    read(
      multipart(['From: fbl@provider.example', 'To: fbl@sending.example'], 'report; report-type=feedback-report', [
        { type: 'message/feedback-report', text: fields },
        { type: 'message/rfc822', text: ORIGINAL },
      ]),
    )
  const two = arf('Feedback-Type: fraud\nOriginal-Rcpt-To: <a@example.org>\nOriginal-Rcpt-To: <b@example.org>')
  t.strictSame(
    two.recipients.map((one) => one.address),
    ['a@example.org', 'b@example.org'],
  )
  for (const type of ['auth-failure', 'not-spam']) {
    const got = arf(`Feedback-Type: ${type}\nOriginal-Rcpt-To: <a@example.org>`)
    t.strictSame([got.kind, got.recipients], ['report', []], type)
  }
  const bare = multipart(
    ['From: staff@hotmail.com', 'To: fbl@sending.example', 'Subject: complaint about message from 192.0.2.7'],
    'mixed',
    [{ type: 'message/rfc822', text: ORIGINAL }],
  )
  t.match(read(bare), { kind: 'complaint', recipients: [{ address: 'ana@example.org' }] })
  t.equal(read(bare.replace('staff@hotmail.com', 'staff@example.net')).kind, 'other')
})

await t.test('a notice that another mail system wraps, and one without known words, are read', async (t) => {
  const wrapped = multipart(['From: postmaster@gateway.example', 'To: shop@sending.example', 'Subject: Fw'], 'mixed', [
    { type: 'message/rfc822', text: BOUNCE },
  ])
  t.match(read(wrapped), { kind: 'bounce', recipients: [{ address: 'ana@example.org', hard: true }] })
  const wordless = multipart(
    ['Return-Path: <>', 'From: no-reply@example.org', 'To: shop@sending.example', 'Subject: Mail'],
    'mixed',
    [
      { type: 'text/plain', text: 'Dies kam nicht an.' },
      { type: 'message/rfc822', text: ORIGINAL },
    ],
  )
  const got = read(wordless)
  t.equal(got.kind, 'bounce')
  t.strictSame(
    got.recipients.map(({ address, hard }) => [address, hard]),
    [['ana@example.org', null]],
  )
})

await t.test('fields are read in any order, and the address we wrote to is the one that failed', async (t) => {
  const turned = report([
    'Action: failed\nFinal-Recipient: rfc822; a@example.org\nStatus: 4.0.0',
    'Action: delayed\nFinal-Recipient: rfc822; b@example.org\nStatus: 4.0.0',
  ])
  t.strictSame(
    read(turned).recipients.map(({ address, action }) => [address, action]),
    [
      ['a@example.org', 'failed'],
      ['b@example.org', 'delayed'],
    ],
  )
  const forwarded = report([
    'Original-Recipient: rfc822; ana@example.org\nFinal-Recipient: rfc822; hidden@example.net\nAction: failed\nStatus: 5.1.1',
  ])
  t.strictSame(
    read(forwarded).recipients.map((one) => one.address),
    ['ana@example.org'],
  )
})

await t.test('aggregate reports are reports', async (t) => {
  const dmarc = multipart(
    [
      'From: reports@provider.example',
      'To: dmarc@sending.example',
      'Subject: Report Domain: sending.example Submitter: provider.example Report-ID: <1>',
    ],
    'mixed',
    [{ type: 'application/gzip; name="provider.example!sending.example!1!2.xml.gz"', text: 'H4sI' }],
  )
  t.equal(read(dmarc).kind, 'report')
  const tls = multipart(['From: a@provider.example', 'Subject: x'], 'report; report-type="tlsrpt"', [
    { type: 'application/tlsrpt+gzip', text: 'H4sI' },
  ])
  t.equal(read(tls).kind, 'report')
})

await t.test('a house that tells one of its own is believed', async (t) => {
  const inHouse = report([failedGroup('ana@elsewhere.example')])
    .replace('MAILER-DAEMON@mx.example.org', 'MAILER-DAEMON@sending.example')
    .replace('To: <shop@sending.example>', 'To: <bounces@mta.sending.example>')
  t.match(read(inHouse), { kind: 'bounce', recipients: [{ address: 'ana@elsewhere.example', hard: true }] })
  const fields = report([
    'Action: failed\nFinal-Recipient: rfc822; ana@example.org\nOriginal-Recipient: rfc822; ana@example.org\nStatus: 5.1.1',
  ])
  t.match(read(fields), { kind: 'bounce', recipients: [{ address: 'ana@example.org', status: '5.1.1' }] })
  t.equal(read(fields).recipients.length, 1)
})

await t.test('a forged notice judges nobody dead', async (t) => {
  const stranger = report([failedGroup('ana@example.org')], 'Bad news.', [
    'Return-Path: <someone@elsewhere.example>',
    ...DAEMON.slice(1),
  ])
  const foreign = report([failedGroup('ana@example.org')]).replace(
    'From: Shop <shop@sending.example>',
    'From: Shop <shop@mx.example.org>',
  )
  const words = plain('Delivery failed permanently: <ana@example.org>: user unknown', [
    'Return-Path: <someone@elsewhere.example>',
    ...DAEMON.slice(1),
  ])
  for (const text of [stranger, foreign, words]) {
    const { recipients } = read(text)
    t.equal(recipients.length, 1)
    t.ok(recipients.every((one) => one.hard !== true))
  }
})
