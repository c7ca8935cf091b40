import t from 'tap'
import { type Clock, systemClock } from '#base'
import { Credentials } from '#intake'
import { ClientGate } from '../../src/intake/smtp/client-gate.ts'
import { openRecords, openRig, PASSWORD, plain, Wire } from './rig.ts'

/** The machine's clock, but waits end at once and are written down. */
function hastyClock(waits: number[]): Clock {
  return {
    ...systemClock,
    after: (ms, fire) => {
      if (ms >= 250 && ms <= 8000 && ms !== 1000) {
        waits.push(ms)
        return systemClock.after(1, fire)
      }
      return systemClock.after(ms, fire)
    },
  }
}

void t.test(
  'a hundred wrong passwords: growing waits, then the address is turned away, and others go on',
  async (t) => {
    const waits: number[] = []
    const rig = await openRig(t, { clock: hastyClock(waits) })
    let checked = 0
    let turnedAway = 0
    for (let i = 0; i < 100; ) {
      const wire = Wire.openTls(rig.port('tls'))
      const greeting = await wire.reply()
      if (greeting === null) {
        turnedAway++
        i++
        continue
      }
      await wire.say('EHLO client.example')
      for (let answer: string | null = ''; answer !== null && i < 100; i++) {
        answer = await wire.say(plain('app', `wrong ${i}`))
        if (answer?.startsWith('535 5.7.8')) checked++
        else if (answer?.startsWith('421 4.7.0')) {
          turnedAway++
          i++
          break
        }
      }
      wire.close()
    }
    t.equal(checked, 9)
    t.equal(checked + turnedAway, 100)
    t.strictSame(waits.slice(0, 7), [250, 500, 1000, 2000, 4000, 8000, 8000].filter((ms) => ms !== 1000).concat(8000))
    const plainPort = Wire.open(rig.port('starttls'))
    t.match(await plainPort.reply(), /^421 4\.7\.0 mail\.relevo\.test too many failed log-ins/)
  },
)

void t.test('a failed address is forgotten after ten minutes, and IPv6 counts by network', (t) => {
  let nowMs = 0
  const clock: Clock = { now: () => nowMs, monotonicMs: () => nowMs, after: () => () => {} }
  const gate = new ClientGate({ maxConnections: 10, maxConnectionsPerAddress: 3, maxFailedLogins: 3 }, clock)
  for (let i = 0; i < 3; i++) gate.loginFailed(`2001:db8:0:1::${i}`)
  t.ok(gate.isTurnedAway('2001:db8:0:1:ffff::9'))
  t.notOk(gate.isTurnedAway('2001:db8:0:2::1'))
  t.match(gate.enter('2001:db8:0:1::9'), /^4\.7\.0 too many failed/)
  nowMs = 600_001
  t.equal(gate.enter('2001:db8:0:1::9'), null)
  gate.loginFailed('192.0.2.1')
  gate.loginFailed('::ffff:192.0.2.1')
  t.notOk(gate.isTurnedAway('192.0.2.1'))
  gate.loginSucceeded('192.0.2.1')
  gate.loginFailed('192.0.2.1')
  gate.loginFailed('192.0.2.1')
  t.notOk(gate.isTurnedAway('192.0.2.1'))
  t.end()
})

