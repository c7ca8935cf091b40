// CWE-93, CWE-117, "header injection": a CR, LF or NUL in any field of a request, a command or a reply of a remote host ends
// up in no header of its own, no second SMTP command, no second line of the log.
import t from 'tap'
import { DOMAIN, messageTo, Wall } from './wall.ts'

await using wall = await Wall.open()
const INJECTED = 'X-Injected: yes'
const BREAKS = ['\r\n', '\n', '\r', '\r\n\r\n', '\n\n', '\0', '\u2028', '\u0085', '\v', '\f']
const base = { from: `app@${DOMAIN}`, to: 'you@good.test', subject: 's', text: 't' }

/** Every field of POST /queue that holds a text, with the text put into it. */
const FIELDS: Record<string, (text: string) => Record<string, unknown>> = {
  from: (text) => ({ from: `app@${DOMAIN}${text}` }),
  'from (name)': (text) => ({ from: { email: `app@${DOMAIN}`, name: text } }),
  'from (display)': (text) => ({ from: `"A ${text}" <app@${DOMAIN}>` }),
  to: (text) => ({ to: `you@good.test${text}` }),
  'to (email)': (text) => ({ to: [{ email: `you@good.test${text}` }] }),
  'to (name)': (text) => ({ to: [{ email: 'you@good.test', name: text }] }),
  cc: (text) => ({ cc: [`you@good.test${text}`] }),
  bcc: (text) => ({ bcc: { email: 'you@good.test', name: text } }),
  reply_to: (text) => ({ reply_to: { email: `app@${DOMAIN}`, name: text } }),
  subject: (text) => ({ subject: `s${text}` }),
  'headers (value)': (text) => ({ headers: { 'X-Mine': `a${text}` } }),
  'headers (name)': (text) => ({ headers: { [`X-Mine${text}`]: 'a' } }),
  'attachments.filename': (text) => ({ attachments: [{ filename: `a${text}`, content: 'YQ==' }] }),
  'attachments.content_type': (text) => ({
    attachments: [{ filename: 'a', content: 'YQ==', content_type: `text/plain${text}` }],
  }),
  'attachments.cid': (text) => ({ attachments: [{ filename: 'a', content: 'YQ==', cid: `c${text}` }] }),
  category: (text) => ({ category: `c${text}` }),
  tags: (text) => ({ tags: [`t${text}`] }),
  'metadata (value)': (text) => ({ metadata: { k: `v${text}` } }),
  'metadata (name)': (text) => ({ metadata: { [`k${text}`]: 'v' } }),
  provider_preference: (text) => ({ provider_preference: `own${text}` }),
  scheduled_at: (text) => ({ scheduled_at: `2026-01-01T00:00:00Z${text}` }),
  expires_at: (text) => ({ expires_at: `2030-01-01T00:00:00Z${text}` }),
  priority: (text) => ({ priority: `high${text}` }),
}

const shown = (value: unknown): string => JSON.stringify(value).replace(/[^ -~]/g, '?')

/** Header of what arrived. */
const headerOf = (content: Buffer): string => {
  const text = content.toString('latin1')
  return text.slice(0, text.indexOf('\r\n\r\n'))
}

await t.test(`${Object.keys(FIELDS).length} fields of a request × ${BREAKS.length} breaks`, async (t) => {
  let taken = 0
  for (const [name, make] of Object.entries(FIELDS))
    for (const end of BREAKS) {
      const answer = await wall.http({ ...base, ...make(`${end}${INJECTED}${end}`) })
      if (/[\r\n\0]/.test(end)) t.equal(answer.status, 400, `${name} ${shown(end)} is refused`)
      if (answer.status === 202) taken += 1
      else {
        t.equal(answer.status, 400, `${name} ${shown(end)}: ${shown(answer.json)}`)
        t.ok(answer.json.field !== undefined && answer.json.remedy !== undefined, `${name}: names field and remedy`)
      }
    }
  t.ok(await wall.settled())
  t.ok(await wall.rig.until(() => wall.rig.mx.taken.length >= taken))
  for (const { content } of wall.rig.mx.taken)
    t.notMatch(headerOf(content), /^x-injected:/im, 'no header field of its own')
  t.notOk(wall.rig.mx.taken.some(({ content, bareLineEnds }) => bareLineEnds || content.includes(0)))
})

await t.test('what administrators set', async (t) => {
  const text = `a\r\n${INJECTED}`
  const password = 'x'.repeat(20)
  const bodies: readonly [string, Record<string, unknown>, string][] = [
    ['/credentials', { username: text, password, allowed: ['*'] }, 'username'],
    ['/credentials', { username: 'u', name: text, password, allowed: ['*'] }, 'name'],
    ['/credentials', { username: 'u', password, allowed: [text] }, 'allowed'],
    ['/credentials', { username: 'u', password, allowed: ['*'], default_tags: [text] }, 'default_tags'],
    ['/tokens', { name: text, permissions: ['send'], allowed: ['*'] }, 'name'],
    ['/tokens', { name: 'n', permissions: ['send'], allowed: [text] }, 'allowed'],
    ['/domains', { name: text }, 'name'],
    ['/domains', { name: 'c.test', bounce_host: text }, 'bounce_host'],
    ['/providers', { name: text, kind: 'smarthost', host: 'h.test' }, 'name'],
    ['/providers', { name: 'xy', kind: 'smarthost', host: text }, 'host'],
    ['/providers', { name: 'xy', kind: 'smarthost', host: 'h.test', username: text, password }, 'username'],
    ['/providers', { name: 'xy', kind: 'smarthost', host: 'h.test', username: 'u', password: text }, 'username'],
    ['/bounces', { address: `a@b.test${text}`, reason: 'manual' }, 'address'],
  ]
  for (const [path, body, field] of bodies)
    t.match(
      await wall.rig.api.post(path, body).then(String, String),
      new RegExp(`: 400 .*"field":"${field}"`),
      `${path} ${field}`,
    )
})

