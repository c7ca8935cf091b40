import fc from 'fast-check'
import t from 'tap'
import { loadReplyRules, readReport } from '#feedback'
import { crlf, DAEMON, failedGroup, multipart, ORIGINAL, plain, report } from './returned-mail.ts'

const rules = loadReplyRules(new URL('../../config/replies.toml', import.meta.url).pathname)
const KINDS = ['bounce', 'complaint', 'auto-reply', 'delay', 'success', 'challenge', 'report', 'other']
/** The machine may be busy with other tests; what is not linear takes minutes. */
const MAX_MS = 100

/** The quickest of five, so that a busy machine is not taken for a slow reader. */
function costMs(raw: Uint8Array): number {
  let bestMs = Number.POSITIVE_INFINITY
  for (let i = 0; i < 5 && bestMs > MAX_MS; i++) {
    // Processor time, and the best of five: other tests run on the same cores.
    const began = process.cpuUsage()
    readReport(raw, rules)
    bestMs = Math.min(bestMs, process.cpuUsage(began).user / 1000)
  }
  return bestMs
}

const SEEDS = [
  report([failedGroup('ana@example.org')]),
  crlf(report([failedGroup('a@example.org'), failedGroup('b@example.org', '4.2.2', '452 full')])),
  plain('Delivery to the following recipient failed permanently:\n\n  ana@example.org\n\n550 5.1.1 user unknown\n'),
  plain('<ana@example.org>:\nRemote host said: 550 5.1.1 no\n\n--- Below this line is a copy.\n'),
  multipart(DAEMON, 'report; report-type=feedback-report', [
    { type: 'message/feedback-report', text: 'Feedback-Type: abuse\nOriginal-Rcpt-To: <ana@example.org>' },
    { type: 'message/rfc822', text: ORIGINAL },
  ]),
].map((text) => Buffer.from(text))

await t.test('no change of bytes makes the reader throw, hang or answer out of form', async (t) => {
  const change = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    drop: fc.nat(80),
    put: fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .constantFrom(
          '\n--b3_',
          '\n\n',
          '\r',
          'Content-Type: message/rfc822\n\n',
          '=',
          '<',
          '@',
          '--',
          'boundary="',
          'Action: ',
          '\0',
        )
        .map((text) => new Uint8Array(Buffer.from(text))),
    ),
  })
  fc.assert(
    fc.property(fc.constantFrom(...SEEDS), fc.array(change, { maxLength: 12 }), (seed, changes) => {
      let raw = seed
      for (const { at, drop, put } of changes) {
        const from = Math.floor(at * raw.length)
        raw = Buffer.concat([raw.subarray(0, from), put, raw.subarray(from + drop)])
      }
      const got = readReport(raw, rules)
      if (!KINDS.includes(got.kind)) return false
      return got.recipients.every((one) => one.address !== '' && (one.hard === null || typeof one.hard === 'boolean'))
    }),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), (raw) => KINDS.includes(readReport(raw, rules).kind)),
    { numRuns: 1000 },
  )
  t.pass('3000 mails')
})

function nested(depth: number, type: (i: number) => string): string {
  let text = 'Content-Type: text/plain\n\nin the middle\n'
  for (let i = 0; i < depth; i++)
    text = `Content-Type: ${type(i)}\n\n${type(i).startsWith('multipart') ? `--n${i}\n${text}\n--n${i}--\n` : text}`
  return `${DAEMON.join('\n')}\n${text}`
}

