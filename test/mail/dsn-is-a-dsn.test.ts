import fc from 'fast-check'
import { simpleParser } from 'mailparser'
import t from 'tap'
import { loadReplyRules, readReport } from '#feedback'
import { composeDsn, composeForward, type DsnOptions, readParts } from '#mail'

const rules = loadReplyRules(new URL('../../config/replies.toml', import.meta.url).pathname)
const HEADER = Buffer.from(
  'From: Shop <shop@sending.example>\r\nTo: ana@example.org\r\nSubject: Your order\r\nMessage-ID: <order-17@sending.example>\r\n\r\n',
)
const WHOLE = Buffer.concat([HEADER, Buffer.from('Thank you.\r\n')])
const NOW_MS = Date.UTC(2026, 2, 4, 9, 30)

function options(
  changes: Partial<DsnOptions> = {},
  recipient: Partial<DsnOptions['recipients'][number]> = {},
): DsnOptions {
  return {
    hostname: 'mta.sending.example',
    nowMs: NOW_MS,
    id: '01k0abc',
    to: 'shop@sending.example',
    envelopeId: 'env-1',
    arrivalMs: NOW_MS - 60_000,
    originalHeader: HEADER,
    originalContent: null,
    originalSubject: 'Your order',
    recipients: [
      {
        finalRecipient: 'ana@example.org',
        originalRecipient: 'rfc822;ana@example.org',
        action: 'failed',
        status: '5.1.1',
        remoteMta: 'mx.example.org',
        diagnostic: '550 5.1.1 no such user',
        lastAttemptMs: NOW_MS,
        ...recipient,
      },
    ],
    ...changes,
  }
}

/** RFC 5321 §2.3.8 and §4.5.3.1.6; RFC 5322 §2.1.1. */
function faultIn(raw: Buffer): string {
  const text = raw.toString('latin1')
  if (/[^\r]\n|\r[^\n]|^\n|\r$/.test(text)) return 'a bare CR or LF'
  if (/[^\x01-\x7f]/.test(text)) return 'not 7-bit'
  if (text.split('\r\n').some((line) => line.length > 998)) return 'a line over 998'
  return text.endsWith('\r\n') ? '' : 'no line end at its end'
}

await t.test('our own notice is read back by us and by another parser', async (t) => {
  const raw = composeDsn(options())
  t.equal(faultIn(raw), '')
  t.strictSame(readReport(raw, rules), {
    kind: 'bounce',
    recipients: [
      {
        address: 'ana@example.org',
        action: 'failed',
        status: '5.1.1',
        smtpCode: '550',
        class: 'user-unknown',
        hard: true,
        diagnostic: '550 5.1.1 no such user',
      },
    ],
    originalMessageId: '<order-17@sending.example>',
    originalReturnPath: null,
  })
  const mail = await simpleParser(raw)
  t.equal(mail.from?.value[0]?.address, 'MAILER-DAEMON@mta.sending.example')
  t.equal(mail.subject, 'Your message was not delivered')
  t.equal(mail.headers.get('auto-submitted'), 'auto-replied')
  t.equal(mail.date?.getTime(), NOW_MS)
  t.equal(mail.references, '<order-17@sending.example>')
  t.match(mail.text, /"Your order" to\s+<ana@example\.org> could not be\s+delivered/)
  t.match(mail.text, /550 5\.1\.1 no such user/)
  const status = readParts(raw).find((part) => part.type === 'message/delivery-status')?.text ?? ''
  for (const line of [
    /^Original-Envelope-Id: env-1$/m,
    /^Reporting-MTA: dns; mta\.sending\.example$/m,
    /^Original-Recipient: rfc822;ana@example\.org$/m,
    /^Final-Recipient: rfc822; ana@example\.org$/m,
    /^Action: failed$/m,
    /^Status: 5\.1\.1$/m,
    /^Remote-MTA: dns; mx\.example\.org$/m,
    /^Diagnostic-Code: smtp; 550 5\.1\.1 no such user$/m,
    /^Last-Attempt-Date: .* \+0000$/m,
  ])
    t.match(status, line)
})

await t.test('each action is told as such', async (t) => {
  const of = (action: 'delayed' | 'relayed', status: string) =>
    readReport(composeDsn(options({}, { action, status, diagnostic: '450 4.2.0 later' })), rules)
  t.match(of('delayed', '4.4.1'), { kind: 'delay', recipients: [{ action: 'delayed', hard: null }] })
  t.match(of('relayed', '2.0.0'), { kind: 'success', recipients: [{ action: 'relayed', hard: null }] })
  const base = options().recipients[0]!
  const several = composeDsn(
    options({
      recipients: [base, { ...base, finalRecipient: 'b@example.org', originalRecipient: null, remoteMta: '' }],
    }),
  )
  t.equal(readReport(several, rules).recipients.length, 2)
  t.equal(faultIn(several), '')
})

