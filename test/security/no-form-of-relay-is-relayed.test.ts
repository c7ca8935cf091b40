// CWE-285, "open relay": no recipient but our own is taken on 25, and nothing without a log-in on 587 and 465: not by
// source routes, %-hacks, bang paths, quoting, literals, the null sender, a failed AUTH, XCLIENT or PROXY.
import t from 'tap'
import type { RawClient } from '#world'
import { DOMAIN, PORTS, plain, Wall } from './wall.ts'

await using wall = await Wall.open()

const OURS = 'mail.sender.test'
/** What stands after RCPT TO: */
const PATHS = [
  ...['<victim@good.test>', '<victim@GOOD.TEST>', '<victim@good.test.>', '<victim@[127.0.0.1]>', '<victim@[IPv6:::1]>'],
  ...['<victim@127.0.0.1>', '<victim@2130706433>', '<victim@localhost>', '<victim>', '<"victim@good.test">'],
  ...[`<@${OURS}:victim@good.test>`, `<@${DOMAIN},@${OURS}:victim@good.test>`, `<@good.test:postmaster@${OURS}>`],
  ...[`<victim%good.test@${OURS}>`, `<victim%good.test@${DOMAIN}>`, `<"victim%good.test"@${OURS}>`],
  ...[`<victim%good.test%${OURS}@${OURS}>`, `<postmaster%good.test@${OURS}>`],
  ...[`<good.test!victim@${OURS}>`, `<good.test!victim>`, `<${OURS}!good.test!victim>`, `<${OURS}!victim@good.test>`],
  ...[`<"victim@good.test"@${OURS}>`, `<"victim\\@good.test"@${OURS}>`, `<victim\\@good.test@${OURS}>`],
  ...[`<victim@good.test@${OURS}>`, `<victim@${OURS}@good.test>`, `<victim@good.test,postmaster@${OURS}>`],
  ...[
    `<postmaster@${OURS}> <victim@good.test>`,
    `<postmaster@${OURS},victim@good.test>`,
    `<victim@good.test>,<postmaster@${OURS}>`,
  ],
  ...[
    `<postmaster@${OURS}>\0<victim@good.test>`,
    `<postmaster@${OURS}\n<victim@good.test>`,
    `<postmaster@${OURS}\0.good.test>`,
  ],
  ...[`<victim@good.test(@${OURS})>`, `<victim(@${OURS})@good.test>`, `<victim@good.test:25>`, `<victim:x@${OURS}>`],
  ...[`<postmaster@${OURS}.good.test>`, `<postmaster@bounces.${DOMAIN}.good.test>`, `<postmaster@x${OURS}>`],
  ...[`<postmaster@good.test>`, `<abuse@good.test>`, `<fbl@good.test>`, `<fbl@${OURS}>`, `<reports@${OURS}>`],
  ...[
    `<anybody@${OURS}>`,
    `<anybody@${DOMAIN}>`,
    `<anybody@bounces.${DOMAIN}>`,
    `<root@${OURS}>`,
    `<|/bin/sh@${OURS}>`,
  ],
  ...[`<"|/bin/sh"@${OURS}>`, `</tmp/x@${OURS}>`, `<:include:/etc/passwd@${OURS}>`],
  ...[
    'victim@good.test',
    ' <victim@good.test>',
    '<victim@good.test> ORCPT=rfc822;postmaster@mail.sender.test',
    '<<victim@good.test>>',
  ],
  ...['<=?utf-8?q?victim=40good.test=3e?=@mail.sender.test>', '<victim@xn--good-.test>', '<victim@ｇｏｏｄ.test>'],
] as const
const SENDERS = ['<>', `<app@${DOMAIN}>`, `<postmaster@${OURS}>`, '<stranger@else.test>', '<victim@good.test>'] as const

await t.test(`${PATHS.length} forms on each port, without a log-in`, async (t) => {
  for (const port of PORTS) {
    let taken = 0
    let client: RawClient | null = null
    for (const [i, path] of PATHS.entries()) {
      client ??= await wall.session(port, false)
      client.write(`RSET\r\nMAIL FROM:${SENDERS[i % SENDERS.length]}\r\nRCPT TO:${path}\r\n`)
      const replies = [await client.reply(), await client.reply(), await client.reply()]
      if (replies[2]?.code === 250) {
        taken += 1
        t.fail(`${port}: ${path} was taken`)
      }
      // Too many errors end the session; a line end in the path makes one reply more.
      if (replies.includes(null) || /[\n\0]/.test(path) || i % 7 === 6) {
        client.close()
        client = null
      }
    }
    client?.close()
    t.equal(taken, 0, `${port}: ${PATHS.length} forms, ${taken} taken`)
  }
})

