import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { fastClock } from '#world'
import { CASES } from '../../scripts/prove/matrix/cases.ts'
import { expectedOutcomes, inWords, type Outcome } from '../../scripts/prove/matrix/expected.ts'
import { waitOf } from '../../scripts/prove/matrix/seen.ts'
import { hosts, openRig, type Rig, until } from '../delivery/delivery-rig.ts'

// The tables of docs/outcomes.md with a clock ten times as fast; `scripts/prove/matrix.ts` asks the real daemon.
const EXPECTED = expectedOutcomes()
const FAST = 10
const LIFETIME_MS = 100_000

for (const [kind, title, cases] of [
  ['fault', 'I-22 a fault at each stage', 63],
  ['mx', 'forty hosts that a sender meets', 40],
] as const)
  void t.test(`${title}: each case ends as it is written down`, async (t) => {
    const wanted = CASES.filter((one) => one.kind === kind)
    t.equal(wanted.length, cases)
    const names = new Map(wanted.map((one, i) => [one, `x${i}`]))
    const behaviours = wanted.map((one) => [names.get(one)!, one.script!] as const)
    const { mx, zones, port } = await hosts(t, Object.fromEntries(behaviours))
    const phases = ['connect', 'banner', 'ehlo', 'tls', 'mail', 'rcpt', 'data', 'body', 'dot']
    // Two seconds of real time for each phase, three for the dot.
    const deadlines = Object.fromEntries(phases.map((phase) => [`${phase}_timeout`, phase === 'dot' ? 30 : 20]))
    const clock = fastClock(FAST)
    const rig = await openRig(t, { zones, port, clock, delivery: { ...deadlines, retry_after: [10] } })
    const ids = new Map<(typeof wanted)[number], string>()
    for (const one of wanted) {
      const to = `${one.localPart ?? 'u'}@${names.get(one)}.test`
      const content = Buffer.from(`From: <sender@sending.test>\r\n\r\n${`${'x'.repeat(70)}\r\n`.repeat(30)}`)
      ids.set(one, await rig.accept(to, { content, expiresMs: clock.now() + LIFETIME_MS }))
    }
    rig.start()
    t.ok(await until(() => rig.outcomes().length >= cases, 60_000), 'all end')
    await pause(50)
    for (const one of wanted) {
      const seen = await outcomeOf(rig, ids.get(one)!, mx[names.get(one)!]!.taken.length)
      t.equal(inWords(seen), inWords(EXPECTED.get(`${kind} ${one.name}`)!), one.name)
    }
    await rig.everyRecipientEndedOnce()
  })

async function outcomeOf(rig: Rig, id: string, copies: number): Promise<Outcome> {
  const events = rig.events.filter((event) => event.messageId === id)
  const end = rig.outcomes().find((event) => event.messageId === id)!
  const last = events.filter((event) => event.type === 'deferred').at(-1)
  const [recipient] = (await rig.queue.message(id))!.recipients
  return {
    ends: end.type === 'sent' ? 'sent' : `${end.type} ${end.status}`,
    counted: recipient!.attempts > 0 ? 'yes' : 'no',
    waited: last === undefined ? '–' : waitOf(last),
    copies: String(copies),
  }
}