await t.test(
  'the original is enclosed whole when asked for, else its header, else nothing that would break the form',
  async (t) => {
    const typesOf = (changes: Partial<DsnOptions>) => {
      const raw = composeDsn(options(changes))
      t.equal(faultIn(raw), '')
      return readParts(raw)
        .filter((part) => part.depth === 1)
        .map((part) => part.type)
    }
    const two = ['text/plain', 'message/delivery-status']
    t.strictSame(typesOf({}), [...two, 'text/rfc822-headers'])
    t.strictSame(typesOf({ originalContent: WHOLE }), [...two, 'message/rfc822'])
    t.strictSame(typesOf({ originalContent: Buffer.concat([WHOLE, Buffer.from('ä\r\n')]) }), [
      ...two,
      'text/rfc822-headers',
    ])
    t.strictSame(typesOf({ originalContent: Buffer.concat([WHOLE, Buffer.alloc(2_000_000, 'x\r\n')]) }), [
      ...two,
      'text/rfc822-headers',
    ])
    t.strictSame(typesOf({ originalHeader: null }), two)
    t.strictSame(typesOf({ originalHeader: Buffer.from('Subject: ä\r\n\r\n') }), two)
  },
)

await t.test('an address beyond ASCII is written so that any system can read it', async (t) => {
  const raw = composeDsn(options({}, { finalRecipient: 'jürgen@example.org', originalRecipient: null }))
  t.equal(faultIn(raw), '')
  t.match(raw.toString(), /^Final-Recipient: utf-8; j\\x\{FC\}rgen@example\.org\r$/m)
})

await t.test('what a remote system says cannot add a field, a part or a line', async (t) => {
  const evil = [
    '550 no\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; victim@example.net\r\nAction: failed',
    '550 no\n--dsn-01k0abc--\nmore',
    '550 \0\x1b[31m\x7f\u2028 ünï ',
    'x'.repeat(20_000),
    ' '.repeat(5000),
    '',
  ]
  for (const [i, diagnostic] of evil.entries()) {
    const raw = composeDsn(
      options(
        { originalSubject: diagnostic, envelopeId: diagnostic },
        { diagnostic, remoteMta: diagnostic, originalRecipient: `rfc822;${diagnostic}` },
      ),
    )
    t.equal(faultIn(raw), '', `evil ${i}`)
    const parts = readParts(raw)
    t.strictSame(
      parts.filter((part) => part.depth === 1).map((part) => part.type),
      ['text/plain', 'message/delivery-status', 'text/rfc822-headers'],
    )
    const status = parts[2]!.text
    t.strictSame(
      status.split('\n').filter((line) => /^(action|final-recipient|status):/i.test(line)),
      ['Final-Recipient: rfc822; ana@example.org', 'Action: failed', 'Status: 5.1.1'],
    )
  }
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 3000 }), (text) => {
      const raw = composeDsn(
        options({ originalSubject: text, envelopeId: text }, { diagnostic: text, remoteMta: text }),
      )
      return faultIn(raw) === '' && readReport(raw, rules).recipients.length === 1
    }),
    { numRuns: 500 },
  )
})

await t.test('mail that is passed on arrives as it came', async (t) => {
  const forward = (raw: Buffer, subject = 'abuse: a report') => {
    const out = composeForward({
      hostname: 'mta.sending.example',
      nowMs: NOW_MS,
      id: '01k0fwd',
      to: 'admin@sending.example',
      subject,
      raw,
    })
    t.equal(faultIn(out), '')
    return out
  }
  const plain = await simpleParser(forward(WHOLE), { skipImageLinks: true })
  t.equal(plain.from?.value[0]?.address, 'postmaster@mta.sending.example')
  t.equal(plain.attachments[0]?.contentType, 'message/rfc822')
  t.match(plain.attachments[0]?.content.toString(), /Thank you\./)

  const eight = Buffer.from(
    'From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n',
  )
  const inner = await simpleParser((await simpleParser(forward(eight))).attachments[0]!.content)
  t.equal(inner.text?.trim(), 'Grüße')

  const signed = Buffer.from(
    'From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s; micalg=pgp-sha256;\r\n protocol="application/pgp-signature"\r\n\r\n--s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nxyz\r\n--s--\r\n',
  )
  const carried = forward(signed)
  t.match(
    readParts(carried).map((part) => part.type),
    ['multipart/mixed', 'text/plain', 'application/octet-stream'],
    'a signed part is not rewritten',
  )
  const kept = (await simpleParser(carried)).attachments[0]!
  t.ok(kept.content.equals(signed))

  const odd = await simpleParser(forward(WHOLE, 'Grüße\r\nBcc: victim@example.net'))
  t.notOk(odd.headers.has('bcc'))
  t.equal(odd.subject?.includes('\n'), false)
  for (const raw of ['', 'no header', 'a\nb\n', `X: ${'y'.repeat(5000)}\r\n\r\nz`]) forward(Buffer.from(raw))
})
