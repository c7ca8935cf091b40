import fc from 'fast-check'
import t from 'tap'
import {
  decodeWords,
  encodeWords,
  fieldValue,
  findField,
  makeField,
  parseMailboxes,
  prependFields,
  readFields,
  removeFields,
  splitMessage,
} from '#mail'
import { foldField } from '../../src/mail/header.ts'

await t.test('a message is split at the first blank line', async (t) => {
  const split = (text: string, tolerant = false) => {
    const { header, body } = splitMessage(Buffer.from(text), tolerant)
    return [header.toString(), body.toString()]
  }
  t.strictSame(split('a: b\r\n\r\nbody\r\n\r\n'), ['a: b\r\n', 'body\r\n\r\n'])
  t.strictSame(split('\r\nbody'), ['', 'body'])
  t.strictSame(split('a: b\r\n'), ['a: b\r\n', ''])
  t.strictSame(split('a: b\n\nbody'), ['a: b\n\nbody', ''], 'a bare LF ends no line')
  t.strictSame(split('a: b\n\nbody', true), ['a: b\n', 'body'], 'unless told so')
  t.strictSame(split('a: b\r\n\nbody', true), ['a: b\r\n', 'body'])
  t.strictSame(split('\nbody', true), ['', 'body'])
})

await t.test('fields are found, removed, put before', async (t) => {
  const fields = readFields(Buffer.from('A: 1\r\nB :\r\n 2\r\n\t3\r\nno colon\r\na:4\r\nb\u00fc: 5\r\n'))
  t.strictSame(
    fields.map((field) => field.name),
    ['a', 'b', '', 'a', ''],
  )
  t.equal(fieldValue(fields[1]!), '2\t3')
  t.equal(fieldValue(findField(fields, 'a')!), '1')
  t.strictSame(
    removeFields(fields, new Set(['a'])).map((field) => field.name),
    ['b', '', ''],
  )
  t.equal(prependFields(makeField('X', 'y').raw, Buffer.from('A: 1\r\n\r\n')).toString(), 'X: y\r\nA: 1\r\n\r\n')
})

await t.test('folding', async (t) => {
  const long = makeField('Subject', 'word '.repeat(60).trim())
  t.ok(
    long.raw
      .toString()
      .split('\r\n')
      .every((line) => line.length <= 77),
  )
  t.equal(fieldValue(long), 'word '.repeat(60).trim())
  t.equal(foldField(Buffer.from('A: b\r\n \r\n c\r\n')).toString(), 'A: b  c\r\n', 'no line of white space only')
  t.equal(
    foldField(Buffer.from(`A:${' '.repeat(200)}b\r\n`)).toString(),
    `A:${' '.repeat(200)}b\r\n`,
    'the first line is not empty',
  )
  const token = 'x'.repeat(300)
  t.equal(foldField(Buffer.from(`A: ${token} b\r\n`)).toString(), `A: ${token}\r\n b\r\n`)
})

await t.test('any bytes: fields put together are the header again, and folding only moves line ends', async (t) => {
  const bytes = fc
    .array(fc.constantFrom('a', ':', ' ', '\t', '\r\n', '\n', '\r', 'b: c', '\r\n ', 'é', '\0', 'word word'), {
      maxLength: 60,
    })
    .map((list) => Buffer.from(list.join('')))
  fc.assert(
    fc.property(bytes, (header) => {
      const fields = readFields(header)
      for (const field of fields) {
        const folded = foldField(field.raw).toString('latin1')
        const flat = (text: string) => text.replace(/\r\n/g, '').trimEnd()
        if (flat(folded) !== flat(field.raw.toString('latin1'))) return false
      }
      return Buffer.concat(fields.map((field) => field.raw)).equals(header)
    }),
    { numRuns: 2000 },
  )
  t.pass('held for every case')
})

await t.test('encoded words', async (t) => {
  t.equal(decodeWords('=?utf-8?Q?J=C3=BCrgen?= =?utf-8?B?w7w=?= x'), 'Jürgenü x')
  t.equal(decodeWords('=?iso-8859-1?Q?a_b=FC?='), 'a bü')
  t.equal(decodeWords('=?utf-8?B?4pw=?= =?utf-8?B?kw==?='), '✓', 'a character cut in two')
  t.equal(decodeWords('=?no-such-charset?Q?a=FC?='), 'aü')
  t.equal(decodeWords('=?utf-8?Q?open'), '=?utf-8?Q?open')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
      const words = encodeWords(text)
      return decodeWords(words) === text && words.split(' ').every((word) => word.length <= 75)
    }),
  )
})

await t.test('address lists', async (t) => {
  const read = (text: string) => {
    const list = parseMailboxes(text)
    return list.ok
      ? list.value.map(({ name, address, group }) => [name, address, ...(group === null ? [] : [group])])
      : list.error
  }
  t.strictSame(read('a@b.example'), [['', 'a@b.example']])
  t.strictSame(read('"Doe, \\"J\\"" <a@b.example>, (x (y)) c@d.example (z)'), [
    ['Doe, "J"', 'a@b.example'],
    ['', 'c@d.example'],
  ])
  t.strictSame(read('team: a@b.example, C <c@d.example>;, e@f.example'), [
    ['', 'a@b.example', 'team'],
    ['C', 'c@d.example', 'team'],
    ['', 'e@f.example'],
  ])
  t.strictSame(read('"a b"@c.example'), [['', '"a b"@c.example']])
  t.strictSame(read('<"a>b"@c.example>'), [['', '"a>b"@c.example']])
  t.strictSame(read('undisclosed recipients:;'), [])
  t.match(read('boss@corp.example <thief@evil.example>'), /must stand in quotes/)
  t.match(read('a <b@c.example> d'), /after the closing/)
  t.match(read('a <b@c.example'), /never closed/)
  t.match(read('"a'), /does not end/)
  t.match(read('(a'), /comment does not end/)
  t.match(read('g: a@b.example'), /semicolon/)
  t.match(read('('.repeat(1000)), /nested too deep/)
})

await t.test('hostile text costs linear time', async (t) => {
  const started = performance.now()
  for (const text of [
    '('.repeat(2e5),
    '"'.repeat(2e5),
    '<'.repeat(2e5),
    '=?'.repeat(1e5),
    '=?a?b?'.repeat(5e4),
    'a,'.repeat(1e5),
    '\\'.repeat(2e5),
    '@'.repeat(2e5),
    ' '.repeat(2e5),
    '"\\'.repeat(1e5),
  ]) {
    parseMailboxes(text)
    parseMailboxes(`${text} <a@b.example>`)
    decodeWords(text)
    readFields(Buffer.from(text))
    foldField(Buffer.from(`a: ${text}\r\n`))
  }
  const tookMs = performance.now() - started
  t.ok(tookMs < 2000, `${Math.round(tookMs)} ms for 50 walks over 200,000 characters`)
})
