import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { dialogueFile } from '#world'
import { openInbound, openRig, PASSWORD, plain } from './rig.ts'

const DIRECTORY = join(import.meta.dirname, 'dialogues')
const INBOUND = new Set(['no-relay-on-port-25.smtp', 'bounce-comes-home.smtp'])
const values = {
  user64: Buffer.from('app').toString('base64'),
  pass64: Buffer.from(PASSWORD).toString('base64'),
  auth: plain('app', PASSWORD),
}
const suppressed = new Map([
  [
    'gone@example.net',
    { reason: 'hard-bounce', class: 'user-unknown', detail: '550 no such user', firstMs: Date.UTC(2026, 10, 1, 12) },
  ],
])

for (const file of readdirSync(DIRECTORY).filter((name) => !INBOUND.has(name)))
  void t.test(file, async (t) => {
    const rig = await openRig(t, { suppressed })
    await dialogueFile(rig.port('starttls'), join(DIRECTORY, file), { values })
    t.pass('as written')
  })

void t.test('no-relay-on-port-25.smtp', async (t) => {
  const inbound = await openInbound(t)
  await dialogueFile(inbound.port, join(DIRECTORY, 'no-relay-on-port-25.smtp'))
  t.equal((await inbound.rows()).length, 0)
  t.strictSame(inbound.refused, ['relay', 'unknown', 'unknown', 'unknown'])
})

void t.test('bounce-comes-home.smtp', async (t) => {
  const inbound = await openInbound(t)
  await dialogueFile(inbound.port, join(DIRECTORY, 'bounce-comes-home.smtp'))
  const rows = await inbound.rows()
  t.match(rows, [
    {
      kind: 'bounce',
      mail_from: '',
      rcpt_to: 'token@bounces.example.com',
      client_address: '127.0.0.1',
      processed_ms: null,
    },
    { kind: 'postmaster', rcpt_to: 'postmaster@mail.relevo.test' },
  ])
  t.match(
    Buffer.from(rows[0]!.content).toString(),
    /^From: MAILER-DAEMON@mx\.example\.net\r\nSubject: failure notice\r\n\r\nNo such user\.\r\n$/,
  )
  t.equal(inbound.kicks(), 1)
})
