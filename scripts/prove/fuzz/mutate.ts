/** Pieces that parsers of mail stumble over. */
const TOKENS = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\r\n.\r\n',
    '\n.\n',
    '\r\n\r\n',
    '\0',
    '\x7f',
    '\x80',
    '\xff',
    '\xc3\x28',
    '\xed\xa0\x80',
    '\xf0\x9f\x92\xa9',
  ],
  ...['<', '>', '"', '\\', '(', ')', '[', ']', '@', ':', ';', ',', '=', '%', '!', '.', '..', '<>', '"@"', '\\"'],
  ...[
    '=?utf-8?q?',
    '=?utf-8?b?',
    '?=',
    '=?',
    '=0D=0A',
    '=\r\n',
    '+0A',
    '--',
    '--b',
    '--b--',
    'boundary=',
    "*0*=''",
    'charset=',
  ],
  ...[
    'From: ',
    'Content-Type: multipart/mixed; boundary=b',
    'Content-Transfer-Encoding: ',
    'message/rfc822',
    'X-Relevo-Tag: ',
  ],
  ...[
    'Final-Recipient: rfc822; ',
    'Action: failed',
    'Status: 5.1.1',
    '__proto__',
    'constructor',
    'MAIL FROM:<',
    'RCPT TO:<',
    'DATA\r\n',
  ],
  ...['250-', '250 ', '5.1.1 ', '9'.repeat(30), ' '.repeat(100), 'a'.repeat(1000), '\t \r\n \t'],
].map((text) => Buffer.from(text, 'latin1'))
const MAX_BYTES = 20_000

/** Changes a seed in up to eight ways: bits, bytes, tokens, removals, repetitions, pieces of other seeds. */
export function mutate(seed: Buffer, others: readonly Buffer[], random: () => number): Buffer {
  let bytes: Buffer = Buffer.from(seed)
  const below = (n: number): number => Math.floor(random() * n)
  const splice = (at: number, drop: number, put: Buffer): void => {
    bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + drop)])
  }
  for (let n = 1 + below(8); n > 0; n--) {
    const at = below(bytes.length + 1)
    switch (below(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << below(8))
        break
      case 1:
        if (at < bytes.length) bytes[at] = below(256)
        break
      case 2:
      case 3:
        splice(at, random() < 0.5 ? 0 : below(20), TOKENS[below(TOKENS.length)]!)
        break
      case 4:
        splice(at, below(60), Buffer.alloc(0))
        break
      case 5: {
        const piece = bytes.subarray(at, at + 1 + below(40))
        splice(at, 0, Buffer.concat(Array.from({ length: 1 + below(30) }, () => piece)))
        break
      }
      case 6: {
        const other = others[below(others.length)]!
        const from = below(other.length)
        splice(at, below(40), other.subarray(from, from + 1 + below(200)))
        break
      }
      case 7:
        splice(at, 0, Buffer.from(Array.from({ length: 1 + below(16) }, () => below(256))))
        break
    }
    if (bytes.length > MAX_BYTES) bytes = bytes.subarray(0, MAX_BYTES)
  }
  return bytes
}
