// CWE-248, CWE-400, CWE-1333: whatever a stranger writes into an address, a header, a message, a report or a reply, nothing
// throws, what must hold holds, and it costs milliseconds. The long form is scripts/prove/fuzz.ts.
import t from 'tap'
import { fuzz } from '../../scripts/prove/fuzz/run.ts'
import { openTargets } from '../../scripts/prove/fuzz/targets.ts'

const INPUTS = 30_000
const seed = Math.floor(Math.random() * 1e9)

await t.test(`${INPUTS} changed inputs (seed ${seed})`, async (t) => {
  const figures = await fuzz(await openTargets(), { inputs: INPUTS, seed, boundMs: 100 })
  t.strictSame(figures.failures, [])
  t.strictSame(figures.slow, [], `longest ${JSON.stringify(figures.slowestMs)}`)
})
