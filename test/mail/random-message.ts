// Messages as apps really send them, and worse: from a seed, so that a failure can be repeated.

export type Random = (below: number) => number

/** Numbers from a seed (a 32-bit xorshift): the same seed, the same messages. */
export function randomFrom(seed: number): Random {
  let state = (seed * 2_654_435_761 + 1) >>> 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % below
  }
}

const WORDS = [
  'invoice',
  'hello',
  'the',
  'a',
  'order',
  '=',
  '=41',
  '.',
  'From',
  '..',
  '--',
  'über',
  'naïve',
  '日本',
  'x\u00a0y',
  '😀',
]
const ASCII_WORDS = WORDS.filter((word) => /^[\x21-\x7e]+$/.test(word))
const SPACES = [' ', ' ', ' ', '  ', '\t', ' \t ']
const LINE_ENDS = ['\r\n', '\r\n', '\r\n', '\n']

function pick<T>(random: Random, list: readonly T[]): T {
  return list[random(list.length)]!
}

function line(random: Random, words: readonly string[]): string {
  let text = random(6) === 0 ? pick(random, SPACES) : ''
  for (let n = random(12); n > 0; n--) text += pick(random, words) + pick(random, SPACES)
  return random(3) === 0 ? text : text.trimEnd()
}

/** Text with what canonicalisation stumbles over: blank lines, white space at ends, NBSP, long lines, an open last line. */
function text(random: Random, eol: string, words: readonly string[]): string {
  const kind = random(12)
  if (kind === 0) return ''
  if (kind === 1) return eol.repeat(random(4))
  if (kind === 2) return ` ${eol}\t${eol} `
  let out = ''
  for (let n = random(20); n > 0; n--) out += random(5) === 0 ? eol : line(random, words) + eol
  if (random(6) === 0) out += `${pick(random, words)} `.repeat(200 + random(600)) + eol
  if (random(8) === 0) out += 'y'.repeat(998 + random(1500)) + eol
  out += [`${eol}`, `${eol}${eol}${eol}`, ` ${eol}\t${eol}`, 'no end', 'no end ', ''][random(6)]
  return out
}

function headerText(random: Random, eol: string, words: readonly string[]): string {
  let out = ''
  for (let n = 1 + random(9); n > 0; n--) {
    out += pick(random, words)
    if (n > 1) out += random(5) === 0 ? `${eol}${pick(random, [' ', '\t', '   '])}` : pick(random, SPACES)
  }
  return out + pick(random, ['', '', ' ', '\t '])
}

function part(random: Random, eol: string, depth: number): string {
  const kind = random(depth < 3 ? 9 : 6)
  if (kind === 0)
    return `Content-Type: text/plain; charset=utf-8${eol}Content-Transfer-Encoding: 8bit${eol}${eol}${text(random, eol, WORDS)}`
  if (kind === 1) return `content-type: TEXT/html;${eol} charset="utf-8"${eol}${eol}<p>${text(random, eol, WORDS)}</p>`
  if (kind === 2)
    return `Content-Type: application/octet-stream; name="${pick(random, WORDS.slice(0, 3))}é.bin"${eol}Content-Transfer-Encoding: base64${eol}${eol}${'QUJD'.repeat(random(900))}${eol}`
  if (kind === 3)
    return `Content-Type: text/plain${eol}Content-Transfer-Encoding: quoted-printable${eol}${eol}a=C3=A9 =${eol}b ${pick(random, WORDS)} ${'=41'.repeat(random(500))}${eol}`
  if (kind === 4)
    return `Content-Type: application/octet-stream${eol}Content-Transfer-Encoding: binary${eol}${eol}\u0001\u0000${text(random, eol, WORDS)}`
  if (kind === 5) return `${eol}${text(random, eol, WORDS)}`
  if (kind === 6)
    return `Content-Type: message/rfc822${eol}${eol}From: a@example.org${eol}Subject: ${pick(random, WORDS)}${eol}${part(random, eol, depth + 1)}`
  return multipart(random, eol, depth + 1, kind === 7 ? 'mixed' : 'alternative')
}

function multipart(random: Random, eol: string, depth: number, subtype: string): string {
  const boundary = `=_${depth}.${random(1_000_000)}`
  let out = `Content-Type: multipart/${subtype}; boundary="${boundary}"${eol}Content-Transfer-Encoding: 8bit${eol}${eol}`
  if (random(3) === 0) out += `a preamble, ${pick(random, WORDS)}${eol}`
  for (let n = 1 + random(3); n > 0; n--) out += `--${boundary}${eol}${part(random, eol, depth)}${eol}`
  return `${out}--${boundary}--${eol}${random(4) === 0 ? `an epilogue${eol}` : ''}`
}

/** A message with an 8-bit part under a signature that must not be broken. */
function signedMultipart(eol: string): string {
  return `Content-Type: multipart/signed; protocol="application/pgp-signature"; micalg=pgp-sha256; boundary=sig${eol}${eol}--sig${eol}Content-Type: text/plain; charset=utf-8${eol}Content-Transfer-Encoding: 8bit${eol}${eol}Grüße,  \tä${eol}${eol}--sig${eol}Content-Type: application/pgp-signature${eol}${eol}-----BEGIN PGP SIGNATURE-----${eol}${eol}iQ==${eol}-----END PGP SIGNATURE-----${eol}--sig--${eol}`
}

export type RandomMessage = { readonly raw: Buffer; readonly isSignedMultipart: boolean }

/** One message from relevo.example, as an app could submit it. */
export function randomMessage(random: Random): RandomMessage {
  const eol = pick(random, LINE_ENDS)
  const kind = random(10)
  const words = random(3) === 0 ? ASCII_WORDS : WORDS
  let header = `From: ${pick(random, ['', '"App, the"', 'Jürgen', '=?utf-8?Q?J=C3=BCrgen?='])} <app@relevo.example>${eol}`
  header += `To: ${pick(random, ['', 'Zoë', '"x  y"'])} <someone@example.org>,${eol}\tother@example.net${eol}`
  if (random(4) > 0) header += `Subject: ${headerText(random, eol, words)}${eol}`
  if (random(2) === 0) header += `Date:  Tue, 3 Mar 2026 10:00:0${random(10)} +0100${eol}`
  if (random(2) === 0) header += `Message-Id:${eol} <${random(1e9)}@relevo.example>${eol}`
  for (let n = random(4); n > 0; n--) header += `X-Note${random(2)}: ${headerText(random, eol, words)}${eol}`
  for (let n = random(3); n > 0; n--) header += `Comments :${headerText(random, eol, words)}${eol}`
  if (random(3) === 0)
    header += `List-Unsubscribe: <https://relevo.example/u/${'z'.repeat(random(300))}>${eol}List-Unsubscribe-Post: List-Unsubscribe=One-Click${eol}`
  if (random(3) === 0) header += `Bcc: secret@example.org${eol}X-Relevo-Tag: t${random(9)}${eol}`
  let rest: string
  if (kind === 0) rest = signedMultipart(eol)
  else if (kind < 4) rest = `${eol}${text(random, eol, words)}`
  else rest = `MIME-Version: 1.0${eol}${part(random, eol, 0)}`
  // Other charsets only in bodies: in a header they are refused, which has its own test.
  const charset =
    kind > 0 && kind < 4 && random(3) === 0 && !/[^\0-\xff]/.test(header + rest) && !/[^\0-\x7f]/.test(header)
      ? 'latin1'
      : 'utf8'
  return { raw: Buffer.from(header + rest, charset), isSignedMultipart: kind === 0 }
}
