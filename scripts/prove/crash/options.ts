import { parseArgs } from 'node:util'

type Numbers = Readonly<Record<string, readonly [value: number, what: string]>>

export type Options<T> = { readonly [K in keyof T]: number } & {
  readonly json: boolean
  readonly seed: number
  readonly random: () => number
  /** True after INT: the run ends here and says what it saw so far. */
  readonly interrupted: () => boolean
}

/**
 * Options of a prove command: all are numbers, each with its default and a word on it; `--help` and `--json` (nothing but
 * one last line of JSON) are always there, and `--seed`, which is printed, so that the same choices can be made again. INT once ends a run early with its result, twice at once.
 */
export function optionsOf<const T extends Numbers>(name: string, what: string, numbers: T): Options<T> {
  const spec = { ...numbers, seed: [Math.floor(Math.random() * 1e9), 'of all random choices; printed'] } as Numbers
  const { values } = parseArgs({
    options: {
      ...Object.fromEntries(Object.keys(spec).map((key) => [key, { type: 'string' as const }])),
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  }) as { values: Record<string, string | boolean | undefined> }
  if (values.help === true) {
    console.log(`scripts/prove/${name}: ${what}\n`)
    for (const [key, [value, meaning]] of Object.entries(spec))
      console.log(`  --${key.padEnd(12)} ${meaning}${key === 'seed' ? '' : ` (default ${value})`}`)
    console.log(`  --${'json'.padEnd(12)} no progress, only the last line of JSON`)
    process.exit(0)
  }
  const read: Record<string, number> = {}
  for (const [key, [value]] of Object.entries(spec)) {
    read[key] = values[key] === undefined ? value : Number(values[key])
    if (!Number.isFinite(read[key])) {
      console.error(`scripts/prove/${name}: --${key} takes a number`)
      process.exit(64)
    }
  }
  const json = values.json === true
  if (!json) console.log(`seed ${read.seed}`)
  let interrupted = false
  process.once('SIGINT', () => {
    interrupted = true
  })
  return { ...read, json, random: randomFrom(read.seed!), interrupted: () => interrupted } as Options<T>
}

/** A small generator of numbers in [0, 1): mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
