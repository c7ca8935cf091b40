// Gives changed mail, addresses, commands, reports and replies to everything that reads bytes of strangers, and random
// sessions to the SMTP listener: nothing throws, nothing that must hold is broken, no input takes longer than 100 ms.
import { optionsOf } from './crash/options.ts'
import { fuzz } from './fuzz/run.ts'
import { openTargets } from './fuzz/targets.ts'

const BOUND_MS = 100
const options = optionsOf('fuzz.ts', 'changed inputs for every reader of hostile bytes; the seed repeats a run', {
  inputs: [1_000_000, 'inputs, shared out among the readers'],
})
const targets = await openTargets()
const began = performance.now()
let toldMs = 0
const figures = await fuzz(targets, {
  inputs: options.inputs,
  seed: options.seed,
  boundMs: BOUND_MS,
  progress(now) {
    if (options.json || performance.now() - toldMs < 5000) return
    toldMs = performance.now()
    console.log(
      `${now.inputs} of ${options.inputs}, ${now.failures.length} failures, ${now.slow.length} over ${BOUND_MS} ms`,
    )
  },
})
const seconds = (performance.now() - began) / 1000
for (const failure of figures.failures) console.error(`${failure.target}: ${failure.error}\n  ${failure.input}`)
for (const slow of figures.slow) console.error(`${slow.target}: ${slow.ms.toFixed(0)} ms\n  ${slow.input}`)
console.log(
  JSON.stringify({
    ...{ seed: options.seed, inputs: figures.inputs, seconds: Number(seconds.toFixed(1)) },
    ...{ failures: figures.failures.length, over100Ms: figures.slow.length, slowestMs: figures.slowestMs },
  }),
)
process.exitCode = figures.failures.length + figures.slow.length === 0 ? 0 : 1
