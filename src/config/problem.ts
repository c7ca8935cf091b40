import { EX, Fault } from '#base'

/** One thing wrong with the configuration. */
export type Problem = {
  /** Dotted key, `''` when it concerns a whole file. */
  readonly field: string
  /** Where it was written: `relevo.toml:12`, `RELEVO__log__level`, `--set log.level`, or null for a default. */
  readonly where: string | null
  /** What was found and what is allowed, without the place. */
  readonly message: string
  readonly remedy: string
}

/** Everything wrong with the configuration, told at once. */
export class ConfigFault extends Fault {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    const [first] = problems
    const lines = problems.map(lineOf)
    super(
      problems.length === 1
        ? lineOf(first!)
        : `${problems.length} errors in the configuration\n${lines.map((line, i) => `  ${line}. ${problems[i]!.remedy}`).join('\n')}`,
      {
        code: 'bad-config',
        exitCode: EX.CONFIG,
        field: first!.field,
        remedy: problems.length === 1 ? first!.remedy : 'Correct them, then run: relevo config check',
      },
    )
    this.problems = problems
  }
}

function lineOf(problem: Problem): string {
  return problem.where === null ? problem.message : `${problem.where}: ${problem.message}`
}

/** A value as it is shown in an error: short, on one line, without control characters. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return short(JSON.stringify(value))
  if (value instanceof Date) return 'a date'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : short(JSON.stringify(value))
  if (typeof value === 'object' && value !== null) return 'a table'
  return String(value)
}

function short(json: string): string {
  return json.length <= 80 ? json : `${json.slice(0, 77)}...`
}
