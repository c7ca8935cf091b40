import t from 'tap'
import { AS_USUAL, BEHAVIOURS, scriptedMx } from '#world'
import { xtext } from '../../src/delivery/smtp-client/commands.ts'
import { dial, message, opened, said } from './smtp-client-harness.ts'

await t.test('DSN parameters go to each recipient, encoded, and only where DSN is offered', async (t) => {
  const recipients = [
    { address: 'a@example.test', notify: ['success', 'failure'], originalRecipient: 'rfc822;old+a=b@example.test' },
    { address: 'b@example.test', notify: ['never'], originalRecipient: null },
    { address: 'c@example.test', notify: null, originalRecipient: 'rfc822;jürgen@example.test' },
  ]
  const transaction = message({ recipients, envelopeId: 'id 1+2', ret: 'hdrs' })
  await using offering = await scriptedMx({ behaviour: { offers: ['PIPELINING', 'DSN', 'SIZE'] } })
  const connection = await opened(offering.port)
  t.strictSame((await connection.send(transaction)).results.map(said), ['delivered', 'delivered', 'delivered'])
  connection.destroy()
  t.strictSame(offering.commands.slice(1, -1), [
    `MAIL FROM:<from@example.test> SIZE=${transaction.size} RET=HDRS ENVID=id+201+2B2`,
    'RCPT TO:<a@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old+2Ba+3Db@example.test',
    'RCPT TO:<b@example.test> NOTIFY=NEVER',
    'RCPT TO:<c@example.test> ORCPT=utf-8;j\\x{FC}rgen@example.test',
  ])

  await using bare = await scriptedMx({ behaviour: { offers: [] } })
  const second = await opened(bare.port)
  t.strictSame((await second.send(transaction)).results.map(said), ['delivered', 'delivered', 'delivered'])
  second.destroy()
  t.strictSame(bare.commands.slice(1, 4), [
    'MAIL FROM:<from@example.test>',
    'RCPT TO:<a@example.test>',
    'RCPT TO:<b@example.test>',
  ])
  t.equal(xtext('a\x7f+=é'), 'a+7F+2B+3D+C3+A9')
})

await t.test('a hundred recipients, each with its own answer, in their order', async (t) => {
  for (const offers of [['PIPELINING'], []]) {
    await using mx = await scriptedMx({ behaviour: { ...BEHAVIOURS.partial, offers } })
    const connection = await opened(mx.port)
    const to = Array.from({ length: 100 }, (_, i) => `r${i}@example.test`)
    const sent = await connection.send(message({}, to))
    const expected = ['delivered', 'refused rcpt rcpt-refused 5.1.1', 'deferred rcpt rcpt-deferred 4.5.3']
    t.strictSame(
      sent.results.map(said),
      to.map((_, i) => expected[i % 3]),
    )
    t.ok(sent.reusable)
    t.equal(mx.taken.length, 1)
    t.strictSame(
      mx.taken[0]!.recipients,
      to.filter((_, i) => i % 3 === 0),
    )
    connection.destroy()
  }
})

await t.test('content refused at the dot is refused for those accepted, and only for them', async (t) => {
  await using mx = await scriptedMx({
    behaviour: { rcpt: (_, to) => (to.startsWith('no') ? '550 5.1.1 no' : AS_USUAL), dot: () => '554 5.7.1 no' },
  })
  const connection = await opened(mx.port)
  const sent = await connection.send(message({}, ['yes@example.test', 'no@example.test']))
  t.strictSame(sent.results.map(said), ['refused dot dot-refused 5.7.1', 'refused rcpt rcpt-refused 5.1.1'])
  connection.destroy()
})

await t.test('what the greeting rules out is not tried', async (t) => {
  await using mx = await scriptedMx({ behaviour: 'size1000' })
  const connection = await opened(mx.port)
  const refused = async (changes: Parameters<typeof message>[0], to?: string[]): Promise<string> => {
    const sent = await connection.send(message(changes, to))
    t.ok(sent.reusable)
    return said(sent.results[0])
  }
  t.equal(await refused({ size: 1001 }), 'refused policy message-too-big 5.3.4')
  t.equal(await refused({ reversePath: 'jürgen@example.test' }), 'refused policy smtputf8-not-offered 5.6.7')
  t.equal(await refused({}, ['jürgen@example.test']), 'refused policy smtputf8-not-offered 5.6.7')
  t.equal(
    await refused({ smtpUtf8: true, content: [Buffer.from('Subject: ü\r\n\r\n')] }),
    'refused policy smtputf8-not-offered 5.6.7',
  )
  for (const evil of ['a@b>\r\nRCPT TO:<c@d', 'a b@c', 'a@b\0', 'a@b>', '"a\r\nb"@c', '']) {
    t.equal(await refused({}, [evil]), 'refused policy bad-address 5.1.3', JSON.stringify(evil))
  }
  t.equal(await refused({ reversePath: 'a@b> SIZE=1\r\nQUIT' }), 'refused policy bad-address 5.1.7')
  t.equal(mx.commands.length, 1, 'nothing was said but EHLO')
  t.equal(await refused({ smtpUtf8: true }), 'delivered', 'all of it is ASCII, so the extension is not needed')
  t.equal(await refused({}, ['"a b"@example.test']), 'delivered', 'a quoted local part may hold a space')
  t.equal(await refused({ reversePath: '' }), 'delivered')
  connection.destroy()
})

