import fastify from 'fastify'
import { simpleParser } from 'mailparser'
import t from 'tap'
import { silentLog, systemClock } from '#base'
import { httpSubmit, type SuppressionEntry, Tokens } from '#intake'
import { problemHandler } from '../../src/control/problem.ts'
import { openRig, type RigOptions } from './rig.ts'

type Answer = { readonly status: number; readonly body: Record<string, unknown> }

async function openHttp(
  t: Parameters<typeof openRig>[0],
  options: RigOptions & { permissions?: readonly string[] } = {},
) {
  const rig = await openRig(t, options)
  const tokens = new Tokens(rig.records, systemClock)
  const { secret, token } = await tokens.create({
    name: 'shop',
    permissions: options.permissions ?? ['send'],
    allowed: ['example.com'],
  })
  const app = fastify({ ajv: { customOptions: { removeAdditional: false, coerceTypes: 'array' } } })
  app.setErrorHandler(problemHandler(silentLog))
  httpSubmit({
    acceptor: rig.acceptor,
    tokens,
    suppression: { check: async (address) => options.suppressed?.get(address.toLowerCase()) ?? null },
    clock: systemClock,
    maxMessageBytes: 1_000_000,
    maxBodyBytes: 2_000_000,
  })(app)
  const base = await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const post = async (body: unknown, headers: Record<string, string> = {}): Promise<Answer> => {
    const response = await fetch(`${base}/queue`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  return { ...rig, tokens, token, secret, post, base }
}

const BODY = { from: 'Shop <shop@example.com>', to: 'you@example.net', subject: 'Your order', text: 'Thank you.' }

void t.test('text, html, attachments, inline images and headers arrive as one MIME message', async (t) => {
  const http = await openHttp(t)
  const answer = await http.post({
    from: { email: 'shop@example.com', name: 'Größe & Co' },
    to: ['You <you@example.net>', { email: 'two@example.net' }],
    cc: 'three@example.net',
    bcc: ['hidden@example.net'],
    reply_to: 'help@example.com',
    subject: 'Ihre Bestellung — 17',
    text: 'Danke\n.\nSchöne Grüße',
    html: '<p>Danke <img src="cid:logo"></p>',
    attachments: [
      { filename: 'Rechnung ä.pdf', content: Buffer.from('%PDF-1.7').toString('base64') },
      { filename: 'logo.png', content: Buffer.from('png').toString('base64'), content_type: 'image/png', cid: 'logo' },
    ],
    headers: { 'List-Unsubscribe': '<https://example.com/u>', 'X-Order': '17' },
    priority: 'high',
    category: 'orders',
    tags: ['a', 'b'],
    metadata: { order: '17' },
    provider_preference: 'relay',
  })
  t.equal(answer.status, 202)
  const message = http.queue.messages[0]!
  t.strictSame(answer.body, {
    id: message.id,
    repeated: false,
    recipients: ['you', 'two', 'three', 'hidden'].map((name) => ({ address: `${name}@example.net`, status: 'queued' })),
  })
  t.match(message, {
    reversePath: 'shop@example.com',
    submitter: `token:${http.token.id}`,
    priority: 'high',
    category: 'orders',
    route: 'relay',
    subject: 'Ihre Bestellung — 17',
    tags: ['a', 'b'],
  })
  t.equal(message.metadata.order, '17')
  const raw = Buffer.from(message.content)
  t.notMatch(raw.toString('latin1'), /hidden@|[^\r]\n|[\x80-\xff]/)
  t.match(raw.toString('latin1'), /^Received: .* with HTTP id /s)
  const mail = await simpleParser(raw)
  t.equal(mail.text?.trim(), 'Danke\n.\nSchöne Grüße')
  t.match(mail.html, /<img src="data:image\/png/)
  t.strictSame(mail.attachments.map((attachment) => attachment.filename).sort(), ['Rechnung ä.pdf', 'logo.png'])
  t.equal(mail.from?.text, '"Größe & Co" <shop@example.com>')
  t.equal(mail.headers.get('x-order'), '17')
})

void t.test('each recipient gets its own result', async (t) => {
  const entry: SuppressionEntry = { reason: 'complaint', class: '', detail: 'x', firstMs: Date.UTC(2026, 10, 1) }
  const http = await openHttp(t, { suppressed: new Map([['gone@example.net', entry]]) })
  const answer = await http.post({ ...BODY, to: ['you@example.net', 'gone@example.net', 'a@localhost'] })
  t.equal(answer.status, 202)
  t.strictSame(answer.body.recipients, [
    { address: 'you@example.net', status: 'queued' },
    {
      address: 'gone@example.net',
      status: 'suppressed',
      reason:
        '<gone@example.net> is suppressed since 2026-11-01: complaint; lift it with relevo suppress remove gone@example.net',
    },
    {
      address: 'a@localhost',
      status: 'invalid',
      reason: 'the domain has no dot: a full domain such as example.com is needed',
    },
  ])
  t.strictSame(
    http.queue.events.map((event) => event.type),
    ['queued', 'suppressed'],
  )
  t.match(await http.post({ ...BODY, to: ['nobody'] }), { status: 400, body: { field: 'to' } })
})

void t.test('the same Idempotency-Key: the same answer, one message', async (t) => {
  const http = await openHttp(t)
  const headers = { 'idempotency-key': 'order-17' }
  const first = await http.post(BODY, headers)
  const second = await http.post(BODY, headers)
  t.equal(second.status, 202)
  t.strictSame(second.body, { ...first.body, repeated: true })
  t.equal(http.queue.messages.length, 1)
  t.match(await http.post({ ...BODY, subject: 'Other' }, headers), {
    status: 409,
    body: { field: 'Idempotency-Key', remedy: 'Use a new key for new content.' },
  })
  t.match(await http.post(BODY, { 'idempotency-key': 'a b' }), { status: 400, body: { field: 'Idempotency-Key' } })
})

void t.test('a line break in any string but the texts is refused by its field', async (t) => {
  const http = await openHttp(t)
  const bad = 'x\r\nBcc: victim@example.org'
  const attachment = { filename: 'a.txt', content: 'YQ==' }
  const cases: readonly (readonly [string, object])[] = [
    ['from', { from: `shop@example.com${bad}` }],
    ['from.name', { from: { email: 'shop@example.com', name: bad } }],
    ['to', { to: `you@example.net${bad}` }],
    ['to.0.email', { to: [{ email: `you@example.net${bad}` }] }],
    ['cc', { cc: bad }],
    ['reply_to', { reply_to: bad }],
    ['subject', { subject: bad }],
    ['subject', { subject: 'nul\0' }],
    ['category', { category: bad }],
    ['tags.0', { tags: [bad] }],
    ['metadata.a', { metadata: { a: bad } }],
    ['metadata', { metadata: { 'a\r\nb': 'x' } }],
    ['headers.X-A', { headers: { 'X-A': bad } }],
    ['headers', { headers: { 'X-A: 1\r\nBcc': 'v@example.org' } }],
    ['provider_preference', { provider_preference: 'a\nb' }],
    ['attachments.0.filename', { attachments: [{ ...attachment, filename: bad }] }],
    ['attachments.0.content_type', { attachments: [{ ...attachment, content_type: bad }] }],
    ['attachments.0.cid', { attachments: [{ ...attachment, cid: 'a\nb' }] }],
    ['scheduled_at', { scheduled_at: '2027-01-01T00:00:00Z\n' }],
  ]
  for (const [field, change] of cases)
    t.match(await http.post({ ...BODY, ...change }), { status: 400, body: { field, remedy: /line|Write/ } }, field)
  t.equal(http.queue.messages.length, 0)
})

void t.test('what is wrong is named with its field and remedy', async (t) => {
  const http = await openHttp(t)
  const { text: _text, ...withoutText } = BODY
  const cases: readonly (readonly [number, string, object])[] = [
    [400, 'text', withoutText],
    [400, 'subject', { ...BODY, subject: undefined }],
    [400, 'template_id', { ...BODY, template_id: 't' }],
    [400, 'template_variables', { ...BODY, template_variables: {} }],
    [400, 'tracking_enabled', { ...BODY, tracking_enabled: true }],
    [400, 'nonsense', { ...BODY, nonsense: 1 }],
    [400, 'from', { ...BODY, from: 'nobody' }],
    [400, 'from', { ...BODY, from: 'a@example.com, b@example.com' }],
    [403, 'from', { ...BODY, from: 'a@example.org' }],
    [400, 'from', { ...BODY, from: 'a@unknown.example' }],
    [400, 'headers.Subject', { ...BODY, headers: { Subject: 'x' } }],
    [400, 'headers.X-Relevo-Tag', { ...BODY, headers: { 'X-Relevo-Tag': 'x' } }],
    [400, 'headers.DKIM-Signature', { ...BODY, headers: { 'DKIM-Signature': 'x' } }],
    [400, 'headers.a b', { ...BODY, headers: { 'a b': 'x' } }],
    [400, 'scheduled_at', { ...BODY, scheduled_at: 'tomorrow' }],
    [400, 'scheduled_at', { ...BODY, scheduled_at: '2027-01-01T00:00:00' }],
    [400, 'expires_at', { ...BODY, expires_at: '2020-01-01T00:00:00Z' }],
    [400, 'attachments.0.content', { ...BODY, attachments: [{ filename: 'a', content: '***' }] }],
    [400, 'attachments.0', { ...BODY, attachments: [{ filename: 'a', content: '', path: '/etc/passwd' }] }],
    [413, 'attachments', { ...BODY, attachments: [{ filename: 'a', content: 'A'.repeat(1_000_000) }] }],
  ]
  for (const [status, field, body] of cases) {
    const answer = await http.post(body)
    t.match(
      answer,
      { status, body: { title: String, detail: String, remedy: String } },
      `${field} ${JSON.stringify(answer.body)}`,
    )
    t.match(String(answer.body.field), field)
  }
  t.equal(http.queue.messages.length, 0)
})

void t.test('no token, a wrong one, one without the permission, one that was revoked', async (t) => {
  const http = await openHttp(t)
  for (const authorization of ['', 'Bearer x', 'Basic YTpi', `Bearer ${http.secret}x`, `Bearer rlv_${'A'.repeat(43)}`])
    t.match(
      await http.post(BODY, { authorization }),
      { status: 401, body: { remedy: /relevo token create/ } },
      authorization,
    )
  t.equal((await http.post(BODY)).status, 202)
  t.equal(await http.tokens.revoke(http.token.id), true)
  t.equal((await http.post(BODY)).status, 401)
  const reader = await openHttp(t, { permissions: ['queue:read'] })
  t.match(await reader.post(BODY), { status: 403, body: { detail: /permission send/ } })
})

void t.test('tokens are shown once, kept as a hash, and end in time', async (t) => {
  let nowMs = 1_000_000
  const rig = await openRig(t)
  const tokens = new Tokens(rig.records, { ...systemClock, now: () => nowMs })
  const { secret, token } = await tokens.create({
    name: 'ci',
    permissions: ['send'],
    allowed: [],
    expiresMs: 2_000_000,
  })
  t.match(secret, /^rlv_[\w-]{43}$/)
  t.notMatch(JSON.stringify(await tokens.list()), secret.slice(12))
  t.equal(secret.startsWith(token.prefix), true)
  t.match(await tokens.verify(secret), { id: token.id, permissions: ['send'] })
  nowMs = 2_000_000
  t.equal(await tokens.verify(secret), null)
  await t.rejects(tokens.create({ name: '', permissions: ['send'], allowed: [] }), { name: 'Fault', field: 'name' })
  await t.rejects(tokens.create({ name: 'x', permissions: [], allowed: [] }), { name: 'Fault', field: 'permissions' })
})

void t.test('202 comes only after the commit; a full disk is 507, a failed store 503', async (t) => {
  const http = await openHttp(t)
  http.queue.commitMs = 200
  const started = performance.now()
  t.equal((await http.post(BODY)).status, 202)
  t.ok(performance.now() - started > 199)
  http.queue.fault = Object.assign(new Error('full'), { code: 'ENOSPC' })
  t.equal((await http.post(BODY)).status, 507)
  http.queue.fault = Object.assign(new Error('broken'), { code: 'EIO' })
  await new Promise((resolve) => setTimeout(resolve, 1050))
  t.equal((await http.post(BODY)).status, 503)
  http.queue.fault = null
  t.equal((await http.post(BODY)).status, 503, 'and stays so')
})
