import t from 'tap'
import { type DnsEntry, RawClient } from '#world'
import { DaemonRig, DOMAIN } from '../daemon/daemon-rig.ts'
import type { DnsPlan, Scenario } from './scenario-plan.ts'
import { broken } from './scenario-rules.ts'
import { ScenarioWorld } from './scenario-world.ts'

const MINUTE_MS = 60_000

/** The id of the message. */
async function submit(rig: DaemonRig, to: string): Promise<string> {
  const client = await RawClient.open(rig.ports.trusted)
  await client.reply()
  for (const line of ['EHLO app.test', `MAIL FROM:<app@${DOMAIN}>`, `RCPT TO:<${to}>`, 'DATA']) await client.ask(line)
  const reply = await client.ask(`From: <app@${DOMAIN}>\r\nTo: <${to}>\r\nSubject: ${to}\r\n\r\nHello.\r\n.`)
  client.close()
  if (reply.code !== 250) throw new Error(reply.lines.join(' '))
  return reply.lines[0]!.split(' ').at(-1)!
}

type Row = { readonly name: string; readonly state: string; readonly reason: RegExp; readonly status?: string }

void t.test('I-17, the real daemon: each answer of the DNS leads to what is written in docs/outcomes.md', async (t) => {
  t.setTimeout(120_000)
  await using rig = await DaemonRig.open()
  const many = Array.from({ length: 60 }, (_, i): [number, string] => [i, `mx${i}.many.test`])
  const closed = (i: number): string[] => Array.from({ length: 40 }, (_, j) => `127.1.${i}.${j + 1}`)
  // 59 KiB of the 64 that an answer over TCP can hold, and more than it can hold.
  const hosts = (length: number, of: string) =>
    Array.from({ length }, (_, i): [number, string] => [i + 1, `host-number-${i}.${of}`])
  const names: Record<string, DnsEntry> = {
    'servfail.test': { fault: 'servfail' },
    'refused.test': { fault: 'refused' },
    'silence.test': { fault: 'silence' },
    'garbage.test': { fault: 'garbage' },
    'wrong-id.test': { fault: 'wrong-id' },
    'lame.test': { MX: [[10, 'mx.servfail.test']] },
    'mx.servfail.test': { fault: 'servfail' },
    'nothing.test': { fault: 'nxdomain' },
    'null.test': { MX: [[0, '.']] },
    'empty.test': { TXT: ['no mail here'] },
    'tcp.test': { MX: [[10, 'mx.test']], fault: 'truncate' },
    'many.test': { MX: many },
    'huge.test': { MX: hosts(1200, 'huge.test') },
    'over.test': { MX: hosts(1700, 'over.test') },
    ...Object.fromEntries(many.map(([i, name]) => [name, { A: closed(i) }])),
  }
  for (const [name, entry] of Object.entries(names)) rig.dns.set(name, entry)
  const rows: readonly Row[] = [
    { name: 'servfail.test', state: 'waits', reason: /^dns-servfail$/ },
    { name: 'refused.test', state: 'waits', reason: /^dns-refused$/ },
    { name: 'silence.test', state: 'waits', reason: /^dns-timeout$/ },
    { name: 'garbage.test', state: 'waits', reason: /^dns-/ },
    { name: 'wrong-id.test', state: 'waits', reason: /^dns-timeout$/ },
    { name: 'lame.test', state: 'waits', reason: /^dns-servfail$/ },
    { name: 'nothing.test', state: 'bounced', reason: /./, status: '5.1.2' },
    { name: 'null.test', state: 'bounced', reason: /./, status: '5.1.10' },
    { name: 'empty.test', state: 'bounced', reason: /./, status: '5.1.2' },
    { name: 'tcp.test', state: 'sent', reason: /./, status: '2.0.0' },
    { name: 'many.test', state: 'waits', reason: /connection-refused|destination-unreachable/ },
    { name: 'huge.test', state: 'waits', reason: /mx-without-address/ },
    { name: 'over.test', state: 'waits', reason: /^dns-/ },
  ]
  const ids = new Map<string, string>()
  for (const { name } of rows) ids.set(name, await submit(rig, `someone@${name}`))
  type Why = { recipients: { state: string; reason: string }[] }
  for (const { name, state, reason, status } of rows) {
    let seen = ''
    const fits = await rig.until(async () => {
      const { recipients } = await rig.api.get<Why>(`/queue/${ids.get(name)}/why`)
      const { state: is = '', reason: why = '' } = recipients[0] ?? {}
      seen = `${is} ${why}`
      const waits = is === 'ready' || is === 'deferred'
      return (state === 'waits' ? waits && why !== 'new' : is === state) && reason.test(why)
    })
    t.ok(fits, `${name}: ${seen}`)
    if (status === undefined) continue
    const { events } = await rig.api.get<{ events: { recipient: string; status: string }[] }>(
      `/events?type=${state}&limit=100`,
    )
    t.match(events.find((event) => event.recipient === `someone@${name}`)?.status, status, `${name} ${status}`)
  }
  // Bounded: two names looked at for each host wanted, four kinds of question at most for each.
  const asked = (suffix: string): number => rig.dns.queries.filter(({ name }) => name.endsWith(suffix)).length
  t.ok(asked('many.test') <= 60, `${asked('many.test')} questions about sixty hosts of forty addresses`)
  t.ok(asked('huge.test') <= 60, `${asked('huge.test')} questions about 1,200 hosts`)
  t.ok(asked('over.test') <= 60, `${asked('over.test')} questions about an answer that is no answer`)
  rig.dns.set('servfail.test', { MX: [[10, 'mx.test']] })
  await submit(rig, 'friend@good.test')
  t.ok(
    await rig.until(() => rig.mx.taken.some(({ recipients }) => recipients.includes('friend@good.test'))),
    'others go on',
  )
})

/** Everybody's names are broken for an hour from the start. */
function outage(dns: DnsPlan): Scenario {
  const good = { acts: [], rest: { do: 'good' as const } }
  const message = { sendAfterMin: 0, nullSender: false, bytes: 300, route: null, priority: 'normal' as const }
  return {
    domains: [{ dns, mendsAfterMin: 60, hosts: [good, good] }],
    messages: [0, 5, 30].map((atMin) => ({ ...message, atMin, recipients: [{ domain: 0, notify: null }] })),
    steps: [],
  }
}

for (const dns of ['servfail', 'silence', 'refused', 'garbage'] as const)
  void t.test(
    `I-17: an hour of ${dns}, and back: nothing bounces, no storm of questions, all is sent soon after`,
    async (t) => {
      const domains = 20
      const good = { acts: [], rest: { do: 'good' as const } }
      const after = await ScenarioWorld.play({
        scenarios: Array.from({ length: domains }, () => outage(dns)),
        ...{ crashes: [], stops: [], relays: [good, good], relayFirst: false, lifetimeMin: 480, maxRecipients: 1 },
      })
      t.same(broken(after), [])
      t.same(
        after.recipients.filter(({ state }) => state !== 'sent'),
        [],
      )
      const last = Math.max(...after.recipients.map(({ settled_ms: settledMs }) => settledMs ?? 0))
      t.ok(
        last <= after.startMs + 75 * MINUTE_MS,
        `the last was sent ${(last - after.startMs) / MINUTE_MS - 60} minutes after`,
      )
      const perDomain = after.questions / domains
      t.ok(perDomain <= 120, `${perDomain} questions a domain in an hour`)
    },
  )
