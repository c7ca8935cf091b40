import { X509Certificate } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Config } from '#config'
import { BEHAVIOURS, type DnsEntry, openPolicyHost, type Script, worldCa } from '#world'
import { hosts, openRig, until } from './delivery-rig.ts'
import { shownBy, stsText, stsZones, tlsa, WRONG } from './secured-zones.ts'

type Row = {
  readonly host: Script
  readonly dane?: (shown: Awaited<ReturnType<typeof shownBy>>) => NonNullable<DnsEntry['TLSA']>
  readonly sts?: string
  readonly configured?: Omit<Config['tls_policies'][number], 'domain'>
  /** `sent tls`, `sent clear`, or the reason it waits for. */
  readonly expect: string
}

const { certFile } = await worldCa()

const CA = new X509Certificate((await worldCa()).cert)
const enforce = (name: string): string => stsText('enforce', [`mx.${name}.test`])
const BROKEN = ['plain', 'tlsgarbage', 'tlshang', 'tlsinject'] as const
const BAD_CERTIFICATES = ['selfsigned', 'expired', 'certmismatch'] as const

/** Every row with a domain of its own: `<name>.test`, whose one MX is `mx.<name>.test`. */
async function run(t: Test, rows: Readonly<Record<string, Row>>, delivery: Partial<Config['delivery']> = {}) {
  const { mx, zones, port } = await hosts(
    t,
    Object.fromEntries(Object.entries(rows).map(([name, { host }]) => [name, host])),
  )
  const policies = await openPolicyHost()
  t.teardown(() => policies[Symbol.asyncDispose]())
  const tlsPolicies: Config['tls_policies'] = []
  for (const [name, { host, dane, sts, configured }] of Object.entries(rows)) {
    const domain = `${name}.test`
    if (dane !== undefined) zones[`_${port}._tcp.mx.${domain}`] = { TLSA: dane(await shownBy(`mx.${domain}`, host)) }
    if (sts !== undefined) {
      Object.assign(zones, stsZones(domain))
      policies.set(domain, { text: sts })
    }
    if (configured !== undefined) tlsPolicies.push({ domain, ...configured })
  }
  const rig = await openRig(t, {
    ...{ zones, port, tlsPolicies, authentic: true },
    delivery: { tls_timeout: 1, ca_file: certFile, mta_sts_port: policies.port, ...delivery },
  })
  const ids = new Map<string, string>()
  for (const name of Object.keys(rows)) ids.set(name, await rig.accept(`u@${name}.test`))
  rig.start()
  for (const [name, { expect }] of Object.entries(rows)) {
    const id = ids.get(name)!
    await until(() => rig.types(id).length > 0, 30_000)
    const last = rig.events.filter((event) => event.messageId === id).at(-1)
    const { taken } = mx[name]!
    const way = taken[0]?.tls === '' ? 'clear' : 'tls'
    const got = last?.type === 'sent' ? `sent ${way}` : String(last?.detail.reason)
    t.equal(got, expect, name)
    if (!expect.startsWith('sent')) {
      t.equal(last?.type, 'deferred', `${name} waits`)
      t.equal(taken.length, 0, `${name} has nothing`)
      t.notOk(
        mx[name]!.commands.some((line) => /^MAIL|^RCPT/i.test(line)),
        `${name} heard nothing of the mail`,
      )
      t.match(last?.status, /^4\.7\.[45]$/, `${name}: ${last?.status} ${String(last?.detail.reply)}`)
    }
  }
  return { rig, ids, mx, policies }
}

const REASONS: Readonly<Record<(typeof BROKEN)[number] | (typeof BAD_CERTIFICATES)[number], string>> = {
  plain: 'tls-not-offered',
  tlsgarbage: 'tls-failed',
  tlshang: 'starttls-timeout',
  tlsinject: 'unexpected-reply',
  ...{ selfsigned: 'tls-untrusted', expired: 'tls-untrusted', certmismatch: 'tls-untrusted' },
}

void t.test('I-24 opportunistic: any certificate, and clear text where TLS fails', async (t) => {
  await run(t, {
    good: { host: {}, expect: 'sent tls' },
    ...Object.fromEntries(BAD_CERTIFICATES.map((name) => [name, { host: BEHAVIOURS[name], expect: 'sent tls' }])),
    ...Object.fromEntries(BROKEN.map((name) => [name, { host: BEHAVIOURS[name], expect: 'sent clear' }])),
  })
})

void t.test('I-24 MTA-STS enforce: a valid certificate or no delivery, never in clear', async (t) => {
  await run(t, {
    good: { host: {}, sts: enforce('good'), expect: 'sent tls' },
    wild: { host: {}, sts: stsText('enforce', ['*.wild.test']), expect: 'sent tls' },
    ...Object.fromEntries(
      [...BROKEN, ...BAD_CERTIFICATES].map((name) => [
        name,
        { host: BEHAVIOURS[name], sts: enforce(name), expect: REASONS[name] },
      ]),
    ),
    stsbad: { host: {}, sts: stsText('enforce', ['mx.other.test']), expect: 'sts-mx-not-listed' },
    deep: { host: {}, sts: stsText('enforce', ['*.test']), expect: 'sts-mx-not-listed' },
  })
})

