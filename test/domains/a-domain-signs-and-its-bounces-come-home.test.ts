import { createPublicKey } from 'node:crypto'
import t from 'tap'
import { type Clock, systemClock } from '#base'
import { Recogniser, ReturnPaths, SendingDomains } from '#domains'
import { openStore } from '../routing/store-rig.ts'

void t.test('a new domain has an RSA and an Ed25519 key, sealed in the store, the same after a restart', async (t) => {
  const { records, vault } = await openStore(t)
  const domains = await SendingDomains.open(records, vault, systemClock)
  t.match(await domains.add('Shop.Example'), { name: 'shop.example', bounceHost: 'bounces.shop.example', active: true })
  const keys = await domains.keysFor('shop.example')
  t.same(keys.map((key) => key.algorithm).sort(), ['ed25519-sha256', 'rsa-sha256'])
  t.same(await domains.keysFor('unknown.example'), [])
  const rows = await records.read(records.query.selectFrom('dkim_keys').selectAll())
  t.equal(rows.length, 2)
  t.notMatch(JSON.stringify(rows), /BEGIN|MIIE/, 'no private key in clear')
  const again = await SendingDomains.open(records, vault, systemClock)
  const publicOf = (key: (typeof keys)[number]): string =>
    createPublicKey(key.key).export({ format: 'der', type: 'spki' }).toString('hex')
  t.same((await again.keysFor('shop.example')).map(publicOf), keys.map(publicOf))
  const published = await again.publishedKeys('shop.example')
  t.match(published, [
    { host: /^rlv\d{8}[re]\._domainkey\.shop\.example$/, value: /^v=DKIM1; / },
    { host: /_domainkey/, value: /p=[A-Za-z0-9+/]{40}/ },
  ])
})

void t.test(
  'names that are none, twice the same, and a bounce host of another are refused with what to do',
  async (t) => {
    const { records, vault } = await openStore(t)
    const domains = await SendingDomains.open(records, vault, systemClock)
    await domains.add('one.example')
    for (const name of ['', 'localhost', 'a b.example', 'x@y.example', 'one..example', '[127.0.0.1]'])
      await t.rejects(domains.add(name), { code: 'invalid-domain', field: 'name', remedy: /./ } as never, name)
    await t.rejects(domains.add('ONE.example'), { code: 'exists', field: 'name' } as never)
    await t.rejects(domains.add('two.example', 'bounces.one.example'), {
      code: 'exists',
      field: 'bounce_host',
    } as never)
    await t.rejects(domains.add('three.example', 'THREE.example'), {
      code: 'invalid-domain',
      field: 'bounce_host',
      remedy: /bounces\.three\.example/,
    } as never)
    t.match(await domains.add('none.example', ''), { bounceHost: '' })
    t.match(await domains.add('münchen.example'), { name: 'xn--mnchen-3ya.example' })
    t.equal(await domains.remove('one.example'), true)
    t.equal(await domains.remove('one.example'), false)
    t.same(await domains.keysFor('one.example'), [])
  },
)

void t.test(
  'a return path is believed until its day is over, after a restart as well; what is forged is counted',
  async (t) => {
    const { records, vault } = await openStore(t)
    let nowMs = Date.UTC(2026, 10, 24)
    const clock: Clock = { now: () => nowMs, monotonicMs: () => nowMs, after: () => () => {} }
    const paths = await ReturnPaths.open(records, vault, clock, 30)
    const path = paths.make({ kind: 'recipient', recipientKey: 4711 }, 'bounces.shop.example', nowMs)
    const again = await ReturnPaths.open(records, vault, clock, 30)
    t.same(again.read(path.toUpperCase()), { ok: true, value: { kind: 'recipient', recipientKey: 4711 } })
    t.equal(again.read(`${path[0] === 'a' ? 'b' : 'a'}${path.slice(1)}`).ok, false)
    t.equal(again.refused, 1)
    nowMs += 30 * 86_400_000
    t.ok(again.read(path).ok)
    nowMs += 86_400_000
    t.same(again.read(path), { ok: false, error: 'expired' })
  },
)

void t.test('ours on port 25: return paths that hold, fbl, reports, postmaster and abuse; nothing else', async (t) => {
  const { records, vault } = await openStore(t)
  const domains = await SendingDomains.open(records, vault, systemClock)
  await domains.add('shop.example')
  const paths = await ReturnPaths.open(records, vault, systemClock, 30)
  const recogniser = new Recogniser(domains, paths, 'mail.shop.example', ['local.example'])
  const path = paths.make({ kind: 'recipient', recipientKey: 1 }, 'bounces.shop.example', Date.now())
  t.same(recogniser.recognise(path), { kind: 'bounce' })
  t.same(recogniser.recognise('FBL@bounces.shop.example'), { kind: 'complaint' })
  t.same(recogniser.recognise('Reports@bounces.shop.example'), { kind: 'report' })
  for (const host of ['mail.shop.example', 'shop.example', 'bounces.shop.example', 'local.example']) {
    t.same(recogniser.recognise(`Postmaster@${host}`), { kind: 'postmaster' })
    t.same(recogniser.recognise(`abuse@${host}`), { kind: 'abuse' })
  }
  for (const other of [
    'info@shop.example',
    'x@bounces.shop.example',
    'postmaster@else.example',
    'fbl@shop.example',
    'reports@shop.example',
    `${path.slice(0, 34)}@shop.example`,
    'nothing',
  ])
    t.equal(recogniser.recognise(other), null, other)
  t.equal(recogniser.isOurDomain('else.example'), false)
})
