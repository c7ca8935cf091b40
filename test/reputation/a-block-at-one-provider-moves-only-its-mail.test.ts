import t from 'tap'
import type { Clock } from '#base'
import { outcomeKind, type StandingChange, Standings } from '#reputation'

const CONFIG = {
  window: 900,
  min_samples: 20,
  block_share: 0.2,
  deferral_share: 0.5,
  recover_share: 0.05,
  pause: 900,
  probe_share: 0.02,
  probe_samples: 10,
}

function rig() {
  let nowMs = 1_000_000
  const changes: StandingChange[] = []
  const clock: Clock = { now: () => nowMs, monotonicMs: () => nowMs, after: () => () => {} }
  const standings = new Standings(CONFIG, clock, (change) => changes.push(change))
  /** `n` messages to one provider, answered as told; returns how many went directly. */
  function send(provider: string, n: number, answer: { result: string; class: string }): number {
    let direct = 0
    for (let i = 0; i < n; i++) {
      const admission = standings.admit('192.0.2.1', provider, true)
      if (admission.kind === 'away') continue
      direct += 1
      standings.report(
        '192.0.2.1',
        provider,
        outcomeKind(answer.result, answer.class),
        answer.class,
        admission.kind === 'probe',
      )
    }
    return direct
  }
  return { standings, changes, send, pass: (ms: number) => (nowMs += ms) }
}

const GOOD = { result: 'delivered', class: '' }
const BLOCKED_5 = { result: 'refused', class: 'ip-blocked' }
const BLOCKED_4 = { result: 'deferred', class: 'ip-blocked' }
const SLOW = { result: 'deferred', class: 'rate-limit' }

void t.test(
  '5.7.1 and 4.7.x blocks at google pause google only; a growing share brings it back without flapping',
  async (t) => {
    const { standings, changes, send, pass } = rig()
    t.equal(send('google', 100, GOOD), 100)
    t.equal(send('yahoo', 100, GOOD), 100)
    const before = send('google', 200, BLOCKED_5) + send('google', 200, BLOCKED_4)
    t.ok(before <= 40, `after ${before} blocked messages nothing more goes there directly`)
    t.equal(send('google', 100, GOOD), 0, 'paused')
    t.equal(send('yahoo', 100, GOOD), 100, 'yahoo is not touched')
    t.equal(changes.length, 1)
    t.match(changes[0], {
      before: 'healthy',
      now: { mailboxProvider: 'google', verdict: 'paused', reason: /block us/ },
    })

    pass(CONFIG.pause * 1000 + 1)
    const shares: number[] = []
    for (let round = 0; round < 12; round++) {
      shares.push(send('google', 1000, GOOD) / 1000)
      pass(1000)
    }
    t.ok(shares[0]! < 0.2, `the first share is small: ${shares[0]}`)
    for (let i = 1; i < shares.length; i++) t.ok(shares[i]! >= shares[i - 1]!, `the share grows: ${shares[i]}`)
    t.equal(shares.at(-1), 1, 'and all of it is back')
    t.same(
      changes.map((change) => change.now.verdict),
      ['paused', 'healthy'],
      'one pause, one recovery',
    )
    t.equal(standings.list().find((one) => one.mailboxProvider === 'google')?.share, 1)
  },
)

void t.test('while the block lasts, probes are few and the waits grow', async (t) => {
  const { changes, send, pass } = rig()
  send('google', 300, BLOCKED_5)
  let probes = 0
  // Six hours in which the block stays, with steady mail.
  for (let minute = 0; minute < 360; minute++) {
    probes += send('google', 50, BLOCKED_5)
    pass(60_000)
  }
  t.ok(probes >= 2 && probes <= 12, `${probes} probes in 6 hours of 18,000 messages`)
  t.equal(changes.length, 1, 'it was paused once and never flapped')
})

void t.test('requests to slow down share the mail with a relay, and it comes back when they stop', async (t) => {
  const { changes, send, pass } = rig()
  send('microsoft', 30, SLOW)
  t.match(changes[0]?.now, { verdict: 'degraded', share: 0.5 })
  const direct = send('microsoft', 100, GOOD)
  t.ok(direct >= 45 && direct <= 55, `half goes directly: ${direct}`)
  pass(CONFIG.window * 1000 + 1)
  send('microsoft', 100, GOOD)
  t.equal(changes.at(-1)?.now.verdict, 'healthy')
})

void t.test(
  'what says nothing about us moves nothing: unknown users, greylisting, full mailboxes, dead hosts',
  async (t) => {
    const { changes, send } = rig()
    for (const answer of [
      { result: 'refused', class: 'user-unknown' },
      { result: 'deferred', class: 'greylist' },
      { result: 'deferred', class: 'mailbox-full' },
      { result: 'infrastructure', class: '' },
      { result: 'uncertain', class: '' },
    ])
      t.equal(send('other', 200, answer), 200)
    t.same(changes, [])
  },
)

void t.test('few answers give no verdict, and a pause survives a restart', async (t) => {
  const first = rig()
  t.equal(first.send('google', CONFIG.min_samples - 1, BLOCKED_5), CONFIG.min_samples - 1)
  t.same(first.changes, [])
  first.send('google', 1, BLOCKED_5)
  const kept = first.standings.list()
  const second = rig()
  second.standings.restore(kept)
  t.equal(second.send('google', 100, GOOD), 0)
})
