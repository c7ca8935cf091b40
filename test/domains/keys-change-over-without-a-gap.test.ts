import { Resolver } from 'node:dns/promises'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { systemClock } from '#base'
import { DkimRotation, DnsInspector, SendingDomains } from '#domains'
import type { NewEvent } from '#queue'
import { manualClock } from '#world'
import { LocalApi } from '../../scripts/quickstart/local-api.ts'
import { openStore } from '../routing/store-rig.ts'
import { verifyMail } from '../world/mail-verifier.ts'
import { COMMON } from './faulty-zones.ts'
import { missingNameServers, NameServers } from './name-servers.ts'
import { ServingDaemon } from './serving-daemon.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const missing = missingNameServers()

type Told = { readonly type: NewEvent['type']; readonly detail: Readonly<Record<string, unknown>> }

if (missing !== null && process.env.RELEVO_TEST_ALL !== '1') {
  t.comment(`left out: keys that change over on real name servers: needs ${missing}`)
  t.pass('left out')
} else {
  void t.test('the life of a pair of keys, over restarts', async (t) => {
    await using dns = await NameServers.open({ zones: { ...COMMON, 'shop.test': '' } })
    const { records, vault } = await openStore(t)
    const clock = manualClock()
    const told: Told[] = []
    let waits = true
    const settings = {
      hostname: 'mail.host.test',
      sources: [],
      dns: { public_addresses: ['203.0.113.5'], report_address: '', check: '', authority_port: dns.port },
    }
    const inspector = new DnsInspector({
      settings,
      ask: dns.options.ask,
      resolvers: () => dns.options.resolvers,
      clock: systemClock,
    })
    /** As after a start. */
    const open = async () => {
      const domains = await SendingDomains.open(records, vault, clock)
      const rotation = new DkimRotation({
        domains,
        inspector,
        waits: () => Promise.resolve(waits),
        changeOverMs: 2 * DAY_MS,
        retireAfterMs: 7 * DAY_MS,
        tell: (type, _, detail) => told.push({ type, detail }),
        clock,
      })
      return { domains, rotation }
    }
    let { domains, rotation } = await open()
    const shop = await domains.add('shop.test')
    const states = async (): Promise<Record<string, string>> =>
      Object.fromEntries((await domains.publishedKeys('shop.test')).map((key) => [key.selector, key.state]))
    const signing = async (): Promise<string[]> =>
      (await domains.keysFor('shop.test')).map((key) => key.selector).sort()
    const zoneText = async (): Promise<string> =>
      (await domains.publishedKeys('shop.test'))
        .filter(({ state }) => state !== 'retired')
        .map(({ host, value }) => `${host}. TXT ${(value.match(/.{1,255}/g) ?? []).map((s) => `"${s}"`).join(' ')}`)
        .join('\n')
    const OLD = ['rlv20261124e', 'rlv20261124r']
    const NEW = ['rlv20261124e2', 'rlv20261124r2']

    t.strictSame(await signing(), OLD)
    await t.rejects(rotation.changeOverNow(shop, false), { code: 'no-rotation', remedy: /relevo dkim rotate/ } as never)
    await t.rejects(rotation.begin(shop, clock.now() - 1), { code: 'in-the-past', field: 'at' } as never)
    const before = await zoneText()
    const made = await rotation.begin(shop, null)
    t.strictSame(made.map((key) => key.selector).sort(), NEW, 'selectors of the same day have another name')
    t.equal(made[0]?.signsFromMs, clock.now() + 2 * DAY_MS)
    t.strictSame(await signing(), OLD, 'the old ones sign')
    await t.rejects(rotation.begin(shop, null), { code: 'rotation-pending', remedy: /--now/ } as never)

    await dns.change({ 'shop.test': before })
    await rotation.run()
    t.strictSame(await signing(), OLD, 'its time has not come')
    await clock.advance(2 * DAY_MS + 1)
    for (let times = 0; times < 3; times++) await rotation.run()
    t.strictSame(await signing(), OLD, 'its time has come, but it is not published: the old ones go on')
    t.strictSame(
      told.splice(0).map(({ type, detail }) => [type, (detail.missing as string[]).length]),
      [['dkim-change-over-waits', 2]],
      'told once a day',
    )
    await t.rejects(rotation.changeOverNow(shop, false), {
      code: 'not-published',
      remedy: /relevo dns verify/,
    } as never)

    await dns.change({ 'shop.test': await zoneText() })
    await dns.untilForgotten()
    ;({ domains, rotation } = await open())
    t.strictSame(await signing(), OLD, 'a restart changes nothing')
    await rotation.run()
    t.strictSame(await signing(), NEW, 'published and due: the new ones sign')
    t.strictSame(
      told.splice(0).map(({ type }) => type),
      ['dkim-changed-over'],
    )
    t.strictSame(await states(), {
      ...Object.fromEntries(NEW.map((selector) => [selector, 'signing'])),
      ...Object.fromEntries(OLD.map((selector) => [selector, 'retiring'])),
    })
    const plan = (await inspector.inspect(shop, await domains.publishedKeys('shop.test'))).records
    t.equal(
      plan.filter(({ check, need, verdict }) => check === 'dkim' && need === 'required' && verdict === 'ok').length,
      4,
    )

    await clock.advance(7 * DAY_MS)
    await rotation.run()
    t.equal((await states()).rlv20261124r, 'retiring', 'a message of that time still waits here')
    waits = false
    await clock.advance(6 * DAY_MS)
    await rotation.run()
    t.equal((await states()).rlv20261124r, 'retiring', 'it may be on its way')
    ;({ domains, rotation } = await open())
    await clock.advance(DAY_MS)
    await rotation.run()
    t.equal((await states()).rlv20261124r, 'retired')
    t.match(told.splice(0), [{ type: 'dkim-key-retired', detail: { records: /./ } }])
    const rows = await records.read(records.query.selectFrom('dkim_keys').selectAll())
    t.ok(
      rows.every(({ state, private_key }) => (state === 'retired') === (private_key === '')),
      'the private parts of retired keys are forgotten',
    )
    const after = (await inspector.inspect(shop, await domains.publishedKeys('shop.test'))).records
    t.strictSame(
      after.filter(({ action }) => action === 'remove').map(({ name, findings }) => [name, findings[0]?.code]),
      ['rlv20261124r', 'rlv20261124e'].map((one) => [`${one}._domainkey.shop.test`, 'dkim-key-left']),
      'what still stands in the DNS may be removed',
    )
    t.strictSame(
      (await rotation.begin(shop, null)).map((key) => key.selector).sort(),
      ['rlv20261210e', 'rlv20261210r'],
      'and a next time',
    )
    await rotation.changeOverNow(shop, true)
    t.strictSame(await signing(), ['rlv20261210e', 'rlv20261210r'], 'at once, when it is forced')
  })

  void t.test('mail signed before and after the change passes at a receiver, while both are published', async (t) => {
    await using dns = await NameServers.open({ zones: { ...COMMON, 'shop.test': '' } })
    await using daemon = await ServingDaemon.furnish(dns)
    await daemon.start()
    const api = new LocalApi(daemon.room.join('data/control.sock'))
    await daemon.run('domain', 'add', 'shop.test')
    const publish = async (): Promise<void> => {
      await dns.change({
        'shop.test': (await daemon.run('dns', 'records', 'shop.test', '--no-lookup', '--format', 'bind')).stdout,
      })
    }
    /** What a receiver (mailauth) makes of the mail that the sandbox took last. */
    const sent = async (): Promise<{ content: Buffer; sender: string }> => {
      const { stdout, stderr } = await daemon.run(
        'send',
        'you@good.test',
        '--from',
        'me@shop.test',
        '--text',
        'Hello',
        '--json',
      )
      t.match(stdout, /"id"/, stderr)
      for (let i = 0; i < 100; i++) {
        const { mails } = await api.get<{ mails: { id: string; mail_from: string }[] }>('/sandbox/mails')
        const [mail] = mails.filter(({ id }) => !seen.has(id))
        if (mail !== undefined) {
          seen.add(mail.id)
          return { content: await api.bytes(`/sandbox/mails/${mail.id}`), sender: mail.mail_from }
        }
        await pause(50)
      }
      throw new Error('nothing came to the sink')
    }
    const seen = new Set<string>()
    const receiver = {
      resolver: () => {
        const resolver = new Resolver({ timeout: 2000, tries: 2 })
        resolver.setServers([`${dns.resolver.address}:${dns.resolver.port}`])
        return resolver
      },
    }
    const verdict = async (mail: { content: Buffer; sender: string }) => {
      const { dkim, spf, dmarc } = await verifyMail(receiver as never, {
        ...mail,
        ip: '203.0.113.5',
        helo: 'mail.host.test',
      })
      return { dkim: dkim.map(({ result, selector }) => `${selector} ${result}`).sort(), spf, dmarc }
    }
    await publish()
    const first = await sent()
    const [old] = /rlv\d{8}/.exec((await daemon.run('dkim', 'list', 'shop.test')).stdout) ?? []
    t.strictSame(await verdict(first), { dkim: [`${old}e pass`, `${old}r pass`], spf: 'pass', dmarc: 'pass' })

    const rotated = await daemon.run('dkim', 'rotate', 'shop.test')
    t.equal(rotated.code, 0)
    t.match(rotated.stdout, new RegExp(`^${old}r2\\trsa-sha256\\tnext\\t`, 'm'))
    t.match(rotated.stderr, /publish them beside the old ones/)
    t.match((await daemon.run('dkim', 'rotate', 'shop.test')).stderr, /are being changed already/)
    await publish()
    // The sandbox looks at nobody's zones: there the change is made when it is asked for.
    t.equal((await daemon.run('dkim', 'rotate', 'shop.test', '--now')).code, 0)
    const second = await sent()
    t.strictSame(await verdict(second), { dkim: [`${old}e2 pass`, `${old}r2 pass`], spf: 'pass', dmarc: 'pass' })
    t.strictSame((await verdict(first)).dkim, [`${old}e pass`, `${old}r pass`], 'and the one from before as well')
    t.equal((await daemon.run('dkim', 'rotate', 'shop.test', '--at', 'tomorrow')).code, 65)

    const soon = new Date(Date.now() + 300).toISOString()
    t.equal((await daemon.run('dkim', 'rotate', 'shop.test', '--at', soon)).code, 0)
    await daemon.stop()
    await pause(300)
    await daemon.start()
    let keys = ''
    for (let i = 0; i < 100 && !keys.includes(`${old}r3\trsa-sha256\tsigning`); i++) {
      await pause(50)
      keys = (await daemon.run('dkim', 'list', 'shop.test')).stdout
    }
    t.match(keys, `${old}r3\trsa-sha256\tsigning`, 'what came due while it was down is done at the start')
    t.match(keys, `${old}r2\trsa-sha256\tretiring`)
    t.equal((await daemon.run('dkim', 'rotate', 'shop.test', '--force')).code, 64)
    t.equal((await daemon.run('dkim', 'rotate', 'nobody.test')).code, 66)
  })
}
