import fc from 'fast-check'
import t from 'tap'
import { ReplyParser, type WireReply } from '../../src/delivery/smtp-client/reply-parser.ts'

/** Replies read from chunks; a string says why reading ended. */
function read(...chunks: readonly (string | Buffer)[]): (WireReply | string)[] {
  const parser = new ReplyParser()
  const found: (WireReply | string)[] = []
  for (const chunk of chunks) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk)
    for (let at = 0; at < bytes.length; ) {
      const step = parser.read(bytes, at)
      if (step.kind === 'more') break
      if (step.kind === 'broken') return [...found, step.why]
      found.push(step.reply)
      at = step.next
    }
  }
  return found
}

await t.test('single and multi-line replies, with and without text', async (t) => {
  t.match(read('250 2.1.0 fine\r\n'), [{ code: 250, enhanced: '2.1.0', text: 'fine', lines: ['2.1.0 fine'] }])
  t.match(read('250-a\r\n250-b\r\n250 c\r\n'), [{ code: 250, enhanced: null, text: 'a b c', lines: ['a', 'b', 'c'] }])
  t.match(read('220\r\n'), [{ code: 220, text: '' }])
  t.match(read('220 \r\n354\n'), [{ code: 220, text: '' }, { code: 354 }])
  t.match(read('550-first\r\n550 5.1.1 second\r\n'), [{ enhanced: '5.1.1', text: 'first 5.1.1 second' }])
})

await t.test('an enhanced code counts only when its class is the reply’s', async (t) => {
  t.match(read('550 4.1.1 odd\r\n'), [{ enhanced: null, text: '4.1.1 odd' }])
  t.match(read('250 2.0.0\r\n'), [{ enhanced: '2.0.0', text: '' }])
  t.match(read('550 5.1.1234 x\r\n'), [{ enhanced: null }])
  t.match(read('554-4.7.0 x\r\n554 5.7.1 y\r\n'), [{ enhanced: '5.7.1' }])
})

await t.test('what is no reply ends the reading', async (t) => {
  for (const line of [
    'hello',
    '25',
    '2500 x',
    '250_x',
    '199 x',
    '600 x',
    '999 x',
    '000 x',
    '2a0 x',
    '',
    ' 250 x',
    '\xff\xfe',
  ]) {
    t.type(read(`${line}\r\n`)[0], 'string', JSON.stringify(line))
  }
  t.type(read('250-a\r\n251 b\r\n')[0], 'string')
})

await t.test('limits: 2 KiB a line, 100 lines, 64 KiB', async (t) => {
  t.match(read(`250 ${'x'.repeat(2042)}\r\n`), [{ code: 250 }])
  t.type(read(`250 ${'x'.repeat(2043)}\r\n`)[0], 'string')
  t.type(read('2'.repeat(4000))[0], 'string')
  t.match(read(`${'250-x\r\n'.repeat(99)}250 x\r\n`), [{ code: 250 }])
  t.type(read(`${'250-x\r\n'.repeat(100)}250 x\r\n`)[0], 'string')
  t.type(read(`250-${'x'.repeat(2000)}\r\n`.repeat(40))[0], 'string')
  const text = (read(`${`250-${'x'.repeat(600)}\r\n`.repeat(50)}250 x\r\n`)[0] as WireReply).text
  t.ok(text.length <= 2048)
})

await t.test('however the bytes are cut, the same replies come out; random bytes never throw', async (t) => {
  const stream = Buffer.from('220 hi\r\n250-a\r\n250 2.0.0 é\r\n354 go\r\n550-5.1.1 no\r\n550 5.1.1 user\r\n')
  const whole = read(stream)
  t.equal(whole.length, 4)
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 10 }), (cuts) => {
      const at = [...new Set([0, ...cuts])].sort((a, b) => a - b)
      const pieces = at.map((from, i) => stream.subarray(from, at[i + 1] ?? stream.length))
      return JSON.stringify(read(...pieces)) === JSON.stringify(whole)
    }),
  )
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (chunks) => {
      for (const reply of read(...chunks.map((chunk) => Buffer.from(chunk)))) {
        if (typeof reply !== 'string' && (reply.code < 200 || reply.code > 599 || /[\x00-\x1f]/.test(reply.text)))
          return false
      }
      return true
    }),
  )
})