await t.test('SMTPUTF8 is said where it is needed', async (t) => {
  await using mx = await scriptedMx()
  const connection = await opened(mx.port)
  t.equal(said((await connection.send(message({}, ['jürgen@example.test']))).results[0]), 'delivered')
  connection.destroy()
  t.match(mx.commands[1], / SMTPUTF8$/)
  t.equal(mx.commands[2], 'RCPT TO:<jürgen@example.test>')
})

await t.test('pipelined where offered: two packets for a small message; one command at a time where not', async (t) => {
  for (const [offers, groups] of [
    [['PIPELINING'], 1],
    [[], 3],
  ] as const) {
    let chunks = 0
    await using mx = await scriptedMx({ behaviour: { offers, onChunk: () => chunks++ } })
    const connection = await opened(mx.port)
    chunks = 0
    await connection.send(message())
    t.equal(chunks, groups + 1)
    connection.destroy()
  }
})

await t.test('a host that knows only HELO is spoken to', async (t) => {
  await using mx = await scriptedMx({ behaviour: 'heloonly' })
  const connection = await opened(mx.port, { tls: { mode: 'opportunistic' } })
  t.equal(connection.capabilities.size, 0)
  t.equal(said((await connection.send(message())).results[0]), 'delivered')
  connection.destroy()
  t.match(await dial(mx.port, { tls: { mode: 'require', verify: false } }), {
    ok: false,
    failure: { stage: 'starttls', reason: 'tls-not-offered' },
  })
})

await t.test(
  'AUTH: PLAIN and LOGIN under TLS, in clear only with mode off; secrets are in no transcript',
  async (t) => {
    const auth = { username: 'relevo', password: 'correct horse' }
    const good = Buffer.from('\0relevo\0correct horse').toString('base64')
    for (const mechanism of ['PLAIN', 'LOGIN']) {
      for (const password of [auth.password, 'wrong']) {
        const answers: string[] = []
        await using mx = await scriptedMx({
          behaviour: {
            offers: [`AUTH ${mechanism}`],
            other: (_, line) => {
              answers.push(line)
              if (line.startsWith('AUTH PLAIN')) return line.endsWith(good) ? '235 2.7.0 ok' : '535 5.7.8 no'
              if (answers.length < 3) return '334 VXNlcm5hbWU6'
              return Buffer.from(line, 'base64').toString() === auth.password ? '235 2.7.0 ok' : '535 5.7.8 no'
            },
          },
        })
        for (const tls of [{ mode: 'require', verify: false }, { mode: 'off' }] as const) {
          answers.length = 0
          const result = await dial(mx.port, { tls, auth: { ...auth, password } })
          t.equal(result.ok, password === auth.password, `${mechanism} ${tls.mode}`)
          if (result.ok) result.connection.destroy()
          else {
            t.match(result.failure, { stage: 'auth', reason: 'auth-failed', reply: { code: 535, enhanced: '5.7.8' } })
            t.match(result.failure.transcript, '****')
            for (const secret of [
              password,
              Buffer.from(password).toString('base64'),
              Buffer.from(auth.username).toString('base64'),
            ]) {
              t.notOk(result.failure.transcript.includes(secret))
            }
            t.notOk(result.failure.transcript.includes(Buffer.from(`\0relevo\0${password}`).toString('base64')))
          }
        }
      }
    }
    await using clear = await scriptedMx({ behaviour: { tls: false, offers: ['AUTH PLAIN'] } })
    t.match(await dial(clear.port, { auth, tls: { mode: 'opportunistic' } }), {
      ok: false,
      failure: { reason: 'auth-needs-tls' },
    })
    await using without = await scriptedMx()
    t.match(await dial(without.port, { auth }), { ok: false, failure: { reason: 'auth-not-offered' } })
  },
)

await t.test('the transcript is bounded, escaped and holds no content', async (t) => {
  await using mx = await scriptedMx({
    behaviour: { rcpt: () => `550 5.1.1 \x1b[31m${'é'.repeat(900)}\u2028`, offers: ['PIPELINING'] },
  })
  const connection = await opened(mx.port)
  const to = Array.from({ length: 200 }, (_, i) => `r${i}@example.test`)
  const { transcript } = await connection.send(message({}, to))
  connection.destroy()
  t.ok(Buffer.byteLength(transcript) <= 16_384, `${Buffer.byteLength(transcript)} bytes`)
  for (const line of transcript.split('\n')) t.ok(Buffer.byteLength(line) <= 512)
  t.notMatch(transcript, /[\x00-\x09\x0b-\x1f\x7f\u2028]/)
  t.match(transcript, /lines left out/)
  t.match(transcript, /RSET/, 'the end is kept')

  await using html = await scriptedMx({ behaviour: 'htmlreply' })
  const second = await opened(html.port)
  const sent = await second.send(message())
  second.destroy()
  t.equal(said(sent.results[0]), 'delivered')
  t.match(sent.transcript, '-> <53 bytes of content>')
  t.notMatch(sent.transcript, /One line/)
  if (sent.results[0]?.kind === 'delivered') t.notMatch(sent.results[0].reply.text, /[\x00-\x1f]/)
})
