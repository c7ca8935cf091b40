import { join } from 'node:path'
import { loadReplyRules, readReport } from '#feedback'
import {
  completeMessage,
  decodeWords,
  formatAddress,
  generateDkimKey,
  loadDkimKey,
  parseAddress,
  parseMailboxes,
  parsePath,
  readFields,
  readParts,
  readReturnPath,
  signMessage,
  splitMessage,
  toSevenBit,
} from '#mail'
import { ReplyParser } from '../../../src/delivery/smtp-client/reply-parser.ts'
import { readMail, readRcpt } from '../../../src/intake/smtp/path-command.ts'

/** Something that reads bytes of strangers. `run` throws when what must hold does not. */
export type Target = {
  readonly name: string
  readonly seeds: readonly Buffer[]
  run(input: Buffer): void | Promise<void>
}

const rules = loadReplyRules(join(import.meta.dirname, '../../../config/replies.toml'))
const bytes = (...texts: readonly string[]): Buffer[] => texts.map((text) => Buffer.from(text, 'latin1'))
const must = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(`does not hold: ${what}`)
}
const CONTROL = /[\0-\x1f\x7f]/
const BARE = /(?:^|[^\r])\n|\r(?!\n)/

const ADDRESSES = [
  ...['a@b.example', '"a b"@c.example', '"a\\"b"@c.example', 'ü@d.example', 'a@xn--bcher-kva.example', 'a@[127.0.0.1]'],
  ...['a.b+c@d-e.example', '@x,@y:a@b.example', 'a%b@c.example', 'b!a@c.example', '=?utf-8?q?a?=@b.example'],
]
const MAIL = bytes(
  'From: A B <a@sender.example>\r\nTo: "x, y" <b@c.example>, grp: d@e.example;\r\nSubject: =?utf-8?q?h=C3=A4?=\r\n =?utf-8?b?w7w=?=\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <x@y.example>\r\nReferences: <a@b> <c@d>\r\n\r\nHello.\r\n.\r\nDone \x80\r\n',
  'From: a@sender.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nH\xc3\xa4\r\n--b\r\nContent-Type: application/octet-stream; name*0*=utf-8\'\'%e2%82; name*1=x\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n',
  'From: a@sender.example\r\nX-Relevo-Tag: a, b\r\nX-Relevo-Metadata-Order: 7\r\nX-Relevo-Priority: high\r\nX-SMTPAPI: {"category":"c","unique_args":{"k":"v"}}\r\nBcc: z@c.example\r\n\r\nx\r\n',
  'From: a@sender.example\r\nContent-Type: multipart/signed; protocol="application/pgp-signature"; boundary=s\r\n\r\n--s\r\nContent-Type: message/rfc822\r\n\r\nFrom: q@r.example\r\n\r\nx\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\n-----\r\n--s--\r\n',
)
const REPORTS = bytes(
  'From: MAILER-DAEMON@mx.example\r\nTo: x@bounces.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nfailed\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b--\r\n',
  'From: postmaster@mx.example\r\nSubject: Undelivered\r\n\r\n<a@b.example>: host mx.b.example said: 550 5.1.1 user unknown\r\n\r\n--- Below this line is a copy of the message.\r\n\r\nSubject: y\r\n',
  'From: fbl@isp.example\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: X/1\r\nVersion: 1\r\nOriginal-Rcpt-To: <a@b.example>\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nTo: a@b.example\r\n\r\n--b--\r\n',
  'From: a@b.example\r\nAuto-Submitted: auto-replied\r\nSubject: Out of office\r\n\r\nAway.\r\n',
  'From: no-reply@amazonses.com\r\nContent-Type: text/plain\r\n\r\n{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":"a@b.example","status":"5.1.1"}]}}\r\n',
)
const KINDS = new Set(['bounce', 'complaint', 'auto-reply', 'delay', 'success', 'challenge', 'report', 'other'])
const options = {
  ...{
    hostname: 'mail.example',
    id: '01m8fuzz',
    nowMs: 1_795_000_000_000,
    protocol: 'ESMTPSA',
    recipient: 'b@c.example',
  },
  client: { address: '192.0.2.1', name: null, helo: 'client.example' },
}

