// "SMTP smuggling" inbound (CWE-93, CVE-2023-51764): on 25, 587 and 465, 22 wrong ends of data, none of them an end.
import t from 'tap'
import { DOMAIN, messageTo, PORTS, Wall } from './wall.ts'
import { SMUGGLED, WRONG_ENDS } from './wrong-ends.ts'

await using wall = await Wall.open()

for (const port of PORTS)
  await t.test(`port ${port}`, async (t) => {
    const to = port === '25' ? 'postmaster@mail.sender.test' : 'you@good.test'
    const inbound = async (): Promise<number> =>
      (await wall.rig.api.get<{ mails: unknown[] }>('/inbound?limit=200')).mails.length
    const before = { accepted: await wall.accepted(), inbound: await inbound() }
    const client = await wall.session(port)
    for (const end of WRONG_ENDS) {
      await client.ask(`MAIL FROM:<app@${DOMAIN}>`)
      t.equal((await client.ask(`RCPT TO:<${to}>`)).code, 250)
      await client.ask('DATA')
      const reply = await client.ask(`${messageTo(to, 'before')}${end}${SMUGGLED}\r\n.`)
      t.equal(reply.code, 250, JSON.stringify(end))
      t.match((await client.ask('NOOP')).lines, [/^250 2\.0\.0/], 'and nothing else was answered')
    }
    client.close()
    const after = { accepted: await wall.accepted(), inbound: await inbound() }
    t.equal(after.accepted - before.accepted, port === '25' ? 0 : WRONG_ENDS.length)
    t.equal(after.inbound - before.inbound, port === '25' ? WRONG_ENDS.length : 0)
    if (port === '25') return
    t.ok(await wall.settled())
    t.notOk(
      wall.rig.mx.taken.some(({ recipients }) => recipients.includes('victim@good.test')),
      'nobody else got mail',
    )
  })
