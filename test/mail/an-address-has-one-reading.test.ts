import fc from 'fast-check'
import t from 'tap'
import { formatAddress, parseAddress, parsePath } from '#mail'

function read(text: string): string {
  const parsed = parseAddress(text)
  return parsed.ok ? parsed.value.text : `! ${parsed.error.reason}`
}

await t.test('what is an address', async (t) => {
  const cases: [string, string][] = [
    ['a@example.com', 'a@example.com'],
    ['First.Last+tag@Example.COM', 'First.Last+tag@example.com'],
    ["!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"],
    ['"quoted string"@example.com', '"quoted string"@example.com'],
    ['"needless"@example.com', 'needless@example.com'],
    ['"a@b"@example.com', '"a@b"@example.com'],
    ['"a\\"\\\\b"@example.com', '"a\\"\\\\b"@example.com'],
    ['"a..b"@example.com', '"a..b"@example.com'],
    ['user@münchen.example', 'user@xn--mnchen-3ya.example'],
    ['user@MÜNCHEN.example', 'user@xn--mnchen-3ya.example'],
    ['übung@xn--mnchen-3ya.example', 'übung@xn--mnchen-3ya.example'],
    ['用户@例子.example', '用户@xn--fsqu00a.example'],
    [`${'a'.repeat(64)}@example.com`, `${'a'.repeat(64)}@example.com`],
    ['a@4.example', 'a@4.example'],
  ]
  for (const [text, expected] of cases) t.equal(read(text), expected)
})

await t.test('what is none, and why', async (t) => {
  const cases: [string, RegExp][] = [
    ['', /is empty/],
    ['a', /has no @/],
    ['@example.com', /nothing stands before/],
    ['a@', /nothing stands after/],
    ['a@localhost', /no dot/],
    ['a@b@example.com', /more than one @/],
    ['a@[127.0.0.1]', /literal is not accepted/],
    ['a@127.0.0.1', /ends with a number/],
    ['a@example.com:25', /port/],
    ['a@example.com.', /empty place/],
    ['a@exa_mple.com', /must not have "_"/],
    ['a@-example.com', /hyphen/],
    ['a@example..com', /empty place/],
    [`a@${'b'.repeat(64)}.com`, /63 octets/],
    [`${'a'.repeat(65)}@example.com`, /64 octets/],
    [`a@${'b.'.repeat(130)}com`, /255 octets/],
    [`${'a'.repeat(60)}@${'b.'.repeat(100)}com`, /254 octets/],
    [`${'ü'.repeat(33)}@example.com`, /64 octets/],
    ['.a@example.com', /empty place/],
    ['a.@example.com', /ends with a dot/],
    ['a..b@example.com', /empty place/],
    ['a b@example.com', /space/],
    ['a@exam ple.com', /must not have " "/],
    ['<a@example.com>', /angle brackets/],
    ['(comment)a@example.com', /comments/],
    ['a@(comment)example.com', /comments/],
    ['a@example.com\r\nRCPT TO:<b@example.com>', /control/],
    ['a\n@example.com', /control/],
    ['a\0@example.com', /control/],
    ['"a\r\n"@example.com', /control/],
    ['"a@example.com', /does not end/],
    ['"a"b@example.com', /an @ is expected/],
    ['""@example.com', /nothing stands between/],
    ['=?utf-8?q?a?=@example.com', /encoded word/],
    ['a@=?utf-8?q?example?=.com', /must not have "="/],
    ['a@example。com', /normal form/],
    ['a@ｅxample.com', /normal form/],
    ['a@exa\u00admple.com', /normal form/],
    ['a\u202e@example.com', /must not stand/],
    ['a\ud800@example.com', /must not stand/],
    ['a\u00a0b@example.com', /must not stand/],
    ['@relay.example:a@example.com', /nothing stands before/],
    ['a,b@example.com', /must be quoted/],
    ['a;b@example.com', /must be quoted/],
  ]
  for (const [text, reason] of cases) t.match(read(text), reason, JSON.stringify(text.slice(0, 40)))
})

await t.test('literals where they are allowed', async (t) => {
  const literal = (text: string) => parseAddress(text, { allowLiteral: true })
  t.match(literal('a@[192.0.2.1]'), { ok: true, value: { domain: '[192.0.2.1]' } })
  t.match(literal('a@[ipv6:2001:DB8::1]'), { ok: true, value: { domain: '[IPv6:2001:db8::1]' } })
  for (const text of ['a@[1.2.3]', 'a@[::1]', 'a@[IPv6:fe80::1%eth0]', 'a@[192.0.2.1', 'a@[x:y]', 'a@[]'])
    t.equal(literal(text).ok, false, text)
})

await t.test('paths', async (t) => {
  t.strictSame(parsePath('<>'), { ok: true, value: null })
  t.match(parsePath('<a@example.com>'), { ok: true, value: { text: 'a@example.com' } })
  for (const path of ['', 'a@example.com', '<a@example.com', '< >', '<<a@example.com>>', '<@a.example:b@example.com>'])
    t.equal(parsePath(path).ok, false, path)
})

await t.test('anything may be asked', async (t) => {
  const pieces = fc.array(
    fc.oneof(
      fc.string(),
      fc.constantFrom('@', '"', '\\', '.', '[', ']', '(', '<', '>', 'example.com', '\r\n', '=?', 'ü', '。'),
    ),
  )
  fc.assert(
    fc.property(
      fc.oneof(
        pieces.map((list) => list.join('')),
        fc.string({ unit: 'binary' }),
      ),
      (text) => {
        const parsed = parseAddress(text, { allowLiteral: true })
        if (!parsed.ok) return parsed.error.reason.length > 0
        const { text: normal, local, domain } = parsed.value
        const again = parseAddress(normal, { allowLiteral: true })
        return (
          again.ok &&
          again.value.text === normal &&
          again.value.local === local &&
          formatAddress({ local, domain }) === normal &&
          Buffer.byteLength(normal) <= 254 &&
          !/[\r\n\0]/.test(normal)
        )
      },
    ),
    { numRuns: 3000 },
  )
  t.pass('held for every case')
})

await t.test('every address that can be written is read back', async (t) => {
  const printable = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)),
    minLength: 1,
    maxLength: 25,
  })
  fc.assert(
    fc.property(printable, (local) => {
      const text = formatAddress({ local, domain: 'example.com' })
      const parsed = parseAddress(text)
      // The one exception: what looks like an encoded word.
      return parsed.ok ? parsed.value.local === local && parsed.value.text === text : /^=\?.*\?=$/.test(local)
    }),
    { numRuns: 2000 },
  )
  t.pass('held for every case')
})

await t.test('long input costs no time', async (t) => {
  const started = performance.now()
  for (const text of ['a'.repeat(1e6), '"'.repeat(1e6), `a@${'a.'.repeat(5e5)}`, '=?'.repeat(5e5), '\\'.repeat(1e6)])
    t.equal(parseAddress(text).ok, false)
  t.ok(performance.now() - started < 500, 'five megabytes are refused at once')
})
