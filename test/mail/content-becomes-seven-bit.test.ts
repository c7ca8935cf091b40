import { isAscii } from 'node:buffer'
import { simpleParser } from 'mailparser'
import t from 'tap'
import { toSevenBit } from '#mail'
import { encodeQuotedPrintable, rewrapBase64 } from '../../src/mail/transfer-encoding.ts'
import { randomFrom, randomMessage } from './random-message.ts'

function convert(text: string | Buffer): string {
  return toSevenBit(Buffer.from(text)).content.toString('latin1')
}

function isFit(bytes: Buffer): boolean {
  return (
    isAscii(bytes) &&
    !bytes.includes(0) &&
    bytes
      .toString('latin1')
      .split('\r\n')
      .every((line) => line.length <= 998)
  )
}

await t.test('nothing to do: the same Buffer', async (t) => {
  const plain = [
    '',
    '\r\n',
    'a: b\r\n\r\n',
    `a: b\r\n\r\n${'y'.repeat(998)}\r\n`,
    `a: b\r\n\r\n${`${'y'.repeat(997)}\r\n`.repeat(5)}`,
    `a: b\r\n\r\n${'y'.repeat(998)}`,
    'a: b\r\n\r\n\r\n',
  ]
  for (const text of plain) {
    const content = Buffer.from(text)
    t.equal(toSevenBit(content).content, content, JSON.stringify(text.slice(0, 20)))
  }
  for (const text of [
    `a: b\r\n\r\n${'y'.repeat(999)}\r\n`,
    `a: b\r\n\r\nx\r\n${'y'.repeat(999)}`,
    'a: b\r\n\r\n\0\r\n',
    'a: b\r\n\r\n\x80\r\n',
  ])
    t.ok(isFit(toSevenBit(Buffer.from(text, 'latin1')).content), JSON.stringify(text.slice(0, 20)))
})

await t.test('a body without MIME headers gets them', async (t) => {
  t.equal(
    convert('Subject: x\r\n\r\nGrüße und noch etwas mehr Text\r\n'),
    'Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe und noch etwas mehr Text\r\n',
  )
  t.match(
    convert(Buffer.from('Subject: x\r\n\r\nGr\u00fc\u00dfe und noch etwas mehr Text\r\n', 'latin1')),
    /charset=unknown-8bit[\s\S]+Gr=FC=DFe/,
  )
  t.notMatch(
    convert(`Subject: x\r\n\r\n${'long '.repeat(300)}\r\n`),
    /charset/,
    'for long lines alone nothing is said of a charset',
  )
})

await t.test('a leaf says what it has become', async (t) => {
  const converted = convert(
    'MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>Grüße = und noch etwas mehr Text</p>\r\n',
  )
  t.equal(
    converted,
    'MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=C3=BC=C3=9Fe =3D und noch etwas mehr Text</p>\r\n',
  )
  t.match(
    convert('MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n日本語のテキスト\r\n'),
    /Content-Transfer-Encoding: base64\r\n\r\n5pel/,
  )
  t.match(
    convert('MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x01\x00\x02'),
    /Content-Transfer-Encoding: base64\r\n\r\nAQAC$/,
  )
})

await t.test('what is encoded already keeps its meaning', async (t) => {
  t.equal(
    encodeQuotedPrintable(Buffer.from('a=C3=A4 =\r\nb\u00e4 =zz \r\n', 'latin1'), true).toString(),
    'a=C3=A4 =\r\nb=E4 =3Dzz=20\r\n',
  )
  const soft = encodeQuotedPrintable(Buffer.from('=41'.repeat(1000)), true).toString()
  t.equal(soft.replaceAll('=\r\n', ''), '=41'.repeat(1000), 'no escape is cut in two')
  t.ok(soft.split('\r\n').every((line) => line.length <= 76))
  t.equal(
    rewrapBase64(Buffer.from(`${'QUJD'.repeat(30)}\u00ff\r\n=`, 'latin1'), true).toString(),
    `${'QUJD'.repeat(19)}\r\n${'QUJD'.repeat(11)}=\r\n`,
  )
})

await t.test('every octet survives quoted-printable', async (t) => {
  const octets = Buffer.from(Array.from({ length: 2048 }, (_, i) => (i * 7) % 256))
  const encoded = encodeQuotedPrintable(octets, false)
  t.ok(
    encoded
      .toString()
      .split('\r\n')
      .every((line) => line.length <= 76 && !/[ \t]$/.test(line)),
  )
  const decoded = encoded
    .toString('latin1')
    .replaceAll('=\r\n', '')
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  t.ok(Buffer.from(decoded, 'latin1').equals(octets))
})

