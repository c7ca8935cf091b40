// Random scenarios against the whole way from the queue to the wire: `node scripts/prove/scenarios.ts --help`.
import { type ChildProcess, fork } from 'node:child_process'
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { worldPlan } from '../../test/reliability/scenario-plan.ts'
import { broken } from '../../test/reliability/scenario-rules.ts'
import { ScenarioWorld } from '../../test/reliability/scenario-world.ts'

const HELP = `usage: node scripts/prove/scenarios.ts [options]
Plays random scenarios: mail to several domains, hosts that follow a script of faults, names that break and mend, people who
hold, cancel, suppress and retry, stops and crashes of the process, relays with breakers, on a clock moved by hand to the end of
every lifetime. Each recipient must end exactly once, and each copy at a host must be explained and flagged.

  --scenarios N   how many (default 10000)
  --world N       how many share one store, process and clock (default 50)
  --seed N        of the first world (default: from the time); the same seed and world size play the same plans
  --jobs N        processes (default 2)
  --shrink        looks for a smaller world that fails with the seed given, and prints its plan
  --json          the result as one line of JSON at the end`

const { values } = parseArgs({
  options: {
    scenarios: { type: 'string', default: '10000' },
    world: { type: 'string', default: '50' },
    seed: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    shrink: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

type Played = {
  readonly seed: number
  readonly wrong: readonly string[]
  readonly states: Readonly<Record<string, number>>
  readonly copies: number
  readonly doubled: number
  readonly crashes: number
  readonly virtualHours: number
}

const size = Number(values.world)
const worlds = Math.ceil(Number(values.scenarios) / size)
const seed = Number(values.seed ?? Math.floor(performance.timeOrigin) % 1_000_000_000)

if (values.help) console.log(HELP)
else if (process.send) process.on('message', (n) => void playAt(n as number).then((played) => process.send!(played)))
else if (values.shrink) await shrink()
else await all()

async function playAt(n: number): Promise<Played> {
  const [plan] = fc.sample(worldPlan(size), { seed: n, numRuns: 1 })
  const after = await ScenarioWorld.play(plan!)
  const states: Record<string, number> = {}
  for (const { state } of after.recipients) states[state] = (states[state] ?? 0) + 1
  const each = Map.groupBy(after.copies, (copy) => `${copy.messageId} ${copy.recipient}`)
  return {
    seed: n,
    wrong: broken(after),
    states,
    copies: after.copies.length,
    doubled: [...each.values()].reduce((sum, copies) => sum + copies.length - 1, 0),
    crashes: after.crashed.size,
    virtualHours: after.virtualMs / 3_600_000,
  }
}

async function all(): Promise<void> {
  const total = { recipients: 0, copies: 0, doubled: 0, crashes: 0, virtualHours: 0 }
  const states: Record<string, number> = {}
  const failed: { seed: number; wrong: readonly string[] }[] = []
  const beganMs = performance.now()
  let next = 0
  let done = 0
  console.log(`${worlds} worlds of ${size} scenarios, seed ${seed}`)
  const work = async (child: ChildProcess): Promise<void> => {
    while (next < worlds) {
      const played = await ask(child, seed + next++)
      done += 1
      for (const [state, n] of Object.entries(played.states)) states[state] = (states[state] ?? 0) + n
      total.recipients += Object.values(played.states).reduce((sum, n) => sum + n, 0)
      for (const key of ['copies', 'doubled', 'crashes', 'virtualHours'] as const) total[key] += played[key]
      if (played.wrong.length > 0) {
        failed.push({ seed: played.seed, wrong: played.wrong })
        console.log(
          `seed ${played.seed} fails (again with: --seed ${played.seed} --scenarios ${size} --world ${size}):`,
        )
        for (const line of played.wrong.slice(0, 10)) console.log(`    ${line}`)
      }
      const s = Math.round((performance.now() - beganMs) / 1000)
      if (done % 10 === 0)
        console.log(`${done * size} scenarios, ${total.recipients} recipients, ${failed.length} worlds failed, ${s} s`)
    }
  }
  const children = Array.from({ length: Math.min(Number(values.jobs), worlds) }, () =>
    fork(import.meta.filename, ['--world', values.world]),
  )
  await Promise.all(children.map(work))
  for (const child of children) child.kill()
  const seconds = Math.round((performance.now() - beganMs) / 1000)
  const virtualDays = Math.round(total.virtualHours / 24)
  console.log(
    `${worlds * size} scenarios: ${total.recipients} recipients, ${total.crashes} crashes, ${virtualDays} days of the clock, ` +
      `${total.copies} copies at hosts of which ${total.doubled} were a second or third; ${failed.length} worlds failed; ${seconds} s`,
  )
  if (values.json)
    console.log(
      JSON.stringify({
        ...{
          scenarios: worlds * size,
          seed,
          recipients: total.recipients,
          states,
          crashes: total.crashes,
          virtualDays,
        },
        ...{ copies: total.copies, second: total.doubled, failedSeeds: failed.map((one) => one.seed), seconds },
      }),
    )
  process.exitCode = failed.length > 0 ? 1 : 0
}

function ask(child: ChildProcess, n: number): Promise<Played> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`the process of seed ${n} ended with ${code}`))
    child.once('exit', ended)
    child.once('message', (played) => {
      child.removeListener('exit', ended)
      resolve(played as Played)
    })
    child.send(n)
  })
}

async function shrink(): Promise<void> {
  const result = await fc.check(
    fc.asyncProperty(worldPlan(size), async (plan) => {
      const wrong = broken(await ScenarioWorld.play(plan))
      console.log(`${plan.scenarios.length} scenarios, ${plan.crashes.length} crashes: ${wrong.length} wrong`)
      if (wrong.length > 0) throw new Error(wrong.join('\n'))
    }),
    { seed, numRuns: 1, interruptAfterTimeLimit: 600_000, markInterruptAsFailure: false },
  )
  if (!result.failed)
    console.log('it did not fail this time: what a scenario does between hosts also hangs on the machine')
  else console.log(`${JSON.stringify(result.counterexample, null, 1)}\n${String(result.errorInstance)}`)
}
