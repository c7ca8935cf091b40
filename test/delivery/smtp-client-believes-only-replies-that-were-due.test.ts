import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { type Script, scriptedMx } from '#world'
import { dial, message, opened, said } from './smtp-client-harness.ts'

async function sendOnce(
  script: Script,
  content?: Buffer,
): Promise<{ outcome: string; reusable: boolean; took: number }> {
  await using mx = await scriptedMx({ behaviour: script })
  const connection = await opened(mx.port)
  const sent = await connection.send(message(content ? { content: [content] } : {}))
  connection.destroy()
  return { outcome: said(sent.results[0]), reusable: sent.reusable, took: mx.taken.length }
}

/** Both ends live in this process: after two turns of its loop the 354 has been read, and nothing was said yet that asks for more. */
function inTurns(turns: number, then: () => void): void {
  if (turns === 0) then()
  else setImmediate(() => inTurns(turns - 1, then))
}

/** What the host says once it has all of the content is what counts. */
for (const [after, outcome] of [
  ['250 2.0.0 taken', 'delivered'],
  ['554 5.7.1 refused after all', 'refused dot dot-refused 5.7.1'],
] as const) {
  const took = outcome === 'delivered' ? 1 : 0
  await t.test(`a 250 that comes with the 354 never counts, whatever follows (${after})`, async (t) => {
    const early: Script = {
      data: (s) => {
        s.expectContent()
        s.raw('354 go on\r\n250 2.0.0 taken already\r\n')
        return undefined
      },
      dot: (s) => (took === 1 ? s.take() : after),
    }
    t.strictSame(await sendOnce(early), { outcome, reusable: false, took })
  })

  await t.test(`nor does one that comes just behind it (${after})`, async (t) => {
    let turns = 0
    const early: Script = {
      data: (s) => {
        s.expectContent()
        s.raw('354 go on\r\n')
        inTurns(turns, () => s.raw('250 2.0.0 taken already\r\n'))
        return undefined
      },
      dot: (s) => (took === 1 ? s.take() : after),
    }
    for (; turns < 3; turns++) t.strictSame(await sendOnce(early), { outcome, reusable: false, took })
  })
}

await t.test('I-07 a 250 ahead of the content is passed over once, and only where none can be left over', async (t) => {
  const early = (replies: string): Script => ({
    data: (s) => {
      s.expectContent()
      s.raw(`354 go on\r\n${s.messages === 0 && s.seen.has('late') ? '' : replies}`)
      s.seen.delete('late')
      return undefined
    },
  })
  await using mx = await scriptedMx({ behaviour: early('250 2.0.0 taken already\r\n') })
  const connection = await opened(mx.port)
  const first = await connection.send(message())
  t.match(first.results[0], { kind: 'delivered', reply: { text: 'taken' }, early: { text: 'taken already' } })
  t.match(first.transcript, /250 2\.0\.0 taken already\n\*\* that came before it was due/)
  t.equal(connection.usable, false, 'such a host gets a new connection for each message')
  t.equal(mx.taken.length, 1)

  await using twice = await scriptedMx({ behaviour: early('250 2.0.0 one\r\n250 2.0.0 two\r\n') })
  const second = await (await opened(twice.port)).send(message())
  t.equal(said(second.results[0]), 'deferred body unexpected-reply 4.5.0 infrastructure')

  await using later = await scriptedMx({
    behaviour: {
      data: (s) => {
        s.expectContent()
        s.raw(s.messages === 0 ? '354 go on\r\n' : '354 go on\r\n250 2.0.0 of whom?\r\n')
        return undefined
      },
    },
  })
  const used = await opened(later.port)
  t.equal(said((await used.send(message())).results[0]), 'delivered')
  t.equal(said((await used.send(message())).results[0]), 'deferred body unexpected-reply 4.5.0 infrastructure')
  t.equal(later.taken.length, 1)
  used.destroy()

  await using silent = await scriptedMx({
    behaviour: {
      ...early('250 2.0.0 that was all\r\n'),
      dot: (s) => {
        s.record()
        s.hang()
        return undefined
      },
    },
  })
  const alone = await (await opened(silent.port, { deadlines: { dotMs: 300 } })).send(message())
  t.equal(said(alone.results[0]), 'uncertain dot dot-timeout', 'and without a second word nothing is known')
})

