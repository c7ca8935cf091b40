import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { EX, Fault, messageOf } from '#base'
import type { Command, Option } from './verb.ts'

/** What every command understands. */
export const GLOBAL: Readonly<Record<string, Option>> = {
  help: { type: 'boolean', short: 'h', help: 'show this help' },
  json: { type: 'boolean', help: 'print JSON, one object a line' },
  config: {
    type: 'string',
    short: 'c',
    value: 'FILE',
    help: 'the configuration file (default: /etc/relevo/relevo.toml)',
  },
  set: { type: 'string', multiple: true, value: 'KEY=VALUE', help: 'change a key of the configuration' },
  socket: { type: 'string', value: 'PATH', help: 'the socket of the running daemon' },
}

/** The options and operands of one call. Every getter names the option in its error. */
export class Args {
  readonly operands: readonly string[]
  readonly #values: Readonly<Record<string, unknown>>

  constructor(operands: readonly string[], values: Readonly<Record<string, unknown>>) {
    this.operands = operands
    this.#values = values
  }

  text(name: string): string | undefined {
    const value = this.#values[name]
    return typeof value === 'string' ? value : undefined
  }

  need(name: string): string {
    const value = this.text(name)
    if (value !== undefined && value !== '') return value
    throw usage(`--${name} is missing`, `--${name}`)
  }

  flag(name: string): boolean {
    return this.#values[name] === true
  }

  /** All values of a repeated option; commas separate too. */
  list(name: string): readonly string[] {
    return this.texts(name).flatMap((value) =>
      value
        .split(',')
        .map((part) => part.trim())
        .filter(Boolean),
    )
  }

  /** All values of a repeated option, as given. */
  texts(name: string): readonly string[] {
    const value = this.#values[name]
    return Array.isArray(value) ? (value as string[]) : typeof value === 'string' ? [value] : []
  }

  whole(name: string, minimum = 0, maximum = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN
    if (number >= minimum && number <= maximum) return number
    throw usage(
      `--${name} is ${JSON.stringify(value)}; allowed is a whole number from ${minimum} to ${maximum}`,
      `--${name}`,
    )
  }

  /** One of the given words. */
  choice<const T extends string>(name: string, words: readonly T[]): T | undefined {
    const value = this.text(name)
    if (value === undefined || words.includes(value as T)) return value as T | undefined
    throw usage(`--${name} is ${JSON.stringify(value)}; allowed is ${words.join(', ')}`, `--${name}`)
  }
}

/** Reads what follows the verb. @throws Fault (EX.USAGE) */
export function readArgs(argv: readonly string[], name: string, command: Command): Args {
  if (command.raw) return new Args(argv, { help: argv.includes('--help'), json: argv.includes('--json') })
  const options: ParseArgsOptionsConfig = {}
  for (const [key, option] of Object.entries({ ...GLOBAL, ...command.options }))
    options[key] = {
      type: option.type,
      ...(option.multiple === undefined ? {} : { multiple: true }),
      ...(option.short === undefined ? {} : { short: option.short }),
    }
  let parsed: { values: Record<string, unknown>; positionals: string[] }
  try {
    parsed = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true })
  } catch (error) {
    throw usage(messageOf(error).split('. ', 1)[0]!, undefined, name)
  }
  const args = new Args(parsed.positionals, parsed.values)
  if (args.flag('help')) return args
  const [least, most] = command.count ?? [0, 0]
  if (args.operands.length < least) throw usage(`${command.operands ?? 'an operand'} is missing`, undefined, name)
  if (args.operands.length > most)
    throw usage(`${JSON.stringify(args.operands[most])} is one operand too many`, undefined, name)
  return args
}

/** A call that cannot be meant. */
export function usage(message: string, field?: string, name?: string): Fault {
  return new Fault(message, {
    code: 'usage',
    exitCode: EX.USAGE,
    remedy: name === undefined ? 'See the command with --help' : `See: relevo ${name} --help`,
    ...(field === undefined ? {} : { field }),
  })
}
