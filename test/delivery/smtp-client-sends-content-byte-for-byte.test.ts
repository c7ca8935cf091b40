import fc from 'fast-check'
import t from 'tap'
import { scriptedMx } from '#world'
import { BareLineEnd, ContentReader } from '../../src/delivery/smtp-client/content.ts'
import { message, opened, said } from './smtp-client-harness.ts'

/** All that would be written for these parts, the final dot included. */
function wireOf(parts: readonly Buffer[]): Buffer {
  const reader = new ContentReader(parts)
  const pieces: Buffer[] = []
  while (!reader.done) pieces.push(reader.next())
  return Buffer.concat([...pieces, reader.terminator])
}

/** A receiver by the book: lines, one dot removed, a lone dot ends. */
function received(wire: Buffer): { content: string; rest: string } {
  const lines = wire.toString('latin1').split('\r\n')
  const end = lines.indexOf('.')
  const content = lines.slice(0, end).map((line) => `${line.startsWith('.') ? line.slice(1) : line}\r\n`)
  return { content: content.join(''), rest: lines.slice(end + 1).join('\r\n') }
}

const line = fc.oneof(fc.stringMatching(/^\.{0,3}[ -~]{0,12}$/), fc.constantFrom('', '.', '..', '...', '. ', 'a', '.a'))
const content = fc.array(line, { maxLength: 40 }).map((lines) => lines.map((one) => `${one}\r\n`).join(''))

await t.test('any content with CRLF arrives as it was, however it is cut into parts', async (t) => {
  fc.assert(
    fc.property(content, fc.array(fc.nat(), { maxLength: 6 }), (text, cuts) => {
      const { content: arrived, rest } = received(wireOf(cutAt(Buffer.from(text, 'latin1'), cuts)))
      return arrived === text && rest === ''
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length))
}

await t.test('content without a final CRLF gets one, and nothing else', async (t) => {
  t.equal(wireOf([Buffer.from('a\r\n.b')]).toString(), 'a\r\n..b\r\n.\r\n')
  t.equal(wireOf([]).toString(), '.\r\n')
  t.equal(wireOf([Buffer.from('.')]).toString(), '..\r\n.\r\n')
})

await t.test('content with a bare CR or LF is never written', async (t) => {
  const endings = ['\n.\n', '\r.\r', '\n.\r\n', '\r\n.\n', '\r.\r\n', '\r\n.\r', '\r', '\n', '\r\r\n', '\n\r', '\r\n\n']
  for (const ending of endings) {
    const bytes = Buffer.from(`A: b\r\n\r\nx${ending}MAIL FROM:<evil@example.test>\r\n`)
    t.throws(() => wireOf([bytes]), BareLineEnd, JSON.stringify(ending))
    for (let cut = 0; cut <= bytes.length; cut++) {
      t.throws(() => wireOf([bytes.subarray(0, cut), bytes.subarray(cut)]), BareLineEnd)
    }
  }
  fc.assert(
    fc.property(
      content,
      fc.nat(),
      fc.constantFrom('\r', '\n'),
      fc.array(fc.nat(), { maxLength: 3 }),
      (text, at, bare, cuts) => {
        const spot = at % (text.length + 1)
        const spoiled = text.slice(0, spot) + bare + text.slice(spot)
        const bad = /(?:^|[^\r])\n|\r(?!\n)/.test(spoiled)
        try {
          wireOf(cutAt(Buffer.from(spoiled), cuts))
          return !bad
        } catch (error) {
          return error instanceof BareLineEnd && bad
        }
      },
    ),
    { numRuns: 2000 },
  )
})

await t.test('pieces are bounded, and content without dots is not copied', async (t) => {
  const large = Buffer.alloc(78 * 100_000, `${'y'.repeat(76)}\r\n`)
  const reader = new ContentReader([large])
  let pieces = 0
  while (!reader.done) {
    const piece = reader.next()
    t.ok(piece.length <= 131_072)
    t.equal(piece.buffer, large.buffer)
    pieces++
  }
  t.equal(pieces, Math.ceil(large.length / 131_072))
})

await t.test('over a connection: small, large, dotted and without a final line end', async (t) => {
  await using mx = await scriptedMx()
  const dotted = Buffer.from(`${'.\r\n..\r\n...x\r\nplain\r\n'.repeat(30_000)}`)
  const cases = [
    [Buffer.from('A: b\r\n\r\n')],
    [Buffer.from('A: b\r\n\r\n'), Buffer.from('.one\r\n'), Buffer.from('.\r\n')],
    [Buffer.from('DKIM-Signature: x\r\n'), dotted],
    [Buffer.alloc(78 * 40_000, `${'z'.repeat(76)}\r\n`)],
    [],
  ]
  for (const tls of [{ mode: 'off' }, { mode: 'opportunistic' }] as const) {
    const connection = await opened(mx.port, { tls })
    for (const parts of cases) {
      const sent = await connection.send(message({ content: parts }))
      t.equal(said(sent.results[0]), 'delivered', sent.transcript)
      const taken = mx.taken.at(-1)!
      t.ok(taken.content.equals(Buffer.concat(parts)))
      t.notOk(taken.bareLineEnds)
    }
    t.equal(connection.messagesSent, cases.length)
    await connection.quit()
  }
})

await t.test(
  'content with a bare line end is refused by us; the connection ends and the peer has taken nothing',
  async (t) => {
    await using mx = await scriptedMx()
    const connection = await opened(mx.port)
    const sent = await connection.send(
      message({ content: [Buffer.from('A: b\r\n\r\nx\n.\nMAIL FROM:<evil@example.test>\r\n')] }),
    )
    t.equal(said(sent.results[0]), 'refused policy bare-line-end 5.6.0')
    t.notOk(sent.reusable)
    t.equal(mx.taken.length, 0)
  },
)
