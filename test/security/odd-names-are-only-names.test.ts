// CWE-1321 (prototype pollution), CWE-176 (odd Unicode), CWE-158 (NUL): names that mean something to JavaScript, and text that
// is hardly text, are kept and given back as what they are, or refused; nothing else changes.
import t from 'tap'
import { DOMAIN, messageTo, Wall } from './wall.ts'

await using wall = await Wall.open()
const NAMES = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'valueOf',
  '__defineGetter__',
  'length',
  'then',
  'toJSON',
]
const base = { from: `app@${DOMAIN}`, to: 'you@good.test', subject: 's', text: 't' }

await t.test('as tag, category, metadata, header, campaign, route, key, user and domain', async (t) => {
  for (const name of NAMES) {
    const metadata = name === '__proto__' ? '{"__proto__":"x"}' : JSON.stringify({ [name]: 'x' })
    const refused = await wall.http(JSON.stringify(base).replace(/}$/, `,"metadata":${metadata}}`))
    t.equal(refused.status, name === '__proto__' ? 400 : 202, `metadata ${name}: ${JSON.stringify(refused.json)}`)
    const answer = await wall.http(
      { ...base, to: `${name}@good.test`, tags: [name], category: name, provider_preference: name },
      { 'Idempotency-Key': name },
    )
    t.equal(answer.status, 202, `${name}: ${JSON.stringify(answer.json)}`)
    const kept = await wall.rig.api.get<{ tags: string[]; category: string }>(`/queue/${answer.json.id}`)
    t.match(kept, { tags: [name], category: name }, 'given back as it is')
    t.equal(
      (await wall.http({ ...base, headers: { [name]: 'x' } })).status,
      /^[a-zA-Z]+$/.test(name) ? 202 : 400,
      `header ${name}`,
    )
    t.equal(
      (await wall.http(JSON.stringify(base).replace(/}$/, `,"${name}":{"admin":true}}`))).status,
      400,
      `field ${name}`,
    )
    const wrong = await wall.rig.api.post('/domains', { name }).catch(String)
    t.match(wrong, /400/, `domain ${name}`)
    t.match(await wall.rig.api.get(`/queue?recipient=${name}@good.test`), { messages: [{}] })
  }
  const client = await wall.session('587')
  for (const name of NAMES) {
    await client.ask(`MAIL FROM:<app@${DOMAIN}>`)
    t.equal((await client.ask(`MAIL FROM:<x@${DOMAIN}> ${name}=1`)).code >= 500, true)
    await client.ask(`RCPT TO:<${name}@good.test>`)
    t.equal((await client.ask(`RCPT TO:<y@good.test> ${name}`)).code >= 500, true)
    await client.ask('DATA')
    const fields = `X-Relevo-Metadata-${name}: x\r\nX-Relevo-Campaign: ${name}\r\nX-Relevo-Tag: ${name}\r\n${name}: x\r\n`
    const reply = await client.ask(`${fields}${messageTo(`${name}@good.test`)}\r\n.`)
    t.equal(reply.code, 250, `${name}: ${reply.lines[0]}`)
    t.match(String((await client.ask(`${name} x`)).code), /^5/)
    await client.ask('NOOP')
  }
  client.close()
  t.ok(await wall.settled())
})

const ODD: Record<string, string> = {
  'half a surrogate pair': '\ud800',
  'the other half': 'a\udc00b',
  'right to left': 'a\u202egnp.exe',
  'no width': 'a\u200b\u200d\ufeffb',
  'a tag character': 'a\u{e0041}',
  'a thousand marks': `a${'\u0301'.repeat(100)}`,
  'C1 controls': 'a\u0080\u009fb',
  'delete, escape, bell': 'a\x7f\x1b[2J\x07b',
  'line separators': 'a\u2028b\u2029c',
  'not a character': 'a\uffff\ufffe',
}

await t.test('odd text in every text by HTTP', async (t) => {
  for (const [name, text] of Object.entries(ODD)) {
    const answer = await wall.http({
      ...base,
      ...{ subject: text, text, html: text, tags: [text], category: text, metadata: { k: text } },
      from: { email: `app@${DOMAIN}`, name: text },
      attachments: [{ filename: text, content: 'YQ==' }],
    })
    t.ok(
      [202, 400].includes(answer.status),
      `${name}: ${answer.status} ${JSON.stringify(answer.json).replace(/[^ -~]/g, '?')}`,
    )
    if (answer.status !== 202) continue
    const view = await wall.rig.api.get<{ subject: string }>(`/queue/${answer.json.id}`)
    t.notMatch(view.subject, /[\0-\x1f\x7f-\x9f]/, `${name}: the subject has no control characters`)
  }
  t.ok(await wall.settled())
  t.notOk(
    wall.rig.mx.taken.some(({ content }) => /[^\0-\x7f]/.test(content.toString('latin1'))),
    'what left is ASCII',
  )
})

await t.test('bytes that are not UTF-8, in commands, header and JSON', async (t) => {
  const client = await wall.session('587')
  for (const bytes of ['\xff', '\xc0\xaf', '\xed\xa0\x80', '\xf5\x80\x80\x80', '\x80', '\xe2\x82']) {
    client.write(Buffer.from(`RSET\r\nMAIL FROM:<a${bytes}@${DOMAIN}> SMTPUTF8\r\n`, 'latin1'))
    await client.reply()
    t.match(String((await client.reply())?.code), /^5/)
  }
  client.close()
  for (const bytes of ['\xff', '\xc0\xaf', '\xed\xa0\x80']) {
    const answer = await wall.http(Buffer.from(JSON.stringify({ ...base, subject: `a${bytes}b` }), 'latin1'))
    t.ok([202, 400].includes(answer.status))
  }
  t.equal(wall.rig.process?.exitCode, null)
})
