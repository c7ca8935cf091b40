import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import t from 'tap'
import { dkimPublicKey, dkimRecordValue, generateDkimKey, loadDkimKey, signMessage } from '#mail'
import { relaxedBody, relaxedField } from '../../src/mail/dkim/relaxed.ts'

function canonicalBody(text: string): string {
  return Buffer.from(relaxedBody(Buffer.from(text, 'latin1'))).toString('latin1')
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64')
}

await t.test('RFC 6376 §3.4.5: relaxed header and body', async (t) => {
  t.equal(relaxedField('A: X\r\n'), 'a:X')
  t.equal(relaxedField('B : Y\t\r\n\tZ  \r\n'), 'b:Y Z')
  t.equal(
    relaxedField('C:\u00a0x  \u00a0\u00a0\f y\u00a0\r\n'),
    'c:\u00a0x \u00a0\u00a0\f y\u00a0',
    'NBSP and form feed are text',
  )
  t.equal(canonicalBody(' C \r\nD \t E\r\n\r\n\r\n'), ' C\r\nD E\r\n')
})

await t.test('RFC 6376 §3.4.4: the hash of an empty body', async (t) => {
  for (const body of ['', '\r\n', '\r\n\r\n', ' \r\n\t\r\n', '   '])
    t.equal(
      sha256(relaxedBody(Buffer.from(body))),
      '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
      JSON.stringify(body),
    )
})

await t.test('the body in its corners', async (t) => {
  const cases: [string, string][] = [
    ['a', 'a\r\n'],
    ['a ', 'a\r\n'],
    ['a\r\n ', 'a\r\n'],
    ['a \r\n\r\n', 'a\r\n'],
    ['\r\n\r\na\r\n', '\r\n\r\na\r\n'],
    ['a  b\r\n', 'a b\r\n'],
    ['a\u00a0 \u00a0b \r\n', 'a\u00a0 \u00a0b\r\n'],
    ['\ta', ' a\r\n'],
    ['a\r\n \t\r\nb', 'a\r\n\r\nb\r\n'],
    ['\u00e4\f\v x\r\n', '\u00e4\f\v x\r\n'],
  ]
  for (const [body, canonical] of cases) t.equal(canonicalBody(body), canonical, JSON.stringify(body))
  const plain = Buffer.from('nothing folds\r\nhere\r\n')
  t.equal(Buffer.from(relaxedBody(plain).buffer).buffer, plain.buffer, 'without folds the memory is the same')
})

// RFC 8463 Appendix A: key pair, message and signature. Ed25519 is deterministic: the signature must come out byte by byte.
const SEED = 'nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A='
const PUBLIC = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='
const FIELDS = [
  'From: Joe SixPack <joe@football.example.com>\r\n',
  'To: Suzie Q <suzie@shopping.example.net>\r\n',
  'Subject: Is dinner ready?\r\n',
  'Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n',
  'Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n',
]
const BODY = 'Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n'
const SIGNATURE_FIELD = [
  'DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;',
  ' d=football.example.com; i=@football.example.com;',
  ' q=dns/txt; s=brisbane; t=1528637909; h=from : to :',
  ' subject : date : message-id : from : subject : date;',
  ' bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;',
  ' b=',
].join('\r\n')
const SIGNATURE = '/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=='

const privateKeyDer = Buffer.concat([
  Buffer.from('302e020100300506032b657004220420', 'hex'),
  Buffer.from(SEED, 'base64'),
])

await t.test('RFC 8463 Appendix A: hash and signature', async (t) => {
  t.equal(sha256(relaxedBody(Buffer.from(BODY))), '2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=')
  const signed = [...FIELDS.map((field) => `${relaxedField(field)}\r\n`), relaxedField(SIGNATURE_FIELD)].join('')
  const digest = createHash('sha256').update(signed, 'latin1').digest()
  const key = loadDkimKey({
    domain: 'football.example.com',
    selector: 'brisbane',
    algorithm: 'ed25519-sha256',
    privateKeyDer,
  })
  t.ok(
    verify(
      null,
      digest,
      createPublicKey(key.key.export({ format: 'pem', type: 'pkcs8' })),
      Buffer.from(SIGNATURE, 'base64'),
    ),
  )
  t.equal(sign(null, digest, key.key).toString('base64'), SIGNATURE)
  t.equal(dkimPublicKey(key.key), PUBLIC)
  t.equal(dkimRecordValue('ed25519-sha256', PUBLIC), `v=DKIM1; k=ed25519; p=${PUBLIC}`)
})

