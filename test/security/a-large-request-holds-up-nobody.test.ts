// CWE-400, CWE-770 (resources without limits): a request by HTTP is read, checked and composed without the event loop
// standing still, takes no memory before it is known who asks, and ends in a clear answer.
import { connect } from 'node:net'
import t from 'tap'
import { DOMAIN, Wall } from './wall.ts'

const BOUND_MS = 100
const base = { from: `app@${DOMAIN}`, to: 'you@nowhere.test', subject: 'large' }

await using wall = await Wall.open()
await wall.http({ ...base, text: 'the first loads what is needed' })

const MIB = 1_048_576
const attachment = (bytes: number) => ({ filename: 'a.bin', content: Buffer.alloc(bytes, 7).toString('base64') })
const numbers = `[${'1,'.repeat(5_000_000)}1]`
const LARGE: readonly [string, () => string | Uint8Array, number, RegExp][] = [
  ['30 MB of attachment', () => JSON.stringify({ ...base, text: 'x', attachments: [attachment(22 * MIB)] }), 202, /./],
  ['10 MB of text', () => JSON.stringify({ ...base, text: 'Hello world.\n'.repeat(800_000) }), 202, /./],
  ['5 MB of HTML without a line end', () => JSON.stringify({ ...base, html: '<b>x</b>'.repeat(625_000) }), 202, /./],
  [
    '10 MB of numbers for text',
    () => `{"from":"app@${DOMAIN}","to":"you@good.test","subject":"s","text":${numbers}}`,
    400,
    /text/,
  ],
  ['10 MB of brackets', () => '['.repeat(10 * MIB), 400, /JSON/],
  ['10 MB of nested objects', () => '{"a":'.repeat(2 * MIB), 400, /JSON/],
  [
    '500,000 unknown fields',
    () => `{${Array.from({ length: 500_000 }, (_, i) => `"k${i}":1`).join(',')}}`,
    400,
    /k\d|from/,
  ],
  [
    '300,000 metadata',
    () =>
      JSON.stringify({
        ...base,
        text: 'x',
        metadata: Object.fromEntries(Array.from({ length: 300_000 }, (_, i) => [`k${i}`, 'v'])),
      }),
    400,
    /metadata/,
  ],
  [
    '300,000 recipients',
    () => JSON.stringify({ ...base, text: 'x', to: Array.from({ length: 300_000 }, (_, i) => `u${i}@good.test`) }),
    400,
    /to/,
  ],
  [
    '5 MB of spaces in base64',
    () => JSON.stringify({ ...base, text: 'x', attachments: [{ filename: 'a', content: ' '.repeat(5 * MIB) }] }),
    202,
    /./,
  ],
  ['more than is taken', () => Buffer.alloc(75 * MIB, 0x20), 413, /bytes/],
]

await t.test('the event loop goes on whatever a request holds', async (t) => {
  for (const [name, make, status, says] of LARGE) {
    const body = make()
    let answer = { status: 0, json: {} as Record<string, unknown> }
    const pauseMs = await wall.pauseDuring(async () => {
      // A server that closes before it read everything is right when it refuses.
      answer = await wall.http(body).catch(() => ({ status: 413, json: { detail: 'closed: too many bytes' } }))
    }, BOUND_MS)
    t.equal(answer.status, status, `${name}: ${JSON.stringify(answer.json).slice(0, 200)}`)
    t.match(JSON.stringify(answer.json), says, name)
    t.ok(pauseMs <= BOUND_MS, `${name}: longest pause ${pauseMs.toFixed(0)} ms`)
  }
})

await t.test('without a token nothing is read', async (t) => {
  const socket = connect(wall.rig.ports.http, '127.0.0.1')
  let said = ''
  socket.on('data', (data) => {
    said += data.toString()
  })
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(
    'POST /api/email-system/queue HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50000000\r\n\r\n{"text":"',
  )
  await closed
  t.match(said, /^HTTP\/1\.1 401 /)
  t.match(said, /connection: close/i, 'and the rest is not waited for')
})