await t.test('signed and encrypted parts are never touched', async (t) => {
  const types = [
    'multipart/signed; boundary=b',
    'multipart/encrypted; boundary=b',
    'application/pkcs7-mime',
    'Multipart/Signed;\r\n boundary=b',
  ]
  for (const type of types) {
    const content = Buffer.from(`MIME-Version: 1.0\r\nContent-Type: ${type}\r\n\r\n--b\r\n\r\nGrüße\r\n--b--\r\n`)
    const result = toSevenBit(content)
    t.ok(result.content.equals(content), type)
    t.ok(result.untouchable8bit, type)
  }
  const inside = toSevenBit(
    Buffer.from(
      'Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nGrüße\r\n--b--\r\n--o\r\n\r\nGrüße und noch etwas mehr Text\r\n--o--\r\n',
    ),
  )
  t.ok(inside.untouchable8bit)
  t.match(inside.content.toString(), /--b\r\n\r\nGrüße\r\n--b--[\s\S]+Gr=C3=BC=C3=9Fe und/, 'its neighbour is')
  const labelled = convert(
    'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--o\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nGrüße\r\n--b--\r\n--o--\r\n',
  )
  t.match(labelled, /^Content-Transfer-Encoding: 8bit\r$/m, 'what has an 8-bit part still says so')
  t.notOk(
    toSevenBit(Buffer.from('Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n'))
      .untouchable8bit,
  )
  t.ok(
    toSevenBit(Buffer.from('Content-Transfer-Encoding: x-uuencode\r\n\r\nü\r\n')).untouchable8bit,
    'an unknown encoding',
  )
})

await t.test('headers of parts', async (t) => {
  const converted = convert(
    `MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Type: application/pdf; name="Übersicht ${'ä'.repeat(40)}.pdf"\r\nContent-Description: Übersicht\r\nContent-ID: <ü@x>\r\n\r\nx\r\n--b--\r\n`,
  )
  t.ok(isAscii(Buffer.from(converted, 'latin1')))
  t.match(converted, /name\*0\*=utf-8''%C3%9Cbersicht%20/)
  t.match(converted, /name\*1\*=/)
  t.match(converted, /Content-Description: =\?utf-8\?B\?/)
  t.match(converted, /Content-ID: <\?@x>/)
  t.notMatch(converted, /8bit/)
})

/** What a reader sees: text, html and attachments. */
async function seen(content: Buffer): Promise<unknown> {
  const mail = await simpleParser(content, { skipTextToHtml: true, skipHtmlToText: true })
  return {
    text: mail.text,
    html: mail.html,
    attachments: mail.attachments.map((part) => ({ type: part.contentType, name: part.filename, sha: part.checksum })),
  }
}

await t.test('a reader sees the same before and after', async (t) => {
  const wrong: unknown[] = []
  let changed = 0
  for (let seed = 1; seed <= 400; seed++) {
    const { raw } = randomMessage(randomFrom(seed))
    const before = Buffer.from(raw.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1')
    const { content: after } = toSevenBit(before)
    if (after !== before) changed++
    // An enclosed message is part of the whole: its own parts are read when it is.
    if (before.includes('message/rfc822') || JSON.stringify(await seen(before)) === JSON.stringify(await seen(after)))
      continue
    wrong.push(seed)
  }
  t.strictSame(wrong, [])
  t.ok(changed > 200, `${changed} of 400 were changed`)
})

await t.test('bombs cost bounded work', async (t) => {
  const nested = (depth: number) =>
    Array.from({ length: depth }, (_, i) => `Content-Type: multipart/mixed; boundary=b${i}\r\n\r\n--b${i}\r\n`).join('')
  const bombs: [string, string][] = [
    ['1,000 levels', `${nested(1000)}\r\nü\r\n`],
    ['one boundary for all levels', `${'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n'.repeat(2000)}ü\r\n`],
    ['100,000 parts', `Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\nü\r\n'.repeat(100_000)}`],
    ['enclosed 1,000 times', `${'Content-Type: message/rfc822\r\n\r\n'.repeat(1000)}ü\r\n`],
    ['a long boundary', `Content-Type: multipart/mixed; boundary="${'-'.repeat(70)}"\r\n\r\n${'-'.repeat(1e6)}ü`],
    ['no boundary', `Content-Type: multipart/mixed\r\n\r\nü`],
    ['a boundary never found', `Content-Type: multipart/mixed; boundary=x\r\n\r\nü`],
    ['a megabyte of 8-bit', `\r\n${'ü'.repeat(5e5)}`],
  ]
  for (const [name, text] of bombs) {
    const content = Buffer.from(text)
    const started = performance.now()
    const result = toSevenBit(content)
    const tookMs = performance.now() - started
    t.ok(tookMs < 400, `${name}: ${Math.round(tookMs)} ms`)
    t.ok(result.untouchable8bit || isFit(result.content), name)
  }
})