void t.test('credentials: right, wrong, unknown, expired, revoked', async (t) => {
  let nowMs = 10_000_000
  const clock: Clock = { ...systemClock, now: () => nowMs, monotonicMs: () => nowMs }
  const credentials = new Credentials(await openRecords(t), clock)
  const { password, credential } = await credentials.create({
    username: 'shop',
    allowed: ['example.com'],
    expiresMs: 20_000_000,
    defaultTags: ['shop'],
  })
  t.match(password, /^[\w-]{32}$/)
  t.notMatch(JSON.stringify(credential), password)
  const right = await credentials.check('shop', password)
  t.match(right, { kind: 'ok', submitter: { name: 'smtp:shop', allowed: ['example.com'], defaultTags: ['shop'] } })
  t.strictSame(await credentials.check('shop', `${password}x`), { kind: 'wrong' })
  t.strictSame(await credentials.check('nobody', password), { kind: 'wrong' })
  t.strictSame(await credentials.check('shop', ''), { kind: 'wrong' })
  t.strictSame(await credentials.check('__proto__', 'constructor'), { kind: 'wrong' })
  await t.rejects(credentials.create({ username: 'shop', allowed: [] }), { field: 'username', code: 'exists' })
  await t.rejects(credentials.create({ username: 'a b', allowed: [] }), { name: 'Fault', field: 'username' })
  await t.rejects(credentials.create({ username: 'x', password: 'short', allowed: [] }), {
    name: 'Fault',
    field: 'password',
  })
  t.match(await credentials.list(), [{ username: 'shop', lastUsedMs: 10_000_000, active: true }])
  nowMs = 20_000_000
  t.strictSame(await credentials.check('shop', password), { kind: 'wrong' }, 'expired')
  nowMs = 10_000_000
  t.match(await credentials.check('shop', password), { kind: 'ok' })
  t.equal(await credentials.revoke('shop'), true)
  t.equal(await credentials.revoke('shop'), false)
  t.strictSame(await credentials.check('shop', password), { kind: 'wrong' }, 'revoked')
  t.equal(right.kind === 'ok' && right.submitter.valid(), false, 'a standing session knows it too')
})

void t.test('hashing is bounded: a flood is told to come again, and a log-in just seen costs no hash', async (t) => {
  const credentials = new Credentials(await openRecords(t), systemClock)
  const { password } = await credentials.create({ username: 'shop', allowed: [] })
  await credentials.check('shop', password)
  const flood = Array.from({ length: 50 }, (_, i) => credentials.check('shop', `guess ${i}`))
  const started = performance.now()
  t.match(await credentials.check('shop', password), { kind: 'ok' })
  t.ok(performance.now() - started < 50, 'answered while the flood waits')
  const kinds = (await Promise.all(flood)).map((answer) => answer.kind)
  t.equal(kinds.filter((kind) => kind === 'wrong').length, 34)
  t.equal(kinds.filter((kind) => kind === 'busy').length, 16)
})

void t.test('fifty sessions that log in at once with one password cost one hash', async (t) => {
  const credentials = new Credentials(await openRecords(t), systemClock)
  const { password } = await credentials.create({ username: 'shop', allowed: [] })
  const answers = await Promise.all(Array.from({ length: 50 }, () => credentials.check('shop', password)))
  t.ok(
    answers.every((answer) => answer.kind === 'ok'),
    'none was turned away, although at most 34 hashes may wait',
  )
})

void t.test('an unknown user takes as long as a known one', async (t) => {
  const credentials = new Credentials(await openRecords(t), systemClock)
  await credentials.create({ username: 'shop', allowed: [] })
  const timed = async (username: string): Promise<number> => {
    const started = performance.now()
    for (let i = 0; i < 4; i++) await credentials.check(username, `guess ${i}`)
    return performance.now() - started
  }
  await timed('shop')
  const known = await timed('shop')
  const unknown = await timed('nobody')
  t.ok(unknown > known / 3 && unknown < known * 3, `${known.toFixed()} ms against ${unknown.toFixed()} ms`)
})

void t.test('malformed AUTH, other identities and other mechanisms', async (t) => {
  const rig = await openRig(t)
  const wire = Wire.openTls(rig.port('tls'))
  await wire.reply()
  await wire.say('EHLO client.example')
  t.match(await wire.say('AUTH'), /^504 5\.5\.4 /)
  t.match(await wire.say('AUTH XOAUTH2 abc'), /^504 5\.5\.4 /)
  t.match(await wire.say('AUTH CRAM-MD5'), /^504 5\.5\.4 /)
  t.match(await wire.say('AUTH __proto__'), /^504 5\.5\.4 /)
  t.match(await wire.say('AUTH PLAIN !!!'), /^5\d\d 5\./)
  t.match(await wire.say('AUTH PLAIN'), /^334/)
  t.match(await wire.say('*'), /^501 5\./)
  const other = Buffer.from(`admin\0app\0${PASSWORD}`).toString('base64')
  t.match(await wire.say(`AUTH PLAIN ${other}`), /^535 5\.7\.8 the authorization identity/)
  t.match(await wire.say(plain('app', PASSWORD)), /^235 2\.7\.0 /)
  t.match(await wire.say(plain('app', PASSWORD)), /^503 5\.5\.1 /)
  wire.close()
})
