import t from 'tap'
import { PRIORITIES, type Priority } from '#queue'
import { manualClock } from '#world'
import { LaneGroups } from '../../src/delivery/lane-groups.ts'
import { Waiting } from '../../src/delivery/waiting.ts'

const MANY = 100_000

void t.test(
  'a hundred thousand domains that wait for one place are woken one by one, and not looked at meanwhile',
  async (t) => {
    const clock = manualClock()
    const woken: string[] = []
    const groups = new LaneGroups(clock, (domain) => woken.push(domain))
    t.ok(groups.enter('site', 2))
    t.ok(groups.enter('site', 2))
    for (let i = 0; i < MANY; i++) groups.hold('site', `d${i}`, 'normal')
    await clock.advance(10_000)
    t.equal(woken.length, 0, 'nobody is woken while the places are taken')
    groups.leave('site')
    t.strictSame(woken, ['d0'])
    groups.promote('d77', 'high')
    groups.hold('site', 'd0', 'normal')
    groups.leave('site')
    t.equal(woken.at(-1), 'd77', 'the strongest first')
    // Woken, and nothing was due any more: the places are free, and two others get them soon.
    const before = woken.length
    await clock.advance(600)
    t.ok(woken.length > before, 'a place that was not taken goes to the next')
    t.ok(woken.length - before <= 8, `${woken.length - before} woken in 0.6 s`)
    groups.stop()
  },
)

void t.test('one wait for a route holds all that need it, and its end wakes one of them', async (t) => {
  const clock = manualClock()
  const woken: string[] = []
  const groups = new LaneGroups(clock, (domain) => woken.push(domain))
  for (let round = 1; round <= 50; round++) {
    groups.pause('route google', clock.now() + 100, 'mailbox-provider-rate')
    if (round === 1) for (let i = 0; i < MANY; i++) groups.hold('route google', `d${i}`, 'normal')
    t.match(groups.paused('route google'), { reason: 'mailbox-provider-rate' })
    await clock.advance(100)
    t.equal(woken.length, round, 'one for each time it may go on')
    groups.began(woken.at(-1)!)
  }
  t.equal(groups.paused('route google'), null)
  groups.goesOn('route google')
  t.equal(woken.length, 51, 'and while it goes on the next follows')
  groups.stop()
})

void t.test('a host that defers everything keeps one lane, and gets more when it takes something', (t) => {
  const groups = new LaneGroups(manualClock(), () => {})
  const room = () => {
    let lanes = 0
    while (groups.enter('site', 20)) lanes += 1
    for (let i = 0; i < lanes; i++) groups.leave('site')
    return lanes + groups.lanes('site')
  }
  groups.enter('site', 20)
  for (let i = 0; i < 30; i++) groups.answered('site', 20)
  t.equal(room(), 20)
  for (let i = 0; i < 9; i++) groups.answered('site', 20, true)
  t.equal(room(), 20, 'some are always deferred')
  for (let i = 0; i < 60; i++) groups.answered('site', 20, true)
  t.equal(room(), 1)
  for (let i = 0; i < 5; i++) groups.answered('site', 20)
  t.equal(room(), 6)
  groups.stop()
  t.end()
})

void t.test('who waits is taken by priority, and in turn among equals', (t) => {
  const waiting = new Waiting()
  const names: string[] = []
  for (const [i, priority] of ([...PRIORITIES].reverse() as Priority[]).entries()) {
    waiting.add(`a${i}`, priority)
    waiting.add(`b${i}`, priority)
  }
  waiting.add('a0', 'normal')
  waiting.add('b3', 'low')
  waiting.delete('b2')
  for (let next = waiting.take(); next !== null; next = waiting.take()) names.push(next)
  t.strictSame(names, ['a3', 'b3', 'a2', 'a1', 'b1', 'a0', 'b0'])
  t.equal(waiting.size, 0)
  t.end()
})
