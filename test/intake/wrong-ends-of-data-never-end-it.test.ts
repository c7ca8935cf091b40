import fc from 'fast-check'
import t from 'tap'
import { ContentBudget, DotReader } from '../../src/intake/smtp/dot-reader.ts'
import { WRONG_ENDS } from '../security/wrong-ends.ts'
import { loggedIn, MESSAGE, openRig } from './rig.ts'

const SMUGGLED =
  'MAIL FROM:<app@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nFrom: app@example.com\r\n\r\nsmuggled'

void t.test('no wrong end of data splits a message', async (t) => {
  const rig = await openRig(t)
  for (const end of WRONG_ENDS) {
    const wire = await loggedIn(rig.port('tls'))
    await wire.say('MAIL FROM:<app@example.com>')
    await wire.say('RCPT TO:<you@example.net>')
    await wire.say('DATA')
    rig.queue.messages.length = 0
    wire.write(`${MESSAGE}before${end}${SMUGGLED}\r\n.\r\n`)
    t.match(await wire.reply(), /^250 2\.0\.0 queued as /, JSON.stringify(end))
    t.match(await wire.say('NOOP'), /^250 2\.0\.0 /, 'and nothing else was answered')
    t.equal(rig.queue.messages.length, 1)
    const { content, recipients } = rig.queue.messages[0]!
    const text = Buffer.from(content).toString('latin1')
    t.match(text, /before[\s\S]*RCPT TO:<victim@example\.net>[\s\S]*smuggled/)
    t.notMatch(text, /[^\r]\n|\r[^\n]/, 'no bare CR or LF is left')
    t.equal(recipients.length, 1)
    wire.close()
  }
})

void t.test('the same, one byte a packet', async (t) => {
  const rig = await openRig(t)
  const wire = await loggedIn(rig.port('tls'))
  await wire.say('MAIL FROM:<app@example.com>')
  await wire.say('RCPT TO:<you@example.net>')
  await wire.say('DATA')
  for (const character of `${MESSAGE}x\r\n..\r\n.\n.\r.\r\n.\r\n`) {
    wire.write(character)
    await new Promise(setImmediate)
  }
  t.match(await wire.reply(), /^250 /)
  t.equal(rig.queue.messages.length, 1)
  wire.close()
})

/** RFC 5321 §4.5.2 on the whole text at once, written to be obvious. */
function reference(input: string): { content: string; rest: string } | null {
  let at = 0
  let content = ''
  for (;;) {
    const end = input.indexOf('\r\n', at)
    const line = end < 0 ? input.slice(at) : input.slice(at, end)
    if (line === '.' && end >= 0) return { content, rest: input.slice(end + 2) }
    content += line.startsWith('.') ? line.slice(1) : line
    if (end < 0) return null
    content += '\r\n'
    at = end + 2
  }
}

void t.test('the reader agrees with the plain reading, however the bytes are cut', async (t) => {
  const piece = fc.constantFrom('\r', '\n', '.', 'a', '\r\n', '.\r\n', '\r\n.\r\n', '\r\n..')
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
      (pieces, cuts) => {
        const input = `${pieces.join('')}\r\n.\r\nQUIT`
        const reader = new DotReader(10_000, new ContentBudget(1_000_000))
        const bytes = Buffer.from(input, 'latin1')
        let taken = -1
        let at = 0
        for (let i = 0; at < bytes.length && taken < 0; i++) {
          const chunk = bytes.subarray(at, at + cuts[i % cuts.length]!)
          taken = reader.take(chunk)
          at += taken < 0 ? chunk.length : taken
        }
        const wanted = reference(input)!
        const received = reader.received()
        return (
          received.kind === 'content' &&
          received.content.toString('latin1') === wanted.content &&
          input.slice(at) === wanted.rest
        )
      },
    ),
    { numRuns: 20_000 },
  )
  t.pass('20,000 random texts')
})

void t.test('what is kept is bounded, and given back', async (t) => {
  const budget = new ContentBudget(100_000)
  const first = new DotReader(80_000, budget)
  first.take(Buffer.alloc(60_000, 'a'))
  const second = new DotReader(80_000, budget)
  second.take(Buffer.alloc(70_000, 'a'))
  t.equal(second.take(Buffer.from('\r\n.\r\n')), 5)
  t.strictSame(second.received(), { kind: 'no-room' })
  first.take(Buffer.alloc(30_000, 'a'))
  t.equal(first.take(Buffer.from('\r\n.\r\n')), 5)
  t.strictSame(first.received(), { kind: 'too-large' })
  first.release()
  second.release()
  t.equal(budget.usedBytes, 0)
})
