// CWE-400, CWE-407 (algorithmic complexity), CWE-674 (recursion), CWE-1333: 52 mails made to be dear, through the real daemon:
// each ends in a clear answer, the event loop goes on, memory comes back.
import t from 'tap'
import type { RawClient } from '#world'
import { RETURNED, SUBMITTED } from './bombs.ts'
import { DOMAIN, messageTo, Wall } from './wall.ts'

const BOUND_MS = 100
const MEMORY_MIB = 350

await using wall = await Wall.open({ inbound: 'max_message_bytes = 20000000' })
await wall.http({ from: `app@${DOMAIN}`, to: 'you@good.test', subject: 's', text: 't' })
await wall.rig.until(() => wall.rig.mx.taken.length === 1)
const returnPath = wall.rig.mx.taken[0]!.reversePath
const before = wall.rig.rssMiB()
let peak = 0
let number = 0

async function hand(client: RawClient, from: string, to: string, content: string): Promise<number> {
  const mail = await client.ask(`MAIL FROM:<${from}>`)
  const rcpt = await client.ask(`RCPT TO:<${to}>`)
  const data = await client.ask('DATA')
  if (data.code !== 354) throw new Error(`${mail.lines[0]} | ${rcpt.lines[0]} | ${data.lines[0]}`)
  client.write(Buffer.from(`${content.replaceAll('\r\n.', '\r\n..')}\r\n.\r\n`, 'latin1'))
  const reply = await client.reply(60_000)
  return reply?.code ?? 0
}

for (const [way, bombs] of [
  ['submitted', SUBMITTED],
  ['returned', RETURNED],
] as const)
  await t.test(`${bombs.length} ${way}`, async (t) => {
    for (const [name, make] of bombs) {
      const content = make()
      let code = 0
      const pauseMs = await wall.pauseDuring(async () => {
        const client = await wall.session(way === 'submitted' ? '465' : '25')
        const [from, to] = way === 'submitted' ? [`app@${DOMAIN}`, `u${number++}@nowhere.test`] : ['', returnPath]
        code = await hand(client, from, to, content)
        client.close()
        peak = Math.max(peak, wall.rig.rssMiB())
      }, BOUND_MS)
      t.ok([250, 552, 554].includes(code), `${name}: ${content.length} bytes, answered ${code}`)
      t.ok(pauseMs <= BOUND_MS, `${name}: longest pause ${pauseMs.toFixed(0)} ms`)
    }
  })

await t.test('what was taken is read to its end, memory is bounded, and mail goes on', async (t) => {
  const unread = async () =>
    (await wall.rig.api.get<{ mails: { result: unknown }[] }>('/inbound?limit=200')).mails.filter(
      (mail) => mail.result === null,
    ).length
  t.ok(await wall.rig.until(async () => (await unread()) === 0, 90_000), 'all are read')
  t.notMatch(wall.rig.output, /took too long to read|could not be read/, 'none was given up')
  t.ok(peak - before < MEMORY_MIB, `${before.toFixed(0)} MiB before, ${peak.toFixed(0)} at most`)
  const client = await wall.session('587')
  t.equal(await hand(client, `app@${DOMAIN}`, 'friend@good.test', messageTo('friend@good.test')), 250)
  client.close()
  t.ok(await wall.rig.until(() => wall.rig.mx.taken.length === 2))
})
