import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { expiryDay, makeReturnPath, type ReturnPathKey, readReturnPath } from '../../src/mail/verp.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const DAY = 86_400_000
const key: ReturnPathKey = { id: 3, secret: randomBytes(32) }
const keyOf = (id: number) => (id === key.id ? key : undefined)
const HOST = 'bounces.example.com'

void t.test('what was made is read back, in any case of letters', async (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 48 - 1 }),
      fc.constantFrom('recipient', 'message'),
      (recipientKey, kind) => {
        const path = makeReturnPath({ kind, recipientKey }, HOST, NOW + DAY, key)
        if (!/^[a-z2-7]{34}@bounces\.example\.com$/.test(path)) return false
        const read = readReturnPath(path.toUpperCase(), NOW, keyOf)
        return read.ok && read.value.kind === kind && read.value.recipientKey === recipientKey
      },
    ),
  )
  t.ok(makeReturnPath({ kind: 'recipient', recipientKey: 1 }, HOST, NOW, key).indexOf('@') <= 60)
})

void t.test('10,000 forged tokens: none is believed', async (t) => {
  const real = makeReturnPath({ kind: 'recipient', recipientKey: 77 }, HOST, NOW + DAY, key)
  const letters = 'abcdefghijklmnopqrstuvwxyz234567'
  let believed = 0
  for (let i = 0; i < 10_000; i++) {
    const local = [...real.slice(0, 34)]
    for (let n = 0; n <= i % 4; n++) {
      const at = randomBytes(1)[0]! % 34
      const old = local[at]
      while (local[at] === old) local[at] = letters[randomBytes(1)[0]! % 32]!
    }
    const forged = `${local.join('')}@${HOST}`
    if (forged !== real && readReturnPath(forged, NOW, keyOf).ok) believed += 1
  }
  t.equal(believed, 0)
})

void t.test('another host, another key, a later day and odd text are refused by name', async (t) => {
  const path = makeReturnPath({ kind: 'recipient', recipientKey: 77 }, HOST, NOW + DAY, key)
  const local = path.slice(0, 34)
  t.same(readReturnPath(`${local}@bounces.example.org`, NOW, keyOf), { ok: false, error: 'forged' })
  t.same(
    readReturnPath(path, NOW, () => undefined),
    { ok: false, error: 'unknown-key' },
  )
  t.same(
    readReturnPath(path, NOW, (id) => ({ id, secret: randomBytes(32) })),
    { ok: false, error: 'forged' },
  )
  t.ok(readReturnPath(path, NOW + DAY, keyOf).ok, 'believed through its last day')
  t.same(readReturnPath(path, NOW + 2 * DAY, keyOf), { ok: false, error: 'expired' })
  for (const odd of [
    '',
    '@',
    'postmaster@x',
    `${local}`,
    `a${local}@${HOST}`,
    `${local.slice(1)}@${HOST}`,
    `1${local.slice(1)}@${HOST}`,
  ])
    t.same(readReturnPath(odd, NOW, keyOf), { ok: false, error: 'not-a-token' }, odd)
  t.ok(expiryDay(NOW) > 0 && expiryDay(Date.UTC(2190, 0)) < 65_536)
})
