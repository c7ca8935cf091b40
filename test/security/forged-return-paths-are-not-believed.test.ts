// CWE-290, CWE-345, I-30: 10,000 forged return paths from 40 hosts, while mail goes on: none is taken, none is stored, none
// suppresses anybody. Backscatter (CWE-406 and the DNSBL of that name): nobody outside gets a bounce from here for mail that
// came to port 25.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { load } from '#world'
import { Stranger } from './source-address.ts'
import { DOMAIN, Wall } from './wall.ts'

const FORGED = 10_000
const A_SESSION = 9
const HOSTS = 40

await using wall = await Wall.open()
const counter = async (): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${wall.rig.ports.metrics}/metrics`)).text()
  return Number(/^relevo_return_paths_refused (\d+)/m.exec(text)?.[1] ?? 0)
}

await wall.http({ from: `app@${DOMAIN}`, to: 'you@good.test', subject: 's', text: 't' })
await wall.rig.until(() => wall.rig.mx.taken.length === 1)
const real = wall.rig.mx.taken[0]!.reversePath

function forge(n: number): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz234567'
  const local = n % 2 === 0 ? [...real.slice(0, 34)] : Array.from(randomBytes(34), (byte) => letters[byte % 32]!)
  for (let i = 0; i <= n % 3; i++) {
    const at = randomBytes(1)[0]! % 34
    local[at] = letters[(letters.indexOf(local[at]!) + 1 + (randomBytes(1)[0]! % 31)) % 32]!
  }
  // Two changes of one letter may undo each other.
  const path = `${local.join('')}@bounces.${DOMAIN}`
  return path === real ? forge(n + 1) : path
}

await t.test(`${FORGED} forged return paths`, async (t) => {
  const mail = load({
    port: wall.rig.ports.trusted,
    sessions: 2,
    messages: 100,
    from: `app@${DOMAIN}`,
    to: (n) => `u${n}@good.test`,
  })
  let told = 0
  let believed = 0
  let session = 0
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (told < FORGED) {
        const stranger = new Stranger(wall.rig.ports.inbound, session++ % HOSTS)
        const paths = Array.from({ length: A_SESSION }, () => `RCPT TO:<${forge(told++)}>\r\n`)
        stranger.write(`EHLO mx.test\r\nMAIL FROM:<>\r\n${paths.join('')}QUIT\r\n`)
        await stranger.end(20_000)
        believed += (stranger.text.match(/^250 2\.1\.5/gm) ?? []).length
        if (!stranger.text.includes('550 5.1.1')) told -= A_SESSION
        stranger.destroy()
      }
    }),
  )
  t.equal(believed, 0, `${told} forged, ${believed} believed`)
  t.ok((await counter()) >= FORGED, 'each is counted')
  t.equal((await mail).acked.size, 100, 'mail went on')
  t.ok(await wall.rig.until(() => wall.rig.taken().size >= 100))
  t.same((await wall.rig.api.get<{ mails: unknown[] }>('/inbound')).mails, [], 'none is stored')
  t.same((await wall.rig.api.get<{ suppressions: unknown[] }>('/bounces')).suppressions, [], 'nobody is suppressed')
})

await t.test('no backscatter: what comes to port 25 sends nothing out', async (t) => {
  const before = wall.rig.mx.connections
  const cases: readonly [string, string, string][] = [
    ['victim@good.test', 'postmaster@mail.sender.test', 'Subject: to the postmaster\r\n\r\nx'],
    [
      'victim@good.test',
      real,
      'From: victim@good.test\r\nSubject: I am away\r\nAuto-Submitted: auto-replied\r\n\r\naway',
    ],
    [
      'victim@good.test',
      real,
      'From: victim@good.test\r\nSubject: confirm you are a person\r\n\r\nclick https://x.test/confirm',
    ],
    [
      'victim@good.test',
      real,
      'Return-Receipt-To: victim@good.test\r\nDisposition-Notification-To: victim@good.test\r\n\r\nx',
    ],
    ['', real, 'From: MAILER-DAEMON@good.test\r\nSubject: Undelivered\r\n\r\n<nobody@else.test>: 550 5.1.1 unknown'],
    ['victim@good.test', `fbl@bounces.${DOMAIN}`, 'From: victim@good.test\r\nSubject: x\r\n\r\nno report at all'],
    ['victim@good.test', 'unknown@mail.sender.test', 'x'],
    ['victim@good.test', 'someone@else.test', 'x'],
  ]
  for (const [from, to, content] of cases) {
    const stranger = new Stranger(wall.rig.ports.inbound, 200)
    stranger.write(
      `EHLO mx.test\r\nMAIL FROM:<${from}> RET=FULL\r\nRCPT TO:<${to}> NOTIFY=SUCCESS,FAILURE,DELAY\r\nDATA\r\n`,
    )
    await wall.rig.until(() => /^(354|5\d\d .*recipient|503)/m.test(stranger.text))
    if (stranger.text.includes('354')) stranger.write(`${content}\r\n.\r\n`)
    stranger.write('QUIT\r\n')
    await stranger.end(5000)
  }
  const kept = async () => (await wall.rig.api.get<{ mails: { result: unknown }[] }>('/inbound')).mails
  t.ok(
    await wall.rig.until(
      async () => (await kept()).length === 6 && (await kept()).every((mail) => mail.result !== null),
    ),
    'six are ours and were read',
  )
  await wall.settled()
  t.equal(wall.rig.mx.connections, before, 'nothing left')
})
