import t from 'tap'
import { AS_USUAL, RawClient, type Script, scriptedMx } from '#world'
import { DaemonRig, DOMAIN } from './daemon-rig.ts'

async function send(rig: DaemonRig, to: string): Promise<string> {
  const client = await RawClient.open(rig.ports.trusted)
  await client.reply()
  for (const line of ['EHLO app.test', `MAIL FROM:<app@${DOMAIN}>`, `RCPT TO:<${to}>`, 'DATA']) await client.ask(line)
  const reply = await client.ask(`From: <app@${DOMAIN}>\r\nTo: <${to}>\r\nSubject: Hello\r\n\r\nHello.\r\n.`)
  client.close()
  return reply.lines.join(' ')
}

type Standing = { mailbox_provider: string; verdict: string; direct_share: number }

void t.test(
  'google answers 5.7.1 and 4.7.28: its mail, and only its mail, goes by the relay; when it stops, the mail comes back',
  async (t) => {
    t.setTimeout(90_000)
    let blocking = true
    let n = 0
    const google: Script = {
      rcpt: () => {
        if (!blocking) return AS_USUAL
        n += 1
        return n % 2 === 1
          ? '550 5.7.1 Our system has detected that your IP address is blocked, see the block list'
          : '421 4.7.28 Our system has detected an unusual rate of unsolicited mail from your IP address'
      },
    }
    await using rig = await DaemonRig.open({
      bad: google,
      badName: 'gmail-smtp-in.l.google.com',
      more: '[reputation]\nwindow = 60\nmin_samples = 5\npause = 2\nprobe_share = 0.1\nprobe_samples = 2\n',
    })
    await using relay = await scriptedMx()
    await rig.api.post('/providers', { name: 'net', host: '127.0.0.1', port: relay.port, tls: 'none' })
    const standing = async (): Promise<Standing | undefined> =>
      (await rig.api.get<{ standings: Standing[] }>('/reputation')).standings.find(
        (one) => one.mailbox_provider === 'google',
      )

    for (let i = 0; i < 12; i++) {
      t.match(await send(rig, `g${i}@bad.test`), /^250 /)
      t.match(await send(rig, `o${i}@good.test`), /^250 /)
    }
    t.ok(await rig.until(async () => (await standing())?.verdict === 'paused'), 'own delivery to google is paused')
    await send(rig, 'after@bad.test')
    t.ok(
      await rig.until(() => relay.taken.some((mail) => mail.recipients.includes('after@bad.test'))),
      'it goes by the relay',
    )
    t.ok(await rig.until(() => rig.mx.taken.length === 12), 'the others go directly, all of them')
    t.notOk(
      relay.taken.some((mail) => mail.recipients[0]?.endsWith('@good.test')),
      'and none by the relay',
    )
    const { events } = await rig.api.get<{ events: unknown[] }>('/events?type=provider-paused')
    t.equal(events.length, 1)

    blocking = false
    for (let i = 0; (await standing())?.verdict !== 'healthy' && i < 600; i++) {
      await send(rig, `back${i}@bad.test`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    t.match(await standing(), { verdict: 'healthy', direct_share: 1 }, 'a growing share brought it back')
    const before = relay.taken.length
    for (let i = 0; i < 5; i++) await send(rig, `home${i}@bad.test`)
    await rig.until(async () => {
      const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
      return queue.ready === 0 && queue.leased === 0
    })
    t.equal(relay.taken.length, before, 'all of it goes directly again')
    const changes = await rig.api.get<{ events: { type: string }[] }>('/events?type=provider-recovered')
    t.equal(changes.events.length, 1, 'one pause, one recovery: no flapping')
    const { suppressions } = await rig.api.get<{ suppressions: unknown[] }>('/bounces')
    t.same(suppressions, [], 'a block suppresses nobody')
  },
)

void t.test(
  'a relay whose infrastructure fails is left alone after five failures, and mail goes the other way',
  async (t) => {
    t.setTimeout(60_000)
    await using rig = await DaemonRig.open()
    await using dead = await scriptedMx({ behaviour: 'refuse' })
    await rig.api.post('/providers', { name: 'dead', host: '127.0.0.1', port: dead.port, tls: 'none', priority: 1 })
    for (let i = 0; i < 8; i++) await send(rig, `u${i}@good.test`)
    await send(rig, 'last@good.test')
    const open = async (): Promise<boolean> =>
      (await rig.api.get<{ providers: { name: string; breaker: string }[] }>('/providers')).providers.find(
        (one) => one.name === 'dead',
      )?.breaker === 'open'
    t.ok(await rig.until(open), 'its breaker is open')
    await send(rig, 'direct@good.test')
    t.ok(
      await rig.until(() => rig.mx.taken.some((mail) => mail.recipients.includes('direct@good.test'))),
      'direct delivery takes over',
    )
    const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
    t.equal(queue.bounced, 0, 'a provider’s failure bounces nobody')
  },
)
