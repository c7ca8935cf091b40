import fc from 'fast-check'
import t from 'tap'
import { relaxedBody } from '../../src/mail/dkim/relaxed.ts'
import { normaliseLineEnds } from '../../src/mail/line-ends.ts'
import { isSevenBit } from '../../src/mail/seven-bit.ts'

// The scans look at four octets at a time from wherever the memory is aligned: each is held against the plain rule, at
// every alignment and with what matters at every place.

const octet = fc.constantFrom(...'   \t\r\n\rab.!\u0001\u007f\u0080\u008d\u008a\u00a0\u00ff\0')
const piece = fc.oneof(
  octet,
  octet,
  fc.constantFrom('\r\n', '\r\n', 'words', ' a b', 'y'.repeat(1030), 'plain text\r\n'.repeat(90)),
)
const bytes = fc
  .tuple(fc.array(piece, { maxLength: 40 }), fc.nat(7))
  .map(([pieces, offset]) => Buffer.from(`${'\r'.repeat(offset)}${pieces.join('')}`, 'latin1').subarray(offset))

function slowRelaxed(body: string): string {
  const lines = body.split('\r\n').map((line) => line.replace(/[ \t]+/g, ' ').replace(/ $/, ''))
  while (lines.at(-1) === '') lines.pop()
  return lines.map((line) => `${line}\r\n`).join('')
}

await t.test('relaxed bodies', async (t) => {
  fc.assert(
    fc.property(
      bytes,
      (body) => Buffer.from(relaxedBody(body)).toString('latin1') === slowRelaxed(body.toString('latin1')),
    ),
    { numRuns: 5000 },
  )
  t.pass('held for every case')
})

await t.test('line ends', async (t) => {
  fc.assert(
    fc.property(bytes, (raw) => {
      const expected = raw.toString('latin1').replace(/\r*\n|\r/g, '\r\n')
      const result = normaliseLineEnds(raw)
      return result.toString('latin1') === expected && (result === raw) === (expected === raw.toString('latin1'))
    }),
    { numRuns: 5000 },
  )
  t.pass('held for every case')
})

await t.test('7-bit', async (t) => {
  fc.assert(
    fc.property(bytes, (raw) => {
      const text = raw.toString('latin1').replace(/\r\n|\r|\n/g, '\r\n')
      const expected = !/[\0\x80-\xff]/.test(text) && text.split('\r\n').every((line) => line.length <= 998)
      return isSevenBit(Buffer.from(text, 'latin1')) === expected
    }),
    { numRuns: 5000 },
  )
  t.pass('held for every case')
})

await t.test('one change at each place of a longer text is found', async (t) => {
  const plain = Buffer.from('some words of text\r\n'.repeat(120))
  const missed: number[] = []
  for (let at = 0; at < plain.length; at++) {
    const changed = Buffer.from(plain)
    changed[at] = changed[at] === 0x20 || at % 2 === 0 ? 0x09 : 0x0d
    const text = changed.toString('latin1')
    if (Buffer.from(relaxedBody(changed)).toString('latin1') !== slowRelaxed(text)) missed.push(at)
    if (normaliseLineEnds(changed).toString('latin1') !== text.replace(/\r*\n|\r/g, '\r\n')) missed.push(at)
  }
  t.strictSame(missed, [])
})
