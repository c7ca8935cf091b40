import t, { type Test } from 'tap'
import { BEHAVIOURS, type DnsEntry, openPolicyHost, type Script, worldCa } from '#world'
import { hosts, openRig, until } from './delivery-rig.ts'
import { shownBy, stsText, stsZones, tlsa } from './secured-zones.ts'

const { certFile } = await worldCa()
const OFFERS = ['PIPELINING', 'SIZE 52428800', '8BITMIME', 'SMTPUTF8', 'ENHANCEDSTATUSCODES', 'REQUIRETLS']
const TAKES: Script = { offers: OFFERS }

/** Domains `<name>.test` with one MX each; those in `insecure` are not signed. */
async function world(
  t: Test,
  behaviours: Readonly<Record<string, Script | 'closed'>>,
  insecure: readonly string[] = [],
) {
  const { mx, zones, port } = await hosts(t, behaviours)
  for (const name of insecure) zones[`${name}.test`] = { ...zones[`${name}.test`], insecure: true }
  const policies = await openPolicyHost()
  t.teardown(() => policies[Symbol.asyncDispose]())
  const open = (more: Record<string, DnsEntry> = {}, port2 = port) =>
    openRig(t, {
      ...{ zones: { ...zones, ...more }, port: port2, authentic: true },
      delivery: { ca_file: certFile, mta_sts_port: policies.port, tls_timeout: 1, connect_timeout: 1 },
    })
  return { mx, zones, port, policies, open }
}

void t.test(
  'REQUIRETLS: a proven host with a valid certificate that offers it, or the message comes back',
  async (t) => {
    const { mx, port, policies, open } = await world(
      t,
      {
        good: TAKES,
        without: {},
        plain: BEHAVIOURS.plain,
        self: { ...TAKES, certificate: 'self-signed' },
        unproven: TAKES,
        sts: TAKES,
        dane: { ...TAKES, certificate: 'self-signed' },
        gone: 'closed',
      },
      ['unproven', 'sts'],
    )
    policies.set('sts.test', { text: stsText('testing', ['mx.sts.test']) })
    const rig = await open({
      ...stsZones('sts.test'),
      [`_${port}._tcp.mx.dane.test`]: {
        TLSA: [tlsa(3, 1, 1, await shownBy('mx.dane.test', { certificate: 'self-signed' }))],
      },
    })
    const expected: Readonly<Record<string, string>> = {
      good: 'sent 2.0.0',
      dane: 'sent 2.0.0',
      sts: 'sent 2.0.0',
      without: 'bounced 5.7.30 requiretls-not-offered',
      plain: 'bounced 5.7.10 tls-not-offered',
      self: 'bounced 5.7.10 tls-untrusted',
      unproven: 'bounced 5.7.10 requiretls-unproven-host',
      gone: 'deferred 4.4.1 connection-refused',
    }
    const ids = new Map<string, string>()
    for (const name of Object.keys(expected)) ids.set(name, await rig.accept(`u@${name}.test`, { tls: 'required' }))
    rig.start()
    for (const [name, what] of Object.entries(expected)) {
      await until(() => rig.types(ids.get(name)!).length > 0)
      const { type, status, detail } = rig.events.find((event) => event.messageId === ids.get(name))!
      t.equal(`${type} ${status}${type === 'sent' ? '' : ` ${String(detail.reason)}`}`, what, name)
      if (what.startsWith('sent')) {
        t.ok(
          mx[name]!.commands.some((line) => /^MAIL FROM:<[^>]*> .*REQUIRETLS$/.test(line)),
          `${name} is asked as well`,
        )
        t.not(mx[name]!.taken[0]!.tls, '')
      } else if (name !== 'gone') {
        t.notOk(
          mx[name]!.commands.some((line) => line.startsWith('MAIL')),
          `${name} heard nothing of it`,
        )
        const view = await rig.queue.message(ids.get(name)!)
        t.match(view!.recipients[0]!.tries.at(-1)!.reply, /requiretls|verify|REQUIRETLS/i)
      }
    }
    // Other mail to the same domains is none the worse.
    const plain = await rig.accept('u@without.test')
    await until(() => rig.types(plain).length > 0)
    t.strictSame(rig.types(plain), ['sent'])
  },
)

