import { DOMAIN } from './wall.ts'

/** A mail made to cost its reader far more than its sender. */
export type Bomb = readonly [name: string, make: () => string]

const MB = 1_000_000
const head = (...fields: string[]): string =>
  [`From: <app@${DOMAIN}>`, 'To: <you@nowhere.test>', 'Subject: s', 'MIME-Version: 1.0', ...fields, '', ''].join('\r\n')
const plain = (body: string, ...fields: string[]): string => head(...fields) + body
/** Long runs in lines that SMTP can carry. */
const lines = (text: string, bytes: number, width = 900): string => {
  const line = text.repeat(Math.ceil(width / text.length)).slice(0, width)
  return `${line}\r\n`.repeat(Math.ceil(bytes / (width + 2)))
}
const folded = (name: string, piece: string, bytes: number): string =>
  `${name}: ${`${piece.repeat(Math.ceil(900 / piece.length))}\r\n `.repeat(Math.ceil(bytes / 903))}x`
const nested = (depth: number, type: (i: number) => string): string => {
  let open = ''
  let close = ''
  for (let i = 0; i < depth; i++) {
    open += `Content-Type: ${type(i)}\r\n\r\n${type(i).startsWith('multipart') ? `--n${i}\r\n` : ''}`
    if (type(i).startsWith('multipart')) close = `\r\n--n${i}--${close}`
  }
  return `From: <app@${DOMAIN}>\r\nMIME-Version: 1.0\r\n${open}Content-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xa4${close}`
}
const multi = (boundary: string, body: string, ...fields: string[]): string =>
  head(`Content-Type: multipart/mixed; boundary="${boundary}"`, ...fields) + body

/** Handed in by an application. */
export const SUBMITTED: readonly Bomb[] = [
  ['3,000 multiparts deep', () => nested(3000, (i) => `multipart/mixed; boundary=n${i}`)],
  ['5,000 messages in messages', () => nested(5000, () => 'message/rfc822')],
  ['50,000 parts', () => multi('b', '--b\r\n\r\n\xe4\r\n'.repeat(50_000))],
  ['100,000 empty parts', () => multi('b', '--b\r\n'.repeat(100_000))],
  ['almost the boundary, 1 MB', () => multi('bbbbbbbbbb', lines('--bbbbbbbbb\r\n', MB, 13))],
  ['a boundary of 900 characters', () => multi('b'.repeat(900), `--${'b'.repeat(900)}\r\n\r\nx\r\n`.repeat(500))],
  ['2,001 header fields', () => plain('x', ...Array.from({ length: 2001 }, (_, i) => `X-${i}: y`))],
  ['300 KB of header in one field', () => plain('x', folded('X-Long', 'a b', 300_000))],
  ['250 KB of References', () => plain('x', folded('References', '<a@b.example> ', 250_000))],
  ['250 KB of To', () => plain('x', folded('Cc', 'a@b.example, ', 250_000))],
  ['200 KB of comments in From', () => `From: ${'('.repeat(900)}\r\n ${'('.repeat(900)}\r\n <app@${DOMAIN}>\r\n\r\nx`],
  ['comments in comments', () => plain('x', folded('Reply-To', '((((((((((', 200_000))],
  ['quotes without end', () => plain('x', folded('Reply-To', '"a\\"b ', 200_000))],
  ['angle brackets', () => plain('x', folded('Reply-To', '<<<<>', 200_000))],
  ['groups without end', () => plain('x', folded('Reply-To', 'g: a@b.c, ', 200_000))],
  ['200 KB of encoded words in Subject', () => plain('x', folded('X-Subject', '=?utf-8?q?=C3=A4?= ', 200_000))],
  ['half encoded words', () => plain('x', folded('X-Subject', '=?utf-8?q?', 200_000))],
  ['encoded words of base64', () => plain('x', folded('X-Subject', '=?utf-8?b?w6TDpMOk?= ', 200_000))],
  ['raw UTF-8 in 200 KB of header', () => plain('x', folded('X-Raw', '\xc3\xa4', 200_000))],
  ['raw UTF-8 without a space', () => plain('x', `X-Raw: ${'\xc3\xa4'.repeat(100_000)}`)],
  ['10,000 parameters', () => plain('x', folded('Content-Type', `text/plain; ${'a=b; '.repeat(100)}`, 150_000))],
  ['continued parameters', () => plain('x', folded('Content-Disposition', "attachment; f*0*=''a; f*1*=b; ", 150_000))],
  [
    'base64 of one octet a line, 1 MB',
    () => multi('b', `--b\r\nContent-Transfer-Encoding: base64\r\n\r\n${'Q\r\n'.repeat(MB / 3)}--b--`),
  ],
  ['quoted-printable escapes, 1 MB', () => plain(lines('=\xc3=', MB), 'Content-Transfer-Encoding: quoted-printable')],
  [
    '8-bit lines of 5 MB without an end',
    () => plain(`${'\xc3\xa4'.repeat(2.5 * MB)}`, 'Content-Type: text/plain; charset=utf-8'),
  ],
  ['5 MB of line ends', () => plain('\r\n'.repeat(2.5 * MB))],
  ['5 MB of bare CR', () => plain('\r'.repeat(5 * MB))],
  ['5 MB of dots', () => plain('..\r\n'.repeat(1.2 * MB))],
  ['5 MB of white space at line ends', () => plain(` \t`.repeat(2.5 * MB))],
  ['31 Received fields', () => plain('x', ...Array.from({ length: 31 }, () => 'Received: from a by b; x'))],
  ['50,000 tags', () => plain('x', folded('X-Relevo-Tag', 'a,b,', 200_000))],
  ['JSON of 100,000 brackets', () => plain('x', folded('X-SMTPAPI', '[', 60_000))],
]