void t.test('I-24 DANE: the certificate of a record or no delivery, never in clear', async (t) => {
  const match =
    (usage: number, selector: number, matchingType: number): Row['dane'] =>
    (shown) => [tlsa(usage, selector, matchingType, usage === 2 ? CA : shown)]
  const daned = (name: (typeof BROKEN)[number]): Row => ({
    host: BEHAVIOURS[name],
    dane: match(3, 1, 1)!,
    expect: REASONS[name],
  })
  const unusable = { usage: 1, selector: 1, matchingType: 1, certificate: Buffer.alloc(32) }
  await run(t, {
    ...Object.fromEntries(
      [0, 1].flatMap((selector) =>
        [0, 1, 2].map((type) => [
          `ee${selector}${type}`,
          { host: BEHAVIOURS.selfsigned, dane: match(3, selector, type)!, expect: 'sent tls' } satisfies Row,
        ]),
      ),
    ),
    // RFC 7672 §3.1.1: under usage 3 neither the name nor the dates are looked at.
    eename: { host: BEHAVIOURS.certmismatch, dane: match(3, 1, 1)!, expect: 'sent tls' },
    eeold: { host: BEHAVIOURS.expired, dane: match(3, 1, 1)!, expect: 'sent tls' },
    roll: { host: {}, dane: (shown) => [WRONG, tlsa(3, 1, 1, shown)], expect: 'sent tls' },
    danebad: { host: {}, dane: () => [WRONG], expect: 'tls-untrusted' },
    // Records that nobody can use ask for TLS all the same (RFC 7672 §2.2).
    unusable: { host: BEHAVIOURS.selfsigned, dane: () => [unusable], expect: 'sent tls' },
    unuplain: { host: BEHAVIOURS.plain, dane: () => [unusable], expect: 'tls-not-offered' },
    daneplain: daned('plain'),
    danegarbage: daned('tlsgarbage'),
    danehang: daned('tlshang'),
    daneinject: daned('tlsinject'),
    tafull: { host: {}, dane: match(2, 0, 0)!, expect: 'sent tls' },
    tabadname: { host: BEHAVIOURS.certmismatch, dane: match(2, 0, 0)!, expect: 'tls-untrusted' },
    taold: { host: BEHAVIOURS.expired, dane: match(2, 0, 0)!, expect: 'tls-untrusted' },
    // DANE decides where both are published (RFC 8461 §2).
    both: { host: BEHAVIOURS.selfsigned, dane: match(3, 1, 1)!, sts: enforce('both'), expect: 'sent tls' },
    bothbad: { host: {}, dane: () => [WRONG], sts: enforce('bothbad'), expect: 'tls-untrusted' },
  })
})

void t.test('I-24 the configuration of a domain goes before what is published', async (t) => {
  const policy = (policy: Config['tls_policies'][number]['policy'], names: string[] = []) => ({ policy, names })
  await run(t, {
    off: { host: {}, configured: policy('none'), sts: enforce('elsewhere'), expect: 'sent clear' },
    easy: { host: BEHAVIOURS.plain, configured: policy('opportunistic'), dane: () => [WRONG], expect: 'sent clear' },
    must: { host: BEHAVIOURS.selfsigned, configured: policy('required'), expect: 'sent tls' },
    mustplain: { host: BEHAVIOURS.plain, configured: policy('required'), expect: 'tls-not-offered' },
    mustdane: { host: {}, configured: policy('required'), dane: () => [WRONG], expect: 'tls-untrusted' },
    verified: { host: {}, configured: policy('verify'), expect: 'sent tls' },
    self: { host: BEHAVIOURS.selfsigned, configured: policy('verify'), expect: 'tls-untrusted' },
    named: { host: BEHAVIOURS.certmismatch, configured: policy('verify', ['wrong.example']), expect: 'sent tls' },
    misnamed: { host: {}, configured: policy('verify', ['wrong.example']), expect: 'tls-untrusted' },
    nodane: { host: {}, configured: policy('dane'), expect: 'dane-required' },
    dane: { host: {}, configured: policy('dane'), dane: (shown) => [tlsa(3, 1, 1, shown)], expect: 'sent tls' },
  })
})

void t.test('I-24 delivery.tls: "require" never goes in clear, "off" asks for nothing', async (t) => {
  await run(
    t,
    {
      good: { host: {}, expect: 'sent tls' },
      self: { host: BEHAVIOURS.selfsigned, expect: 'sent tls' },
      ...Object.fromEntries(BROKEN.map((name) => [name, { host: BEHAVIOURS[name], expect: REASONS[name] }])),
    },
    { tls: 'require' },
  )
  const { rig } = await run(
    t,
    {
      good: { host: {}, expect: 'sent clear' },
      sts: { host: {}, sts: enforce('elsewhere'), dane: () => [WRONG], expect: 'sent clear' },
    },
    { tls: 'off' },
  )
  t.equal(rig.dns.count('_mta-sts.sts.test'), 0)
})