await t.test('a 250 in the middle of large content never counts, the answer after it does', async (t) => {
  for (const [after, expected] of [
    ['554 5.7.1 refused after all', 'refused dot dot-refused 5.7.1'],
    ['250 2.0.0 taken', 'delivered'],
  ] as const) {
    const server = createServer((socket) => {
      let content = false
      let spoke = false
      socket.on('error', () => {})
      socket.write('220 mx.test\r\n')
      socket.on('data', (data: Buffer) => {
        if (!content) {
          content = data.toString() === 'DATA\r\n'
          socket.write(content ? '354 go on\r\n' : '250 fine\r\n')
          return
        }
        if (!spoke) socket.write('250 2.0.0 taken already\r\n')
        spoke = true
        if (data.subarray(-5).equals(Buffer.from('\r\n.\r\n'))) socket.write(`${after}\r\n`)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const connection = await opened((server.address() as AddressInfo).port)
    // More than the kernel of either side holds: the dot cannot be on its way when the host speaks.
    const large = Buffer.alloc(78 * 300_000, `${'x'.repeat(76)}\r\n`)
    const sent = await connection.send(message({ content: [large] }))
    t.equal(said(sent.results[0]), expected)
    t.equal(sent.reusable, false)
    connection.destroy()
    server.close()
  }
})

await t.test('a 554 said in the middle is shown, counts as an attempt and is not a refusal', async (t) => {
  const early: Script = {
    data: (s) => {
      s.expectContent()
      s.raw('354 go on\r\n554 5.3.4 too large\r\n')
      return undefined
    },
  }
  const { outcome } = await sendOnce(early)
  t.equal(outcome, 'deferred body unexpected-reply 4.5.0')
})

await t.test('replies too many end the connection, and no message gets a stale one', async (t) => {
  await using mx = await scriptedMx({ behaviour: 'desync' })
  for (let i = 0; i < 10; ) {
    const connection = await opened(mx.port)
    for (; connection.usable && i < 10; i++) {
      const before = mx.taken.length
      const sent = await connection.send(message({}, [`to-${i}@example.test`]))
      t.equal(said(sent.results[0]), 'delivered')
      t.equal(mx.taken.length, before + 1, 'and it was really taken')
    }
    connection.destroy()
  }
  t.equal(mx.connections, 10)
})

await t.test('replies too many that come a moment later end the idle connection', async (t) => {
  await using mx = await scriptedMx({
    behaviour: {
      dot: (s) => {
        s.take()
        setTimeout(() => s.raw('550 5.0.0 extra\r\n'), 30)
        return undefined
      },
    },
  })
  const connection = await opened(mx.port)
  t.equal(said((await connection.send(message())).results[0]), 'delivered')
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.equal(connection.usable, false)
  const second = await connection.send(message())
  t.equal(said(second.results[0]), 'deferred mail unexpected-reply 4.5.0 infrastructure')
  t.equal(mx.taken.length, 1)
})

await t.test('a refusal of MAIL followed by an acceptance of RCPT is somebody else’s refusal', async (t) => {
  await using mx = await scriptedMx({
    behaviour: {
      mail: (s, line) => {
        s.acceptSender(/<(.*?)>/.exec(line)![1]!)
        return undefined
      },
      rcpt: (s, to) => {
        s.recipients.push(to)
        return '250 2.1.5 fine'
      },
    },
  })
  const honest = await opened(mx.port)
  t.equal(said((await honest.send(message())).results[0]), 'delivered')
  honest.destroy()

  await using stale = await scriptedMx({
    behaviour: {
      mail: (s) => {
        s.say('550 5.0.0 left over')
        s.acceptSender('from@example.test')
        return undefined
      },
    },
  })
  const connection = await opened(stale.port)
  const sent = await connection.send(message())
  t.match(said(sent.results[0]), /^deferred data (?:protocol-error|unexpected-reply) 4\.5\.0 infrastructure$/)
  t.notOk(sent.reusable)
})

await t.test('nor is it believed when the count of replies comes out right', async (t) => {
  await using mx = await scriptedMx({
    behaviour: {
      mail: (s) => {
        s.reversePath = 'from@example.test'
        return '550 5.7.1 no'
      },
      data: () => '503 5.5.1 bad sequence',
    },
  })
  const connection = await opened(mx.port)
  const sent = await connection.send(message())
  t.equal(said(sent.results[0]), 'deferred data protocol-error 4.5.0 infrastructure')
  t.notOk(sent.reusable)
})

await t.test('what comes with the 220 to STARTTLS ends it before the handshake', async (t) => {
  await using mx = await scriptedMx({ behaviour: 'tlsinject' })
  for (const tls of [{ mode: 'opportunistic' }, { mode: 'require', verify: false }] as const) {
    const result = await dial(mx.port, { tls })
    t.equal(result.ok, false)
    if (!result.ok) t.match(result.failure, { stage: 'starttls', reason: 'unexpected-reply' })
  }
})

await t.test('a second greeting ends it', async (t) => {
  await using mx = await scriptedMx({ behaviour: { connect: () => '220 one\r\n220 two' } })
  const result = await dial(mx.port)
  t.match(result, { ok: false, failure: { reason: 'unexpected-reply' } })
})

await t.test(
  'a host that takes DATA without a recipient gets an empty message, and its 250 delivers nothing',
  async (t) => {
    await using mx = await scriptedMx({
      behaviour: {
        rcpt: () => '550 5.1.1 no such user',
        data: (s) => {
          s.expectContent()
          return '354 go on all the same'
        },
      },
    })
    const connection = await opened(mx.port)
    for (let i = 0; i < 3; i++) {
      const sent = await connection.send(message())
      t.equal(said(sent.results[0]), 'refused rcpt rcpt-refused 5.1.1')
      t.ok(sent.reusable)
    }
    t.equal(mx.taken.length, 3)
    t.ok(mx.taken.every((taken) => taken.content.length === 0))
    connection.destroy()
  },
)
