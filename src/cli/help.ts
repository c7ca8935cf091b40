import { GLOBAL } from './args.ts'
import { type Command, type Group, isGroup, type Option, type Verb } from './verb.ts'
import { VERBS } from './verbs.ts'

/** `relevo --help`. */
export function helpOfAll(): string {
  return `Relevo keeps, signs and delivers mail, and learns from what comes back.

usage: relevo VERB [OPTION...]

${columns(VERBS.map((entry) => [entry.name, entry.summary]))}

relevo VERB --help tells more of each. Every verb knows --json.
`
}

/** `relevo VERB --help`, `relevo VERB COMMAND --help`. */
export function helpOf(name: string, verb: Verb): string {
  return isGroup(verb) ? helpOfGroup(name, verb) : helpOfCommand(name, verb)
}

function helpOfGroup(name: string, group: Group): string {
  const lines = Object.entries(group.commands).map(
    ([inner, command]) => [[inner, command.operands].filter(Boolean).join(' '), command.summary] as const,
  )
  return `${group.summary}

usage: relevo ${name} COMMAND [OPTION...]

${columns(lines)}

relevo ${name} COMMAND --help tells more of each.
`
}

function helpOfCommand(name: string, command: Command): string {
  const own = Object.entries(command.options ?? {})
  const parts = [
    command.summary,
    `usage: relevo ${[name, command.operands].filter(Boolean).join(' ')} [OPTION...]`,
    ...(command.help === undefined ? [] : [command.help.trim()]),
    ...(own.length === 0 ? [] : [columns(own.map(line))]),
    columns(Object.entries(GLOBAL).map(line)),
  ]
  return `${parts.join('\n\n')}\n`
}

function line([name, option]: readonly [string, Option]): readonly [string, string] {
  const short = option.short === undefined ? '' : `-${option.short}, `
  const value = option.type === 'string' ? ` ${option.value ?? 'TEXT'}` : ''
  return [`${short}--${name}${value}`, `${option.help}${option.multiple === undefined ? '' : ' (may be repeated)'}`]
}

function columns(lines: readonly (readonly [string, string])[]): string {
  const width = Math.max(...lines.map(([left]) => left.length)) + 2
  return lines.map(([left, right]) => `  ${left.padEnd(width)}${right}`).join('\n')
}
