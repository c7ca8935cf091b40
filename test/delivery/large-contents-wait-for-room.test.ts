import t from 'tap'
import { contentSharesOf } from '#base'
import { ContentGate } from '#delivery'
import { ContentBudget } from '../../src/intake/smtp/dot-reader.ts'

const MIB = 1_048_576
const never = new AbortController().signal

void t.test('large contents enter as there is room, in turn; small ones always; one however large', async (t) => {
  const gate = new ContentGate(10 * MIB)
  const entered: string[] = []
  const enter = async (name: string, bytes: number, signal = never): Promise<() => void> => {
    const leave = await gate.enter(bytes, signal)
    entered.push(name)
    return leave
  }
  const first = await enter('first', 30 * MIB)
  const second = enter('second', 6 * MIB)
  const third = enter('third', 1 * MIB)
  const fourth = enter('fourth', 4 * MIB)
  const small = await enter('small', 1000)
  small()
  t.same(entered, ['first', 'small'])
  first()
  await Promise.all([second, third])
  t.same(entered, ['first', 'small', 'second', 'third'], 'the fourth has no room beside them')
  ;(await second)()
  ;(await fourth)()
  ;(await third)()
  const again = await enter('again', 10 * MIB)
  again()
})

void t.test('who waits when it stops goes on at once, and takes no room', async (t) => {
  const gate = new ContentGate(10 * MIB)
  const first = await gate.enter(9 * MIB, never)
  const stop = new AbortController()
  const waits = gate.enter(9 * MIB, stop.signal)
  const next = gate.enter(8 * MIB, never)
  stop.abort()
  ;(await waits)()
  first()
  ;(await next)()
  ;(await gate.enter(10 * MIB, never))()
  t.pass('nobody waits for ever')
})

void t.test('I-12: the shares suit the memory, and a message that has no place in it is not begun', (t) => {
  const busy = contentSharesOf(24_000 * MIB)
  t.match(busy, { submission: 128 * MIB, inbound: 64 * MIB, cache: 64 * MIB, delivery: 1024 * MIB })
  t.ok(busy.largest > 1000 * MIB)
  const little = contentSharesOf(256 * MIB)
  t.ok(little.submission + little.inbound + little.cache + little.delivery < 40 * MIB)
  t.equal(little.largest, 4 * MIB)
  const budget = new ContentBudget(8 * MIB, little.largest)
  t.ok(budget.reserve(4 * MIB, 0))
  t.notOk(budget.reserve(MIB, 4 * MIB), 'the first grows too large')
  t.ok(budget.reserve(4 * MIB, 0))
  t.notOk(budget.reserve(MIB, 0), 'all of them are too much')
  t.end()
})
