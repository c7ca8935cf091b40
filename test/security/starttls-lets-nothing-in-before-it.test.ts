// "NO STARTTLS" (CVE-2011-0411, CVE-2021-33515, CVE-2021-38371): what is said in clear before the handshake counts for
// nothing after it, on both sides. As a server: commands behind STARTTLS, a log-in without TLS, an envelope from before. As a
// client: answers behind 220, offers from before, a host that takes STARTTLS away.
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { RawClient, type Script } from '#world'
import { DOMAIN, messageTo, plain, Wall } from './wall.ts'

await using wall = await Wall.open()

const INJECTED = [
  'MAIL FROM:<app@sender.test>\r\n',
  'RSET\r\n',
  'EHLO evil.test\r\n',
  'AUTH PLAIN AGEAYg==\r\n',
  'NOOP',
  '\r\n',
  `${'NOOP\r\n'.repeat(150)}MAIL FROM:<app@sender.test>\r\n`,
]

for (const port of ['587', '25'] as const)
  await t.test(`server, port ${port}: what comes with STARTTLS`, async (t) => {
    const tried = INJECTED.flatMap((injected) =>
      [false, true].map(async (apart) => {
        const socket = connect(wall.portOf(port), '127.0.0.1')
        let clear = ''
        socket.on('data', (data) => {
          clear += data.toString('latin1')
        })
        socket.on('error', () => {})
        const said = (what: RegExp) => wall.rig.until(() => what.test(clear) || socket.destroyed, 5000)
        await said(/^220 /)
        socket.write('EHLO client.test\r\n')
        await said(/^250 /m)
        if (apart) {
          socket.write('STARTTLS\r\n')
          socket.write(injected)
        } else socket.write(`STARTTLS\r\n${injected}`)
        await said(/^(220 2|220 R|554|5\d\d)/m)
        const name = `${JSON.stringify(injected.slice(0, 20))} ${apart ? 'in a packet of its own' : 'in one packet'}`
        if (!/^220 2/m.test(clear.split('\r\n').slice(2).join('\r\n'))) {
          t.match(clear, /^554 5\.5\.1 nothing may follow STARTTLS/m, `${name}: refused`)
          socket.destroy()
          return
        }
        // The handshake began: what came before it must break it or be gone.
        socket.removeAllListeners('data')
        const secure = connectTls({ socket, rejectUnauthorized: false })
        secure.on('error', () => {})
        let within = ''
        secure.on('data', (data: Buffer) => {
          within += data.toString('latin1')
        })
        await wall.rig.until(
          () => secure.authorizationError !== undefined || secure.destroyed || socket.destroyed,
          1000,
        )
        secure.write('NOOP\r\n')
        await wall.rig.until(() => within !== '' || secure.destroyed || socket.destroyed, 1500)
        t.ok(
          within === '' || /^(250 2\.0\.0 OK|503|250 )[^\r\n]*\r\n$/i.test(within),
          `${name}: ${JSON.stringify(within.slice(0, 100))}`,
        )
        secure.destroy()
        socket.destroy()
      }),
    )
    await Promise.all(tried)
  })

await t.test('server: nothing is kept over the handshake, and nobody logs in before it', async (t) => {
  const client = await RawClient.open(wall.portOf('587'))
  await client.reply()
  t.notMatch((await client.ask('EHLO a.test')).lines.join(), /AUTH/, 'not offered')
  t.equal((await client.ask(plain(wall.username, wall.password))).code, 538, 'and refused with the right password')
  t.equal((await client.ask(`MAIL FROM:<app@${DOMAIN}>`)).code, 530)
  t.equal((await client.ask('STARTTLS')).code, 220)
  await client.startTls()
  t.match(String((await client.ask(`MAIL FROM:<app@${DOMAIN}>`)).code), /^5/, 'EHLO is forgotten')
  t.equal((await client.ask('EHLO a.test')).code, 250)
  t.equal((await client.ask('STARTTLS')).code >= 500, true, 'not twice')
  t.equal((await client.ask(plain(wall.username, wall.password))).code, 235)
  client.close()
})

const LIES: Record<string, Script> = {
  'answers behind 220': { starttls: (s) => s.startTls('220 2.0.0 go\r\n250 2.1.0 ok\r\n250 2.1.5 ok') },
  'a greeting that answers everything': {
    connect: (s) =>
      s.raw('220 mx.test ESMTP\r\n250 mx.test\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n250 2.0.0 taken\r\n'),
  },
}

await t.test('client: a host that answers before the handshake gets no mail by it', async (t) => {
  await Promise.all(
    Object.entries(LIES).map(async ([name, bad]) => {
      await using other = await Wall.open({ bad, delivery: 'retry_after = [3600]\ntls = "require"' })
      const client = await other.session('465')
      await client.ask(`MAIL FROM:<app@${DOMAIN}>`)
      await client.ask('RCPT TO:<you@bad.test>')
      await client.ask('DATA')
      const id = /queued as (\S+)/.exec((await client.ask(`${messageTo('you@bad.test')}\r\n.`)).lines[0]!)?.[1]
      client.close()
      await other.rig.until(async () => ((await other.counts()).deferred ?? 0) === 1)
      const { deferred = 0, sent = 0 } = await other.counts()
      t.strictSame({ deferred, sent }, { deferred: 1, sent: 0 }, `${name}: waits (${id})`)
    }),
  )
})

await t.test('client: a handshake that never ends frees the connection, and the process lives', async (t) => {
  const hang: Script = {
    starttls: (s) => {
      s.raw('220 2.0.0 go\r\n')
      s.hang()
      return undefined
    },
  }
  await using other = await Wall.open({
    bad: hang,
    delivery: 'retry_after = [3600]\ntls = "require"\ntls_timeout = 1',
  })
  for (let i = 0; i < 5; i++) await other.http({ from: `app@${DOMAIN}`, to: `u${i}@bad.test`, subject: 's', text: 't' })
  t.ok(
    await other.rig.until(
      async () => ((await other.counts()).deferred ?? 0) + ((await other.counts()).ready ?? 0) === 5,
    ),
  )
  await other.rig.until(
    async () => (await other.rig.api.get<{ connections: number }>('/status')).connections === 0,
    15_000,
  )
  t.equal(other.rig.process?.exitCode, null)
  t.equal(other.rig.process?.signalCode, null)
})
