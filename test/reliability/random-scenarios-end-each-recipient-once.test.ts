import fc from 'fast-check'
import t from 'tap'
import { worldPlan } from './scenario-plan.ts'
import { broken } from './scenario-rules.ts'
import { ScenarioWorld } from './scenario-world.ts'

const WORLDS = 2
const SCENARIOS = 30

void t.test(
  `I-04 … I-09, I-31: ${WORLDS * SCENARIOS} random scenarios of mail, hosts, names, people and crashes`,
  async (t) => {
    t.setTimeout(150_000)
    let recipients = 0
    let copies = 0
    const states = new Set<string>()
    await fc.assert(
      fc.asyncProperty(worldPlan(SCENARIOS), async (plan) => {
        const after = await ScenarioWorld.play(plan)
        const wrong = broken(after)
        if (wrong.length > 0) throw new Error(wrong.slice(0, 10).join('\n'))
        recipients += after.recipients.length
        copies += after.copies.length
        for (const { state } of after.recipients) states.add(state)
      }),
      // A smaller example is looked for by scripts/prove/scenarios.ts --shrink: it takes its time.
      { numRuns: WORLDS, endOnFailure: true },
    )
    t.comment(`${recipients} recipients, ${copies} copies at hosts, ends: ${[...states].sort().join(', ')}`)
    t.ok(recipients > SCENARIOS && states.size >= 3, 'the scenarios had something in them')
  },
)