await t.test('MIME in header fields by SMTP, decoded only for people', async (t) => {
  const before = wall.rig.mx.taken.length
  const client = await wall.session('465')
  const fields = [
    'Subject: =?utf-8?q?a=0D=0AX-Injected:_yes?=',
    'Subject: =?utf-8?b?DQpYLUluamVjdGVkOiB5ZXM=?=',
    `To: =?utf-8?q?a=0AX-Injected:_yes?= <you@good.test>`,
    'X-Relevo-Tag: =?utf-8?q?a=0D=0AX-Injected:_yes?=',
    'X-Relevo-Metadata-K: =?utf-8?q?a=0D=0AX-Injected:_yes?=',
    'X-Relevo-Campaign: =?utf-8?q?a=00b?=',
    'X-SMTPAPI: {"category":"a\\r\\nX-Injected: yes","unique_args":{"k":"a\\nb"}}',
    'X-Mailgun-Variables: {"k":"a\\r\\nX-Injected: yes"}',
    'Message-ID: <a@b>\rX-Injected: yes',
    'X-Odd: a\r X-Injected: yes',
  ]
  let kept = 0
  for (const field of fields) {
    await client.ask(`MAIL FROM:<app@${DOMAIN}>`)
    await client.ask('RCPT TO:<you@good.test>')
    await client.ask('DATA')
    const reply = await client.ask(`${field}\r\n${messageTo('you@good.test').replace(/^Subject.*\r\n/m, '')}\r\n.`)
    t.ok([250, 554].includes(reply.code), `${field}: ${reply.lines[0]}`)
    t.equal(reply.lines.length, 1)
    if (reply.code === 250) kept += 1
  }
  client.close()
  t.ok(await wall.rig.until(() => wall.rig.mx.taken.length >= before + kept))
  const arrived = wall.rig.mx.taken.slice(before)
  for (const { content } of arrived.filter((one) => !one.content.includes('\r\nX-Injected: yes\r\nFrom')))
    t.notMatch(headerOf(content), /^x-injected:/im)
})

await t.test('SMTP parameters and names', async (t) => {
  const client = await wall.session('587')
  for (const line of [
    `MAIL FROM:<app@${DOMAIN}> ENVID=a+0D+0ARSET`,
    `MAIL FROM:<app@${DOMAIN}\r> SIZE=1`,
    `MAIL FROM:<"a\\\rb"@${DOMAIN}>`,
    'EHLO a\rb',
    'EHLO a\0b',
    `VRFY a\tb\x1b[31m`,
  ]) {
    const reply = await client.ask(line)
    t.match(String(reply.code), /^[45]/, `${JSON.stringify(line)}: ${reply.lines[0]}`)
    await client.ask('RSET')
  }
  await client.ask(`MAIL FROM:<app@${DOMAIN}>`)
  const orcpt = await client.ask('RCPT TO:<you@good.test> ORCPT=rfc822;a+0D+0AX')
  t.equal(orcpt.code, 501)
  client.close()
})

await t.test('what an MX says stays one line of the log, of the transcript, of the notice to the sender', async (t) => {
  const hostile = '550 5.1.1 no\x1b[31m such \0 user\x85\r {"level":"info","msg":"forged"} \u2028 <script>'
  await using bad = await Wall.open({ bad: { rcpt: (s) => s.raw(Buffer.from(`${hostile}\r\n`, 'latin1')) } })
  const client = await bad.session('465')
  await client.ask(`MAIL FROM:<app@${DOMAIN}>`)
  await client.ask('RCPT TO:<you@bad.test> NOTIFY=FAILURE')
  await client.ask('DATA')
  const reply = await client.ask(`${messageTo('you@bad.test')}\r\n.`)
  const id = /queued as (\S+)/.exec(reply.lines[0]!)?.[1]
  client.close()
  t.ok(await bad.rig.until(() => bad.rig.mx.taken.length === 1), 'the notice came')
  const notice = bad.rig.mx.taken[0]!.content.toString('latin1')
  t.match(notice, /^Diagnostic-Code: smtp; 550 no/m)
  t.notMatch(notice, /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/, 'without a control character')
  const events = await bad.rig.api.get<{ events: Record<string, unknown>[] }>(`/events?message_id=${id}`)
  t.notMatch(JSON.stringify(events), /\\u00(?:00|1b|0d)/)
  const lines = bad.rig.output.trimEnd().split('\n')
  for (const line of lines) t.ok(line.startsWith('{"level":"') && line.endsWith('}'), line.slice(0, 80))
  t.notOk(lines.some((line) => (JSON.parse(line) as { msg: string }).msg === 'forged'))
  t.notMatch(bad.rig.output, /[\x00-\x09\x0b-\x1f\x7f]/, 'no control character reaches a terminal')
})
