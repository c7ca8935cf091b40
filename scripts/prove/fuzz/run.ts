import { randomFrom } from '../crash/options.ts'
import { mutate } from './mutate.ts'
import type { Target } from './targets.ts'

export type Figures = {
  inputs: number
  failures: { readonly target: string; readonly error: string; readonly input: string }[]
  /** Inputs that took longer than the bound each of three times. */
  slow: { readonly target: string; readonly ms: number; readonly input: string }[]
  slowestMs: Record<string, number>
}

/** Gives `inputs` changed seeds to the targets in turn. */
export async function fuzz(
  targets: readonly Target[],
  options: {
    readonly inputs: number
    readonly seed: number
    readonly boundMs: number
    progress?(figures: Figures): void
  },
): Promise<Figures> {
  const random = randomFrom(options.seed)
  const figures: Figures = { inputs: 0, failures: [], slow: [], slowestMs: {} }
  for (const target of targets) figures.slowestMs[target.name] = 0
  while (figures.inputs < options.inputs) {
    const target = targets[figures.inputs % targets.length]!
    const seed = target.seeds[Math.floor(random() * target.seeds.length)]!
    const input = mutate(seed, target.seeds, random)
    figures.inputs += 1
    let ms = await timed(target, input, figures)
    // A pause of the machine is not the reader's: the shortest of three counts.
    for (let i = 0; i < 2 && ms > options.boundMs; i++) ms = Math.min(ms, await timed(target, input, figures))
    if (ms > figures.slowestMs[target.name]!) figures.slowestMs[target.name] = Number(ms.toFixed(2))
    if (ms > options.boundMs) figures.slow.push({ target: target.name, ms, input: shown(input) })
    if (figures.inputs % 1000 === 0) {
      options.progress?.(figures)
      await new Promise(setImmediate)
    }
  }
  return figures
}

async function timed(target: Target, input: Buffer, figures: Figures): Promise<number> {
  const began = performance.now()
  try {
    const done = target.run(input)
    if (done !== undefined) await done
  } catch (error) {
    if (figures.failures.length < 20)
      figures.failures.push({ target: target.name, error: String(error).slice(0, 300), input: shown(input) })
  }
  return performance.now() - began
}

function shown(input: Buffer): string {
  return input.subarray(0, 4000).toString('base64')
}
