// "SMTP smuggling" outbound (CWE-93): 22 wrong ends in three kinds of message, by SMTP and by HTTP. Of the bytes that leave,
// no reader, however lax about line ends, can make more than one message. SEC Consult's advisory of December 2023 is the class.
import t from 'tap'
import { DOMAIN, Wall } from './wall.ts'
import { SMUGGLED, WRONG_ENDS } from './wrong-ends.ts'

await using wall = await Wall.open()

const head = (type: string): string =>
  `From: <app@${DOMAIN}>\r\nTo: <you@good.test>\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: ${type}\r\n\r\n`
const FORMS: readonly [string, (end: string) => string][] = [
  ['plain text', (end) => `${head('text/plain')}before${end}${SMUGGLED}`],
  [
    'a signed part, which is never touched',
    (end) =>
      `${head('multipart/signed; micalg=pgp-sha256; protocol="application/pgp-signature"; boundary=b')}--b\r\n\r\nbefore${end}${SMUGGLED}\r\n--b--`,
  ],
  [
    'a message in a message',
    (end) =>
      `${head('multipart/mixed; boundary=b')}--b\r\nContent-Type: message/rfc822\r\n\r\n${head('text/plain')}before${end}${SMUGGLED}\r\n--b--`,
  ],
]

/** What any reader may take for a lone dot on a line. */
const LAX_END = /(?:^|[\r\n\0])\.(?:[\r\n\0]|$)/

await t.test('what leaves is one message, whatever was in it', async (t) => {
  let sent = 0
  const client = await wall.session('465')
  for (const [name, make] of FORMS)
    for (const end of WRONG_ENDS) {
      await client.ask(`MAIL FROM:<app@${DOMAIN}>`)
      await client.ask('RCPT TO:<you@good.test>')
      await client.ask('DATA')
      const reply = await client.ask(`${make(end)}\r\n.`)
      // NUL cannot be encoded away where nothing may be changed: such a message is refused.
      const refused = end.includes('\0') && name.startsWith('a signed part')
      t.equal(reply.code, refused ? 554 : 250, `${name} ${JSON.stringify(end)}: ${reply.lines[0]}`)
      if (!refused) sent += 1
    }
  client.close()
  for (const end of WRONG_ENDS)
    for (const field of ['text', 'html'] as const) {
      const body = { from: `app@${DOMAIN}`, to: 'you@good.test', subject: 's', [field]: `before${end}${SMUGGLED}` }
      const answer = await wall.http(body)
      t.equal(answer.status, 202, JSON.stringify(answer.json))
      sent += 1
    }
  t.ok(await wall.rig.until(() => wall.rig.mx.taken.length >= sent, 40_000))
  const { taken, commands } = wall.rig.mx
  t.equal(taken.length, sent, `${sent} handed in, ${taken.length} arrived`)
  t.equal(commands.filter((line) => line.startsWith('MAIL ')).length, sent, 'one MAIL for each')
  t.notOk(
    commands.some((line) => line.includes('victim')),
    'no command of the content was read as one',
  )
  const lax = taken.filter(({ wire }) => LAX_END.test(wire.toString('latin1')))
  t.same(
    lax.map(({ wire }) => wire.toString('latin1').slice(-200)),
    [],
    'no lone dot, by any reading',
  )
  t.same(taken.filter(({ bareLineEnds }) => bareLineEnds).length, 0, 'no bare CR or LF')
  t.ok(
    taken.every(({ wire }) => !wire.includes(0)),
    'no NUL',
  )
})
