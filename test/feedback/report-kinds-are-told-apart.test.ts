import t from 'tap'
import { loadReplyRules, type ReportKind, readReport } from '#feedback'

const rules = loadReplyRules(new URL('../../config/replies.toml', import.meta.url).pathname)

// Name, kind, head, text.
const MAILS: readonly [string, ReportKind, readonly string[], string][] = [
  [
    'parcel',
    'other',
    [
      'Return-Path: <n@courier.example>',
      'From: Courier <info@courier.example>',
      'Subject: Delivery to your address failed',
    ],
    'Your parcel could not be delivered today. The delivery will be tried again tomorrow. Questions? Write to help@courier.example.',
  ],
  [
    'parcel, without envelope sender',
    'auto-reply',
    [
      'Return-Path: <>',
      'From: Courier <info@courier.example>',
      'Subject: Delivery failed: parcel 123',
      'Auto-Submitted: auto-generated',
    ],
    'Your parcel could not be delivered today. Write to help@courier.example.',
  ],
  [
    'newsletter on bounces',
    'other',
    [
      'Return-Path: <news@blog.example>',
      'From: Blog <news@blog.example>',
      'Subject: How to reduce your bounce rate',
      'List-Unsubscribe: <https://blog.example/u>',
    ],
    'A bounce says that a message was not delivered: 550 5.1.1 <someone@example.org>: user unknown. Questions to editor@blog.example.',
  ],
  [
    'support ticket',
    'other',
    [
      'Return-Path: <support@host.example>',
      'From: Support <support@host.example>',
      'Subject: Re: my mail to ana@town.example bounces',
    ],
    'We looked at it: the mail was rejected with 550 5.1.1 user unknown for <ana@town.example>.',
  ],
  [
    'forwarded bounce',
    'other',
    [
      'Return-Path: <boss@sending.example>',
      'From: Boss <boss@sending.example>',
      'Subject: Fwd: Undelivered Mail Returned to Sender',
    ],
    'Please have a look!\n\n---------- Forwarded message ----------\nFrom: Mail Delivery System <MAILER-DAEMON@mx.example>\n\n<ana@town.example>: host mx.town.example said: 550 5.1.1 User unknown',
  ],
  [
    'reply to bounce',
    'other',
    [
      'Return-Path: <ben@town.example>',
      'From: Ben <ben@town.example>',
      'Subject: Re: Undelivered Mail Returned to Sender',
    ],
    '> <ana@town.example>: host mx.town.example said: 550 5.1.1 User unknown\n\nYes, she left.',
  ],
  [
    'job rejected',
    'other',
    ['Return-Path: <hr@firm.example>', 'From: HR <hr@firm.example>', 'Subject: Your application was rejected'],
    'Dear applicant, we could not reach you by phone. Your application was rejected. Contact jobs@firm.example',
  ],
  [
    'payment failed',
    'other',
    [
      'Return-Path: <billing@firm.example>',
      'From: Billing <billing@firm.example>',
      'Subject: Your payment was rejected',
    ],
    'Your invoice could not be delivered by post and was returned to us. billing@firm.example',
  ],
  [
    'phish',
    'other',
    [
      'Return-Path: <x@bad.example>',
      'From: Mail Administrator <admin@bad.example>',
      'Subject: 7 undelivered mails for shop@sending.example',
    ],
    'You have 7 undelivered messages. Click here to release them to your inbox: http://bad.example. shop@sending.example',
  ],
  [
    'postmaster note',
    'other',
    [
      'Return-Path: <postmaster@firm.example>',
      'From: Postmaster <postmaster@firm.example>',
      'Subject: Planned maintenance on Sunday',
    ],
    'Mail will be slow on Sunday. Ask postmaster@firm.example or helpdesk2@firm.example.',
  ],
  [
    'mailman bounce report',
    'other',
    [
      'Return-Path: <list-bounces@lists.example>',
      'From: list-bounces@lists.example',
      'Subject: List bounce action notification',
      'List-Id: <list.lists.example>',
    ],
    'This is a Mailman mailing list bounce action notice:\n\n    List:       list\n    Member:     ana@town.example\n    Action:     Subscription disabled.\n    Reason:     Excessive or fatal bounces.',
  ],
  [
    'list digest',
    'other',
    [
      'Return-Path: <list-bounces@lists.example>',
      'From: list-request@lists.example',
      'Subject: list Digest, Vol 12',
      'List-Id: <list.lists.example>',
      'Precedence: list',
    ],
    'Message: 1\nFrom: ana@town.example\nSubject: returned mail\n\nMy mail could not be delivered, user unknown',
  ],
  [
    'vacation en',
    'auto-reply',
    ['Return-Path: <>', 'From: Ana <ana@town.example>', 'Subject: Out of office', 'Auto-Submitted: auto-replied'],
    'I am away. Your message was not delivered to anybody else. Write to ben@town.example.',
  ],
  [
    'vacation by old',
    'auto-reply',
    ['Return-Path: <>', 'From: Ana <ana@town.example>', 'Subject: Re: Your order', 'Precedence: auto_reply'],
    'I left the company, my mailbox is not read. Please write to ben@town.example instead.',
  ],
  [
    'left company',
    'auto-reply',
    [
      'Return-Path: <>',
      'From: Ana <ana@town.example>',
      'Subject: Automatic reply: Your order',
      'Auto-Submitted: auto-replied',
      'X-Auto-Response-Suppress: All',
    ],
    'Ana no longer works here. This mailbox will be closed. ben@town.example',
  ],
  [
    'vacation de',
    'auto-reply',
    [
      'Return-Path: <>',
      'From: Ana <ana@town.example>',
      'Subject: Abwesenheitsnotiz: Ihre Bestellung',
      'Auto-Submitted: auto-replied',
    ],
    'Ich bin nicht im Haus. Ihre Nachricht wurde nicht zugestellt. ben@town.example',
  ],
  [
    'vacation fr',
    'auto-reply',
    [
      'Return-Path: <>',
      'From: Ana <ana@town.example>',
      'Subject: =?utf-8?Q?R=C3=A9ponse_automatique_:_Votre_commande?=',
    ],
    'Je suis absente. Votre message n a pas pu être lu. ben@town.example',
  ],
  [
    'vacation no marks',
    'auto-reply',
    ['Return-Path: <>', 'From: Ana <ana@town.example>', 'Subject: Vacation reply'],
    'On holiday',
  ],
  [
    'ticket ack',
    'auto-reply',
    [
      'Return-Path: <>',
      'From: Support <support@town.example>',
      'Subject: [Ticket 123] Your order',
      'Auto-Submitted: auto-replied',
    ],
    'We got your mail. It has been received by our team: support@town.example.',
  ],
  [
    'tmda',
    'challenge',
    [
      'Return-Path: <>',
      'From: ana-confirm@town.example',
      'Subject: Please confirm your message',
      'Auto-Submitted: auto-replied',
    ],
    'Your message is being held because your address has not been verified. To release your message, reply to ana-confirm-1@town.example',
  ],
  [
    'boxbe',
    'challenge',
    [
      'Return-Path: <>',
      'From: Boxbe <noreply@boxbe.example>',
      'Subject: Your order (Action Required)',
      'Auto-Submitted: auto-replied',
    ],
    'Hello, your message about "Your order" was waitlisted. Please add yourself to my Guest List by clicking this link: http://boxbe.example ana@town.example',
  ],
  [
    'earthlink',
    'challenge',
    ['Return-Path: <>', 'From: ana@town.example', 'Subject: Re: Your order', 'Precedence: auto_reply'],
    'To control spam, I now allow incoming messages only from senders I have approved beforehand. Click the link below.',
  ],
  [
    'mdn',
    'other',
    ['Return-Path: <ana@town.example>', 'From: Ana <ana@town.example>', 'Subject: Read: Your order'],
    'Your message To: ana@town.example was read on Monday.',
  ],
  [
    'not read',
    'other',
    ['Return-Path: <ana@town.example>', 'From: Ana <ana@town.example>', 'Subject: Not read: Your order'],
    'Your message To: ana@town.example was deleted without being read on Monday.',
  ],
  [
    'recall',
    'other',
    ['Return-Path: <ana@town.example>', 'From: Ana <ana@town.example>', 'Subject: Message Recall Failure: Your order'],
    'Could not recall.',
  ],
  [
    'calendar',
    'other',
    ['Return-Path: <ana@town.example>', 'From: Ana <ana@town.example>', 'Subject: Accepted: Meeting'],
    'ok ben@town.example',
  ],
  [
    'monitoring',
    'other',
    ['Return-Path: <root@web.example>', 'From: root <root@web.example>', 'Subject: Cron <root@web> mailq failed'],
    'mailq: fatal: permanent error: user unknown for x@town.example',
  ],
  [
    'sieve reject',
    'bounce',
    [
      'Return-Path: <>',
      'From: Mail Delivery Subsystem <postmaster@town.example>',
      'Subject: Rejected: Your order',
      'Auto-Submitted: auto-replied (rejected)',
    ],
    'Your message to <ana@town.example> was automatically rejected:\nI want no mail.',
  ],
  [
    'dmarc',
    'report',
    [
      'Return-Path: <dmarc@big.example>',
      'From: dmarc@big.example',
      'Subject: Report Domain: sending.example Submitter: big.example Report-ID: 1',
      'Content-Type: application/zip',
    ],
    'UEsDBA==',
  ],
  [
    'abuse person',
    'other',
    ['Return-Path: <x@town.example>', 'From: X <x@town.example>', 'Subject: Spam from your server'],
    'I received spam from you, my mailbox rejected it: 554 5.7.1 message looks like spam. x@town.example',
  ],
  [
    'wetransfer',
    'other',
    ['Return-Path: <>', 'From: Files <noreply@files.example>', 'Subject: Your files could not be delivered'],
    'Your transfer to ana@town.example could not be delivered because the link has expired.',
  ],
  [
    'delay exim',
    'delay',
    [
      'Return-Path: <>',
      'From: Mail Delivery System <Mailer-Daemon@mx.example>',
      'Subject: Warning: message 1x delayed 24 hours',
    ],
    'This message was created automatically.\nThe address to which the message has not yet been delivered is:\n\n  ana@town.example\n    Delay reason: 550 unknown user\n\nNo action is required on your part. Delivery attempts will continue for some time.',
  ],
  [
    'delay exchange',
    'delay',
    ['Return-Path: <>', 'From: postmaster@mx.example', 'Subject: Delivery delayed: Your order'],
    "Delivery is delayed to these recipients or groups:\n\nana@town.example\n\nSubject: Your order\nThis message hasn't been delivered yet. Delivery will continue to be attempted.",
  ],
  [
    'delay qq',
    'delay',
    [
      'Return-Path: <>',
      'From: Mail Delivery Subsystem <mailer-daemon@mx.example>',
      'Subject: Delivery Status Notification (Delay)',
    ],
    'This is an automatically generated Delivery Status Notification.\n\nTHIS IS A WARNING MESSAGE ONLY.\n\nYOU DO NOT NEED TO RESEND YOUR MESSAGE.\n\nDelivery to the following recipient has been delayed:\n\n     ana@town.example\n\nMessage will be retried for 2 more day(s)',
  ],
  [
    'success sendmail',
    'success',
    ['Return-Path: <>', 'From: MAILER-DAEMON@mx.example', 'Subject: Return receipt'],
    '   ----- The following addresses had successful delivery notifications -----\nana@town.example  (relayed to non-DSN-aware mailer)\n\n   ----- Transcript of session follows -----\nana@town.example... relayed; expect no further notifications',
  ],
  [
    'success exim',
    'success',
    [
      'Return-Path: <>',
      'From: Mail Delivery System <mailer-daemon@mx.example>',
      'Subject: Successful Mail Delivery Report',
    ],
    'Your message was successfully delivered to the destination(s) listed below.\n\n<ana@town.example>: delivery via mx: 250 2.0.0 Ok',
  ],
  [
    'a gateway without a name',
    'bounce',
    ['Return-Path: <>', 'From: <>', 'Subject: failure notice'],
    'The following mail could not be sent.\n\nana@town.example\n\n550 5.1.1 no such user',
  ],
]

await t.test('mail that comes back is what it is, and only a bounce has somebody failed', async (t) => {
  for (const [name, kind, head, text] of MAILS) {
    const report = readReport(Buffer.from([...head, 'To: shop@sending.example', '', text].join('\n')), rules)
    t.equal(report.kind, kind, name)
    if (kind === 'bounce')
      t.strictSame(
        report.recipients.map(({ address }) => address),
        ['ana@town.example'],
        name,
      )
    else
      t.notOk(
        report.recipients.some(({ action, hard }) => action === 'failed' || hard === true),
        name,
      )
  }
})

await t.test('whoever is told of a delay or of an arrival is named', async (t) => {
  for (const [name, kind, head, text] of MAILS.filter(([, one]) => one === 'delay' || one === 'success')) {
    const { recipients } = readReport(Buffer.from([...head, 'To: shop@sending.example', '', text].join('\n')), rules)
    t.match(
      recipients,
      [{ address: 'ana@town.example', action: kind === 'delay' ? 'delayed' : 'delivered', hard: null }],
      name,
    )
  }
})
