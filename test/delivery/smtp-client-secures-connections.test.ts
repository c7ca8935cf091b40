import t from 'tap'
import { type BehaviourName, scriptedMx, worldCa } from '#world'
import { dial, message, opened, said } from './smtp-client-harness.ts'

const { cert } = await worldCa()
const VERIFY = { mode: 'require', verify: true, ca: [cert] } as const

await t.test('opportunistic takes any certificate and says what was agreed', async (t) => {
  for (const behaviour of ['good', 'selfsigned', 'expired', 'certmismatch'] as const) {
    await using mx = await scriptedMx({ behaviour })
    const connection = await opened(mx.port, { tls: { mode: 'opportunistic' } })
    t.match(connection.tls, /^TLSv1\.[23] TLS_\w+$/)
    t.equal(said((await connection.send(message())).results[0]), 'delivered')
    t.match(mx.taken[0]!.tls, /^TLSv1/)
    t.notOk(connection.capabilities.has('STARTTLS'), 'what was offered in clear is forgotten')
    await connection.quit()
  }
})

await t.test('verification wants a trusted, current certificate for the name', async (t) => {
  await using good = await scriptedMx()
  const connection = await opened(good.port, { tls: VERIFY })
  t.not(connection.tls, '')
  connection.destroy()
  const byAddress = await opened(good.port, { tls: VERIFY, host: '127.0.0.1' })
  byAddress.destroy()
  t.match(await dial(good.port, { tls: { mode: 'require', verify: true } }), {
    ok: false,
    failure: { reason: 'tls-untrusted' },
  })
  for (const behaviour of ['selfsigned', 'expired', 'certmismatch'] as const) {
    await using mx = await scriptedMx({ behaviour })
    t.match(
      await dial(mx.port, { tls: VERIFY }),
      { ok: false, failure: { stage: 'starttls', reason: 'tls-untrusted' } },
      behaviour,
    )
    t.equal(mx.taken.length, 0)
  }
})

await t.test('a handshake that fails or hangs ends at its stage, and the caller can go on in clear', async (t) => {
  const expected: readonly (readonly [BehaviourName, string])[] = [
    ['tlsgarbage', 'tls-failed'],
    ['tlshang', 'starttls-timeout'],
    ['tlsinject', 'unexpected-reply'],
  ]
  for (const [behaviour, reason] of expected) {
    await using mx = await scriptedMx({ behaviour })
    const result = await dial(mx.port, { tls: { mode: 'opportunistic' }, deadlines: { tlsMs: 600 } })
    t.match(result, { ok: false, failure: { stage: 'starttls', reason } }, behaviour)
    const clear = await opened(mx.port)
    t.equal(said((await clear.send(message())).results[0]), 'delivered')
    clear.destroy()
  }
})

await t.test(
  'without an offer: opportunistic goes in clear, require does not go at all, off does not ask',
  async (t) => {
    await using plain = await scriptedMx({ behaviour: 'plain' })
    const clear = await opened(plain.port, { tls: { mode: 'opportunistic' } })
    t.equal(clear.tls, '')
    clear.destroy()
    t.match(await dial(plain.port, { tls: VERIFY }), {
      ok: false,
      failure: { stage: 'starttls', reason: 'tls-not-offered' },
    })
    await using good = await scriptedMx()
    const off = await opened(good.port)
    off.destroy()
    t.notOk(good.commands.includes('STARTTLS'))
  },
)

await t.test('implicit TLS speaks TLS first', async (t) => {
  await using mx = await scriptedMx({ behaviour: { implicitTls: true } })
  const connection = await opened(mx.port, { tls: { mode: 'implicit', verify: true, ca: [cert] } })
  t.match(connection.tls, /^TLSv1/)
  t.equal(said((await connection.send(message())).results[0]), 'delivered')
  await connection.quit()
  await using clear = await scriptedMx()
  t.match(await dial(clear.port, { tls: { mode: 'implicit', verify: false } }), {
    ok: false,
    failure: { reason: 'tls-failed' },
  })
})