const report = (group: string): string =>
  `From: MAILER-DAEMON@mx.test\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nfailed\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n${group}\r\n--b--`
const bounce = (body: string): string => `From: MAILER-DAEMON@mx.test\r\nSubject: Undelivered mail\r\n\r\n${body}`

/** Sent to port 25 as a bounce. */
export const RETURNED: readonly Bomb[] = [
  [
    '30,000 groups',
    () => report('Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n'.repeat(30_000)),
  ],
  [
    'a diagnostic of 2 MB',
    () =>
      report(
        `Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nDiagnostic-Code: smtp; ${'user unknown '.repeat(70)}\r\n${lines(' user', 2 * MB)}`,
      ),
  ],
  ['100,000 fields in a group', () => report('X-Field: a\r\n'.repeat(100_000))],
  ['2 MB of addresses', () => bounce(lines('<a@b.example>: ', 2 * MB))],
  ['2 MB of half addresses', () => bounce(lines('user <a.b.c@ ', 2 * MB))],
  ['2 MB of @', () => bounce(lines('@', 2 * MB))],
  ['2 MB of reply codes', () => bounce(lines('550 5.1.1 ', 2 * MB))],
  ['2 MB of spaces', () => bounce(lines(' ', 2 * MB))],
  ['2 MB of dashes', () => bounce(lines('---- ---', 2 * MB))],
  ['2 MB of HTML', () => `From: MAILER-DAEMON@mx.test\r\nContent-Type: text/html\r\n\r\n${lines('<p <br ', 2 * MB)}`],
  [
    '2 MB of base64',
    () => `From: MAILER-DAEMON@mx.test\r\nContent-Transfer-Encoding: base64\r\n\r\n${lines('PDxA', 2 * MB, 76)}`,
  ],
  [
    '2 MB of quoted-printable',
    () =>
      `From: MAILER-DAEMON@mx.test\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n${lines('=20=', 2 * MB, 76)}`,
  ],
  [
    '3,000 multiparts deep',
    () => nested(3000, (i) => `multipart/report; boundary=n${i}`).replace(/^From.*/, 'From: MAILER-DAEMON@mx.test'),
  ],
  [
    '5,000 messages in messages',
    () => nested(5000, () => 'message/rfc822').replace(/^From.*/, 'From: MAILER-DAEMON@mx.test'),
  ],
  [
    '100,000 empty parts',
    () =>
      `From: MAILER-DAEMON@mx.test\r\nContent-Type: multipart/report; boundary=b\r\n\r\n${'--b\r\n'.repeat(100_000)}`,
  ],
  ['100,000 header fields', () => `${Array.from({ length: 100_000 }, (_, i) => `X-${i}: y`).join('\r\n')}\r\n\r\nx`],
  ['one header field of 2 MB', () => `${folded('Subject', 'undelivered ', 2 * MB)}\r\n\r\nx`],
  [
    'a feedback report of 2 MB',
    () =>
      `From: fbl@isp.test\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n${'Original-Rcpt-To: a@b.example\r\n'.repeat(60_000)}\r\n--b--`,
  ],
  [
    'a notice of SES with 50,000 recipients',
    () =>
      `From: no-reply@amazonses.com\r\n\r\n{"notificationType":"Bounce","bounce":{"bouncedRecipients":[${'{"emailAddress":"a@b.example"},'.repeat(8000)}{}]}}`,
  ],
  [
    'SES JSON of 200,000 brackets',
    () => `From: no-reply@amazonses.com\r\n\r\n{"notificationType":"Bounce","bounce":${'['.repeat(200_000)}`,
  ],
]
