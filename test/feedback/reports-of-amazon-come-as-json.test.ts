import t from 'tap'
import { loadReplyRules, readReport } from '#feedback'

const rules = loadReplyRules(new URL('../../config/replies.toml', import.meta.url).pathname)

const MAIL = {
  source: 'bounce+token@sending.example',
  destination: ['ana@town.example'],
  commonHeaders: { messageId: '<order-17@sending.example>' },
}

function read(notice: unknown, fold = (text: string): string => text): ReturnType<typeof readReport> {
  const text = typeof notice === 'string' ? notice : JSON.stringify(notice)
  const mail = [
    'Return-Path: <0100-000000@eu-west-1.amazonses.com>',
    'From: Notices <no-reply@sns.amazonaws.com>',
    'To: <shop@sending.example>',
    'Subject: AWS Notification Message',
    '',
    fold(text),
    '',
    '--',
    'If you wish to stop receiving these, visit {this} page.',
  ].join('\n')
  return readReport(Buffer.from(mail), rules)
}

const BOUNCED = [
  {
    emailAddress: 'ana@town.example',
    action: 'failed',
    status: '5.1.1',
    diagnosticCode: 'smtp; 550 5.1.1 user unknown',
  },
]

await t.test('a permanent bounce says who failed, and why', async (t) => {
  const bounce = { bounceType: 'Permanent', bouncedRecipients: BOUNCED }
  const report = read({ notificationType: 'Bounce', bounce, mail: MAIL })
  t.strictSame(report, {
    kind: 'bounce',
    recipients: [
      {
        address: 'ana@town.example',
        action: 'failed',
        status: '5.1.1',
        smtpCode: '550',
        class: 'user-unknown',
        hard: true,
        diagnostic: '550 5.1.1 user unknown',
      },
    ],
    originalMessageId: '<order-17@sending.example>',
    originalReturnPath: 'bounce+token@sending.example',
  })
})

await t.test('folded lines do not break it', async (t) => {
  const notice = {
    notificationType: 'Bounce',
    bounce: { bounceType: 'Permanent', bouncedRecipients: BOUNCED },
    mail: MAIL,
  }
  const report = read(notice, (text) => text.replaceAll('user unknown', 'user\n unknown'))
  t.equal(report.recipients[0]?.hard, true)
})

await t.test('what is not permanent kills nobody', async (t) => {
  const bounce = { bounceType: 'Transient', bouncedRecipients: BOUNCED }
  t.equal(read({ notificationType: 'Bounce', bounce, mail: MAIL }).recipients[0]?.hard, null)
})

await t.test('complaints and deliveries are what they say', async (t) => {
  const complaint = { complainedRecipients: [{ emailAddress: 'ana@town.example' }], complaintFeedbackType: 'abuse' }
  const complained = read({ eventType: 'Complaint', complaint, mail: MAIL })
  t.equal(complained.kind, 'complaint')
  t.equal(complained.originalReturnPath, 'bounce+token@sending.example')
  const delivery = { recipients: ['ana@town.example'], smtpResponse: '250 2.6.0 taken' }
  const delivered = read({ eventType: 'Delivery', delivery, mail: MAIL })
  t.equal(delivered.kind, 'success')
  t.match(delivered.recipients[0], { address: 'ana@town.example', action: 'delivered', hard: null })
})

await t.test('other JSON, and broken JSON, says nothing', async (t) => {
  for (const text of [
    '{"a":1}',
    '{"notificationType":"Bounce"',
    '{"notificationType":"Bounce"}',
    '{"eventType":7}',
    '[]',
  ]) {
    const report = read(text)
    t.strictSame(report.recipients, [], text)
  }
  t.doesNotThrow(() => read(`{"notificationType":"Bounce","bounce":${'['.repeat(100_000)}`))
})
