import t from 'tap'
import { type ClockSet, steadyClock } from '#base'

const START_MS = Date.UTC(2026, 10, 24, 12)
const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

/** A machine whose clock can be set, and that can sleep. */
function machine() {
  const told: ClockSet[] = []
  let wall = START_MS
  let monotonic = 500
  let boot = 9000
  const clock = steadyClock((set) => told.push(set), {
    wallMs: () => wall,
    monotonicMs: () => monotonic,
    sinceBootMs: () => boot,
  })
  return {
    clock,
    told,
    pass(ms: number): void {
      wall += ms
      monotonic += ms
      boot += ms
    },
    set(byMs: number): void {
      wall += byMs
    },
    sleep(ms: number): void {
      wall += ms
      boot += ms
    },
  }
}

for (const byMs of [30 * DAY_MS, -30 * DAY_MS, HOUR_MS, -HOUR_MS])
  void t.test(`set by ${byMs / HOUR_MS} hours: time goes on as before, and is told of once`, async (t) => {
    const { clock, told, pass, set } = machine()
    t.equal(clock.now(), START_MS)
    pass(1000)
    set(byMs)
    t.equal(clock.now(), START_MS + 1000)
    pass(HOUR_MS)
    t.equal(clock.now(), START_MS + 1000 + HOUR_MS)
    t.same(told, [{ byMs, kind: 'held' }])
    set(-byMs)
    t.equal(clock.now(), START_MS + 1000 + HOUR_MS)
    t.same(told[1], { byMs, kind: 'back' })
    t.equal(told.length, 2)
  })

void t.test('small steps are followed: NTP, a leap second, a drift over months', async (t) => {
  const { clock, told, pass, set } = machine()
  let wall = START_MS
  for (let day = 0; day < 400; day++) {
    pass(DAY_MS)
    const step = day === 200 ? -1000 : 900
    set(step)
    wall += DAY_MS + step
    t.equal(clock.now(), wall)
  }
  t.same(told, [])
})

void t.test('a machine that slept is followed at once', async (t) => {
  const { clock, told, pass, sleep, set } = machine()
  sleep(2 * DAY_MS)
  t.equal(clock.now(), START_MS + 2 * DAY_MS)
  pass(5000)
  sleep(3 * HOUR_MS)
  t.equal(clock.now(), START_MS + 2 * DAY_MS + 5000 + 3 * HOUR_MS)
  t.same(told, [])
  set(3 * HOUR_MS)
  t.equal(clock.now(), START_MS + 2 * DAY_MS + 5000 + 3 * HOUR_MS, 'what was slept before is no sleep again')
})

void t.test('set forward it is believed after six hours; set back it is not before the next start', async (t) => {
  const forward = machine()
  forward.set(DAY_MS)
  forward.clock.now()
  forward.pass(6 * HOUR_MS - 1)
  t.equal(forward.clock.now(), START_MS + 6 * HOUR_MS - 1)
  forward.pass(1)
  t.equal(forward.clock.now(), START_MS + DAY_MS + 6 * HOUR_MS)
  t.same(forward.told, [
    { byMs: DAY_MS, kind: 'held' },
    { byMs: DAY_MS, kind: 'followed' },
  ])
  const back = machine()
  back.set(-DAY_MS)
  back.clock.now()
  back.pass(30 * DAY_MS)
  t.equal(back.clock.now(), START_MS + 30 * DAY_MS)
})