await t.test('the signature field says what was agreed', async (t) => {
  const key = loadDkimKey({
    domain: 'football.example.com',
    selector: 'brisbane',
    algorithm: 'ed25519-sha256',
    privateKeyDer,
  })
  const block = (
    await signMessage(Buffer.from(`${FIELDS.join('')}\r\n${BODY}`), [key], { nowMs: 1_528_637_909_999 })
  ).toString()
  t.ok(block.endsWith('\r\n'))
  const lines = block.split('\r\n')
  t.ok(
    lines.every((line) => line.length <= 78),
    'lines are short',
  )
  const tags = new Map(
    block
      .replace(/^[^:]+:/, '')
      .replace(/\s/g, '')
      .split(';')
      .map((tag) => [tag.slice(0, tag.indexOf('=')), tag.slice(tag.indexOf('=') + 1)] as const),
  )
  t.equal(tags.get('t'), '1528637909')
  t.notOk(tags.has('x'), 'it does not expire')
  t.equal(tags.get('c'), 'relaxed/relaxed')
  t.equal(tags.get('bh'), '2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=')
  const names = tags.get('h')!.split(':')
  const count = (name: string) => names.filter((other) => other === name).length
  for (const name of ['from', 'to', 'subject', 'date', 'message-id']) t.equal(count(name), 2, `${name} is oversigned`)
  for (const name of [
    'cc',
    'reply-to',
    'mime-version',
    'content-type',
    'content-transfer-encoding',
    'list-unsubscribe',
    'list-unsubscribe-post',
    'list-id',
    'in-reply-to',
    'references',
    'feedback-id',
  ])
    t.equal(count(name), 1, `the absence of ${name} is signed`)
  t.equal((await signMessage(Buffer.from('From: a@b.example\r\n\r\n'), [], { nowMs: 0 })).length, 0, 'no key, no field')
})

await t.test('repeated fields are signed from the bottom up', async (t) => {
  const made = await generateDkimKey('ed25519-sha256')
  const key = loadDkimKey({
    domain: 'relevo.example',
    selector: 's',
    algorithm: 'ed25519-sha256',
    privateKeyDer: made.privateKeyDer,
  })
  const content = 'To: first@example.org\r\nFrom: a@relevo.example\r\nTo: second@example.org\r\n\r\n'
  const block = (await signMessage(Buffer.from(content), [key], { nowMs: 0 })).toString()
  const b = block.lastIndexOf('b=') + 2
  const head = block.slice(0, b)
  const signed = `from:a@relevo.example\r\nto:second@example.org\r\nto:first@example.org\r\n${relaxedField(head)}`
  const digest = createHash('sha256').update(signed, 'latin1').digest()
  t.ok(
    verify(
      null,
      digest,
      createPublicKey(key.key.export({ format: 'pem', type: 'pkcs8' })),
      Buffer.from(block.slice(b), 'base64'),
    ),
  )
})

await t.test('a key that is none is refused with what to do', async (t) => {
  const made = await generateDkimKey('rsa-sha256')
  const place = { domain: 'relevo.example', selector: 's' }
  t.throws(() => loadDkimKey({ ...place, algorithm: 'rsa-sha256', privateKeyDer: Buffer.from('no key') }), {
    code: 'invalid-dkim-key',
    message: /s\._domainkey\.relevo\.example is not a PKCS #8/,
  })
  t.throws(() => loadDkimKey({ ...place, algorithm: 'ed25519-sha256', privateKeyDer: made.privateKeyDer }), {
    code: 'invalid-dkim-key',
    message: /is not a key for ed25519-sha256/,
  })
  const loaded = loadDkimKey({ ...place, algorithm: 'rsa-sha256', privateKeyDer: made.privateKeyDer })
  t.equal(dkimPublicKey(loaded.key), made.publicKey)
  t.equal(dkimPublicKey(createPrivateKey({ key: made.privateKeyDer, format: 'der', type: 'pkcs8' })), made.publicKey)
})
