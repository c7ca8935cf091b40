import t from 'tap'
import { RawClient } from '#world'
import { DaemonRig, DOMAIN } from '../daemon/daemon-rig.ts'
import { hosts, openRig } from '../delivery/delivery-rig.ts'

type Event = { readonly type: string; readonly status: string | null; readonly detail: { readonly reply?: string } }

void t.test('I-25 two Relevos that hand each other everything: the message ends at thirty hops, once', async (t) => {
  await using one = await DaemonRig.open()
  await using other = await DaemonRig.open()
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    // The other takes it from the sender only, so its MAIL FROM stays.
    await from.api.delete(`/domains/${DOMAIN}`)
    await from.api.post('/domains', { name: DOMAIN, bounce_host: '' })
    await from.api.post('/providers', {
      ...{ name: 'next', kind: 'smarthost', host: '127.0.0.1', port: to.ports.trusted, tls: 'none', priority: 1 },
    })
  }
  const client = await RawClient.open(one.ports.trusted)
  await client.reply()
  await client.ask('EHLO app.test')
  for (const line of [`MAIL FROM:<app@${DOMAIN}>`, 'RCPT TO:<u@good.test>', 'DATA']) await client.ask(line)
  const reply = await client.ask(`From: <app@${DOMAIN}>\r\nTo: <u@good.test>\r\nSubject: round\r\n\r\nHello.\r\n.`)
  t.match(reply, { code: 250 })
  client.close()
  const events = async (rig: DaemonRig) => (await rig.api.get<{ events: Event[] }>('/events?limit=1000')).events
  const bounces = async () =>
    [...(await events(one)), ...(await events(other))].filter(({ type }) => type === 'bounced')
  t.ok(await one.until(async () => (await bounces()).length > 0, 60_000), 'it ends')
  await one.until(async () => {
    const waiting = await Promise.all(
      [one, other].map(async (rig) => {
        const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
        return (queue.ready ?? 0) + (queue.deferred ?? 0) + (queue.leased ?? 0)
      }),
    )
    return waiting.every((count) => count === 0)
  })
  const ended = await bounces()
  t.equal(ended.length, 1, 'with one bounce')
  t.match(ended[0], { status: '5.4.6', detail: { reply: /Received/ } })
  const hops = [...(await events(one)), ...(await events(other))].filter(({ type }) => type === 'sent').length
  t.ok(hops >= 25 && hops <= 31, `${hops} hops`)
})

void t.test('I-25 mail whose best MX is ourselves bounces at once, by name and by address', async (t) => {
  const { zones, port } = await hosts(t, { good: {} })
  zones['self.test'] = { MX: [[10, 'relevo.test']] }
  zones['equal.test'] = {
    MX: [
      [10, 'relevo.test'],
      [10, 'mx.good.test'],
    ],
  }
  zones['backup.test'] = {
    MX: [
      [10, 'mx.good.test'],
      [20, 'relevo.test'],
    ],
  }
  const rig = await openRig(t, { zones, port })
  rig.start()
  for (const name of ['self', 'equal', 'backup']) await rig.accept(`u@${name}.test`)
  t.ok(await rig.ended(3))
  const of = (name: string) => rig.outcomes().find((event) => event.recipient === `u@${name}.test`)
  t.match(of('self'), { type: 'bounced', status: '5.4.6' })
  t.match(of('equal'), { type: 'bounced', status: '5.4.6' })
  t.match(of('backup'), { type: 'sent' })
  await rig.everyRecipientEndedOnce()
})