const LARGE = 5_000_000
const address = (i: number) => `user${i}@example.org`
const HOSTILE: readonly [string, () => string][] = [
  ['5 MB of one line', () => plain('a'.repeat(LARGE))],
  ['5 MB of line ends', () => plain('\n'.repeat(LARGE))],
  ['5 MB of CR', () => plain('\r'.repeat(LARGE))],
  ['5 MB of spaces', () => plain(' '.repeat(LARGE))],
  ['5 MB of @', () => plain('@'.repeat(LARGE))],
  ['5 MB of <', () => plain('<'.repeat(LARGE))],
  ['5 MB of a@', () => plain('a@'.repeat(LARGE / 2))],
  ['5 MB of half addresses', () => plain('user <a.b.c@ '.repeat(LARGE / 13))],
  ['5 MB of dots', () => plain(`a@${'a.'.repeat(LARGE / 2)}`)],
  ['many addresses', () => plain(Array.from({ length: 100_000 }, (_, i) => `<${address(i)}>: unknown`).join('\n'))],
  ['markup without end', () => plain('<p '.repeat(LARGE / 3), [...DAEMON, 'Content-Type: text/html'])],
  ['HTML', () => [...DAEMON, 'Content-Type: text/html', '', '<div <br '.repeat(500_000)].join('\n')],
  ['open tags', () => [...DAEMON, 'Content-Type: text/html', '', `<${'x'.repeat(999)}`.repeat(5000)].join('\n')],
  ['100,000 header fields', () => `${Array.from({ length: 100_000 }, (_, i) => `X-${i}: y`).join('\n')}\n\nbody`],
  ['one field of 5 MB', () => `Subject: ${'x '.repeat(LARGE / 2)}\n\nbody`],
  ['one folded field of 5 MB', () => `Subject: x\n${' y\n'.repeat(LARGE / 3)}\nbody`],
  ['a From of 5 MB', () => `From: ${'<a@b '.repeat(LARGE / 5)}\nTo: ${'<'.repeat(1000)}\n\nbody`],
  ['a content type of 1 MB', () => `Content-Type: multipart/report${'; a=b'.repeat(200_000)}\n\nbody`],
  ['10,000 multiparts deep', () => nested(3000, (i) => `multipart/mixed; boundary=n${i}`)],
  ['messages in messages', () => nested(10_000, () => 'message/rfc822')],
  [
    '100,000 parts',
    () => `Content-Type: multipart/mixed; boundary=b\n\n${'--b\nContent-Type: text/plain\n\nx\n'.repeat(100_000)}`,
  ],
  ['empty parts', () => `Content-Type: multipart/mixed; boundary=b\n\n${'--b\n'.repeat(LARGE / 4)}`],
  [
    'almost the boundary',
    () => `Content-Type: multipart/mixed; boundary=bbbbbbbb\n\n${'\n--bbbbbbb'.repeat(LARGE / 10)}`,
  ],
  ['100,000 groups', () => report(Array.from({ length: 50_000 }, (_, i) => failedGroup(address(i))))],
  [
    'one group of one field',
    () =>
      report([
        `Final-Recipient: rfc822; a@example.org\nAction: failed\nDiagnostic-Code: smtp; ${'user '.repeat(LARGE / 5)}`,
      ]),
  ],
  [
    'a folded group',
    () =>
      report([
        `Final-Recipient: rfc822; a@example.org\nAction: failed\nDiagnostic-Code: smtp\n${' x\n'.repeat(LARGE / 4)}`,
      ]),
  ],
  [
    'quoted-printable',
    () => [...DAEMON, 'Content-Transfer-Encoding: quoted-printable', '', '= \t'.repeat(LARGE / 3)].join('\n'),
  ],
  ['base64', () => [...DAEMON, 'Content-Transfer-Encoding: base64', '', 'PDxA'.repeat(LARGE / 4)].join('\n')],
  ['rules of dashes', () => plain(`x\n${'-'.repeat(LARGE)}`)],
  ['lines of dashes', () => plain('\n---- ---'.repeat(LARGE / 9))],
  [
    'X-Failed-Recipients',
    () => plain('failed', [...DAEMON, `X-Failed-Recipients: ${'a@b.example, '.repeat(100_000)}`]),
  ],
  ['To in the text', () => plain(`to:${' '.repeat(100_000)}\n`.repeat(20), DAEMON)],
]

await t.test('the worst mail costs no more than its reading', async (t) => {
  costMs(SEEDS[0]!)
  for (const [name, make] of HOSTILE) {
    const raw = Buffer.from(make())
    const spentMs = costMs(raw)
    t.ok(spentMs <= MAX_MS, `${name}: ${raw.length} bytes in ${spentMs.toFixed(1)} ms`)
  }
})

await t.test('what a mail can name is bounded', async (t) => {
  const many = Buffer.from(report(Array.from({ length: 5000 }, (_, i) => failedGroup(address(i)))))
  t.ok(readReport(many, rules).recipients.length <= 200)
  const long = readReport(Buffer.from(report([failedGroup('ana@example.org', '5.1.1', 'x'.repeat(100_000))])), rules)
  t.ok(long.recipients.every((one) => one.diagnostic.length <= 4000))
  const proto = readReport(
    Buffer.from(`__proto__: 1\nconstructor: 2\n${report([failedGroup('__proto__@example.org')])}`),
    rules,
  )
  t.equal(proto.recipients[0]?.address, '__proto__@example.org')
})