void t.test('REQUIRETLS: the next host that can is used; one that cannot be reached now is waited for', async (t) => {
  const { mx, zones, open } = await world(t, { first: {}, second: TAKES, gone: 'closed' })
  zones['both.test'] = {
    MX: [
      [10, 'mx.first.test'],
      [20, 'mx.second.test'],
    ],
  }
  zones['later.test'] = {
    MX: [
      [10, 'mx.gone.test'],
      [20, 'mx.first.test'],
    ],
  }
  const rig = await open()
  const both = await rig.accept('u@both.test', { tls: 'required' })
  const later = await rig.accept('u@later.test', { tls: 'required' })
  rig.start()
  await until(() => rig.types(both).length > 0 && rig.types(later).length > 0)
  t.strictSame(rig.types(both), ['sent'])
  t.equal(mx.second!.taken.length, 1)
  t.strictSame(rig.types(later), ['deferred'])
})

void t.test('a connection is not used again for mail that asks for more, nor one of a weaker policy', async (t) => {
  const { mx, zones, port, policies, open } = await world(t, { one: TAKES })
  for (const name of ['plain', 'strict']) zones[`${name}.test`] = { MX: [[10, 'mx.one.test']] }
  policies.set('strict.test', { text: stsText('enforce', ['mx.one.test']) })
  const rig = await open(stsZones('strict.test'), port)
  rig.start()
  const send = async (domain: string, tls?: 'required' | 'optional') => {
    const id = await rig.accept(`u@${domain}`, tls === undefined ? {} : { tls })
    await until(() => rig.types(id).length > 0)
    t.strictSame(rig.types(id), ['sent'])
    return mx.one!.taken.at(-1)!.connection
  }
  const first = await send('plain.test')
  t.equal(await send('one.test'), first, 'the same hosts, the same policy')
  const strict = await send('strict.test')
  t.not(strict, first)
  const required = await send('one.test', 'required')
  t.notOk([first, strict].includes(required))
  t.equal(await send('plain.test', 'required'), required)
  t.equal(await send('plain.test', 'optional'), await send('one.test', 'optional'))
  t.equal(await send('strict.test'), strict)
  t.equal(await send('plain.test'), first)
})

void t.test(
  'TLS-Required: no sets aside what is published, and a bounce is not lost for want of REQUIRETLS',
  async (t) => {
    const { mx, policies, open } = await world(t, {
      self: BEHAVIOURS.selfsigned,
      clear: BEHAVIOURS.plain,
      takes: TAKES,
    })
    const zones: Record<string, DnsEntry> = {}
    for (const name of ['self', 'clear']) {
      policies.set(`${name}.test`, { text: stsText('enforce', [`mx.${name}.test`]) })
      Object.assign(zones, stsZones(`${name}.test`))
    }
    const rig = await open(zones)
    const sent = [
      await rig.accept('u@self.test', { tls: 'optional' }),
      await rig.accept('u@clear.test', { tls: 'optional' }),
      await rig.accept('u@takes.test', { tls: 'required', reversePath: '' }),
    ]
    const waits = await rig.accept('v@clear.test')
    rig.start()
    await until(() => [...sent, waits].every((id) => rig.types(id).length > 0))
    for (const id of sent) t.strictSame(rig.types(id), ['sent'])
    t.strictSame(rig.types(waits), ['deferred'])
    t.equal(mx.clear!.taken[0]!.tls, '')
    t.ok(mx.takes!.commands.some((line) => /^MAIL FROM:<> .*REQUIRETLS/.test(line)))
    const bounce = await rig.accept('w@self.test', { tls: 'required', reversePath: '' })
    await until(() => rig.types(bounce).length > 0)
    t.strictSame(rig.types(bounce), ['deferred'], 'the policy of the domain holds for a bounce as for other mail')
  },
)