/** All readers of hostile bytes. Made once: the DKIM target has a key of its own. */
export async function openTargets(): Promise<readonly Target[]> {
  const { privateKeyDer } = await generateDkimKey('ed25519-sha256')
  const key = loadDkimKey({ domain: 'sender.example', selector: 's1', algorithm: 'ed25519-sha256', privateKeyDer })
  return [
    {
      name: 'address',
      seeds: bytes(...ADDRESSES, ...ADDRESSES.map((one) => `<${one}>`)),
      run(input) {
        const text = input.toString(input[0]! & 1 ? 'utf8' : 'latin1')
        for (const read of [parseAddress(text), parsePath(text)]) {
          if (!read.ok || read.value === null) continue
          const { text: canonical, domain } = read.value
          must(!CONTROL.test(canonical) && !/[<>\s]/.test(domain), 'an address has no control character')
          must(formatAddress(read.value) === canonical, 'an address is written as it was read')
          const again = parseAddress(canonical)
          must(again.ok && again.value.text === canonical, 'an address read again is the same')
        }
      },
    },
    {
      name: 'command',
      seeds: bytes(
        'MAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME RET=FULL ENVID=a+2Bb',
        'RCPT TO:<"a b"@c.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b',
        'MAIL FROM:<> SMTPUTF8 AUTH=<> HOLDFOR=60 MT-PRIORITY=-3',
        'MAIL FROM:<a@b.example> HOLDUNTIL=2026-12-24T18:00:00Z REQUIRETLS',
      ),
      run(input) {
        const line = input.toString('utf8')
        const mail = readMail(line, 1000, 'offered', options.nowMs)
        if (mail.ok)
          must(
            !CONTROL.test(`${mail.value.reversePath?.text}${mail.value.envelopeId}`),
            'MAIL lets no control character in',
          )
        const rcpt = readRcpt(line, true, 'mail.example')
        if (rcpt.ok)
          must(
            !CONTROL.test(`${rcpt.value.address.text}${rcpt.value.originalRecipient}`),
            'RCPT lets no control character in',
          )
        for (const answer of [mail, rcpt])
          if (!answer.ok) must(!/[\r\n]/.test(answer.reply.text), 'a refusal is one line')
      },
    },
    {
      name: 'header',
      seeds: MAIL,
      run(input) {
        const { header } = splitMessage(input, true)
        const fields = readFields(header)
        must(Buffer.concat(fields.map((field) => field.raw)).equals(header), 'the fields are the header')
        for (const field of fields.slice(0, 50)) {
          const value = field.raw.toString('latin1')
          decodeWords(value)
          parseMailboxes(value)
        }
      },
    },
    {
      name: 'submission',
      seeds: MAIL,
      run(input) {
        const done = completeMessage(input, { ...options, smtpUtf8: (input.length & 1) === 1 })
        if (!done.ok) {
          must(!/[\r\n]/.test(done.error.message), 'a refusal is one line')
          return
        }
        const content = done.value.content.toString('latin1')
        must(!BARE.test(content), 'no bare CR or LF leaves')
        must(!content.includes('\0'), 'no NUL leaves')
        must(
          !/^(bcc|x-relevo-[^\r\n:]*|x-smtpapi):/im.test(content.slice(0, content.indexOf('\r\n\r\n') + 2)),
          'control headers and Bcc are gone',
        )
        must(!CONTROL.test(done.value.subject), 'the subject is one line')
        must(Object.getPrototypeOf(done.value.control.metadata) === null, 'metadata has no prototype')
      },
    },
    {
      name: 'MIME',
      seeds: [...MAIL, ...REPORTS],
      run(input) {
        readParts(input)
        toSevenBit(input)
      },
    },
    {
      name: 'report',
      seeds: REPORTS,
      run(input) {
        const report = readReport(input, rules)
        must(KINDS.has(report.kind), 'a report has a kind')
        must(report.recipients.length <= 200, 'the recipients of a report are bounded')
        must(
          report.recipients.every(({ address }) => address !== ''),
          'each has an address',
        )
      },
    },
    {
      name: 'DKIM',
      seeds: MAIL,
      async run(input) {
        const done = completeMessage(input, { ...options, smtpUtf8: false })
        if (!done.ok) return
        const signature = (await signMessage(done.value.content, [key], { nowMs: options.nowMs })).toString('latin1')
        must(/^DKIM-Signature: (?:[^\r\n]|\r\n\t)*\r\n$/.test(signature), 'a signature is one folded field')
      },
    },
    {
      name: 'reply',
      seeds: bytes(
        '250-mx.example\r\n250-SIZE 10\r\n250 HELP\r\n',
        '550 5.1.1 no such user\r\n',
        '354 go\r\n421 4.3.2\r\n',
      ),
      run(input) {
        const parser = new ReplyParser()
        for (let at = 0, replies = 0; at < input.length && replies < 100; replies++) {
          const step = parser.read(input, at)
          if (step.kind !== 'reply') break
          must(step.next > at, 'reading goes on')
          must(!CONTROL.test(step.reply.text), 'the text of a reply has no control character')
          at = step.next
        }
      },
    },
    {
      name: 'return path',
      seeds: bytes('aeaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@bounces.example', 'x@y'),
      run(input) {
        const read = readReturnPath(input.toString('latin1'), options.nowMs, (id) => ({
          id,
          secret: Buffer.alloc(32, id),
        }))
        must(!read.ok, 'no forged return path is believed')
      },
    },
  ]
}
