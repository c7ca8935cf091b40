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

for (const after of ['250 2.0.0 taken', '554 5.7.1 refused after all']) {
  await t.test(`a 250 that comes with the 354 never counts, whatever follows (${after})`, async (t) => {
    const early: Script = {
      data: (s) => {
        s.expectContent()
        s.raw('354 go on\r\n250 2.0.0 taken already\r\n')
        return undefined
      },
      dot: () => after,
    }
    t.strictSame(await sendOnce(early), {
      outcome: 'deferred body unexpected-reply 4.5.0 infrastructure',
      reusable: false,
      took: 0,
    })
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
      dot: () => after,
    }
    for (; turns < 3; turns++) {
      const { outcome, took } = await sendOnce(early)
      t.not(outcome, 'delivered')
      t.equal(took, 0)
    }
  })
}

await t.test('a 250 in the middle of large content never counts', async (t) => {
  const early: Script = {
    body: (s) => {
      if (s.seen.has('said')) return undefined
      s.seen.add('said')
      return '250 2.0.0 taken already'
    },
  }
  const { outcome, reusable } = await sendOnce(
    early,
    Buffer.alloc(40_000_000, `${'x'.repeat(76)}\r\n`).subarray(0, 39_999_960),
  )
  t.match(outcome, /^(deferred body unexpected-reply 4\.5\.0 infrastructure)$/)
  t.notOk(reusable)
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