await t.test('what is ours is taken, so that a refusal above means something', async (t) => {
  const client = await wall.session('25', false)
  await client.ask('MAIL FROM:<>')
  t.equal((await client.ask(`RCPT TO:<postmaster@${OURS}>`)).code, 250)
  client.close()
})

const HEADS: readonly [string, readonly string[]][] = [
  ['a wrong password', [plain('shop', 'wrong password here')]],
  ['no password', ['AUTH PLAIN', '=']],
  ['AUTH cancelled', ['AUTH LOGIN', '*']],
  ['AUTH garbage', ['AUTH PLAIN !!!!']],
  ['AUTH of a mechanism that is not there', ['AUTH NTLM', 'AUTH EXTERNAL =', 'AUTH ANONYMOUS eA==', 'AUTH CRAM-MD5']],
  ['XCLIENT', ['XCLIENT ADDR=127.0.0.1 LOGIN=shop', 'EHLO again.test']],
  ['XFORWARD', ['XFORWARD ADDR=127.0.0.1 NAME=localhost']],
  ['PROXY in the session', ['PROXY TCP4 127.0.0.1 127.0.0.1 1 25']],
  ['AUTH as a parameter of MAIL', ['RSET']],
  ['a name of ours in EHLO', [`EHLO ${OURS}`]],
  [
    'ETRN, VRFY, EXPN, TURN, SEND, SAML',
    ['ETRN good.test', 'VRFY victim@good.test', 'EXPN x', 'TURN', 'SEND FROM:<a@b.c>', 'SAML FROM:<a@b.c>'],
  ],
]

await t.test('nor after what pretends to be a log-in', async (t) => {
  for (const port of PORTS)
    for (const [name, lines] of HEADS) {
      const client = await wall.session(port, false)
      for (const line of lines) await client.ask(line).catch(() => null)
      client.write(
        `MAIL FROM:<app@${DOMAIN}>${name.includes('parameter') ? ' AUTH=<>' : ''}\r\nRCPT TO:<victim@good.test>\r\n`,
      )
      const [mail, rcpt] = [await client.reply().catch(() => null), await client.reply().catch(() => null)]
      t.not(rcpt?.code, 250, `${port}, ${name}: ${rcpt?.lines[0]}`)
      if (port !== '25') t.not(mail?.code, 250, `${port}, ${name}: MAIL ${mail?.lines[0]}`)
      client.close()
    }
})

await t.test('a PROXY line before the greeting changes nothing', async (t) => {
  const { RawClient } = await import('#world')
  for (const head of [
    'PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n',
    Buffer.from('0d0a0d0a000d0a515549540a211100', 'hex'),
  ]) {
    const client = await RawClient.open(wall.portOf('25'))
    client.write(head)
    client.write('EHLO x.test\r\nMAIL FROM:<>\r\nRCPT TO:<victim@good.test>\r\n')
    const replies = []
    for (let i = 0; i < 6; i++) replies.push((await client.reply(2000).catch(() => null))?.lines[0] ?? '')
    t.notOk(
      replies.some((line) => line.startsWith('250 2.1.5')),
      replies.join(' | '),
    )
    client.close()
  }
})

await t.test('a sender rule holds on every way in (CWE-290)', async (t) => {
  const client = await wall.session('587')
  for (const from of ['ceo@good.test', `app@${OURS}`, `app@sub.${DOMAIN}`, `app@${DOMAIN}.good.test`]) {
    t.match((await client.ask(`MAIL FROM:<${from}>`)).code, /^5/, from)
    const answer = await wall.http({ from, to: 'you@good.test', subject: 's', text: 't' })
    t.match(answer.status, /^4/, from)
  }
  await client.ask(`MAIL FROM:<app@${DOMAIN}>`)
  await client.ask('RCPT TO:<you@good.test>')
  await client.ask('DATA')
  const spoofed = await client.ask('From: <ceo@good.test>\r\nSubject: s\r\n\r\nt\r\n.')
  t.equal(spoofed.code, 550, 'the author as well')
  client.close()
})

await t.test('nothing was queued, nothing was sent, nobody got a bounce', async (t) => {
  t.equal(await wall.accepted(), 0)
  t.equal(wall.rig.mx.connections, 0)
})
