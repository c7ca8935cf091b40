import { EX, Fault, messageOf } from '#base'
import { type Args, readArgs } from './args.ts'
import { clean, Output } from './output.ts'
import { type Command, type Invocation, type Io, isGroup, type Verb } from './verb.ts'
import { VERBS } from './verbs.ts'

export type { Io } from './verb.ts'

/** Runs one command line; answers with the exit code (sysexits). Never throws. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(argv, io)
  } catch (error) {
    return complain(error, io, argv.includes('--json'))
  }
}

async function dispatch(argv: readonly string[], io: Io): Promise<number> {
  const [name, ...rest] = argv
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') return await help(rest, io)
  if (name === '--version' || name === '-V') return await dispatch(['version', ...rest], io)
  const verb = await find(name)
  if (!isGroup(verb)) return await runCommand(name, verb, rest, io)
  const [inner, ...more] = rest
  if (inner === undefined || inner === '--help' || inner === '-h') {
    const { helpOf } = await import('./help.ts')
    ;(inner === undefined ? io.stderr : io.stdout).write(helpOf(name, verb))
    return inner === undefined ? EX.USAGE : EX.OK
  }
  const command = Object.hasOwn(verb.commands, inner) ? verb.commands[inner] : undefined
  if (command === undefined) throw await unknown(`${name} ${inner}`, inner, Object.keys(verb.commands), `${name} `)
  return await runCommand(`${name} ${inner}`, command, more, io)
}

async function help(rest: readonly string[], io: Io): Promise<number> {
  const { helpOf, helpOfAll } = await import('./help.ts')
  const [name] = rest
  io.stdout.write(name === undefined || name.startsWith('-') ? helpOfAll() : helpOf(name, await find(name)))
  return EX.OK
}

async function find(name: string): Promise<Verb> {
  const found = VERBS.find((one) => one.name === name)
  if (found !== undefined) return await found.load()
  throw await unknown(
    name,
    name,
    VERBS.map((one) => one.name),
    '',
  )
}

async function unknown(shown: string, name: string, names: readonly string[], before: string): Promise<Fault> {
  const { nearest } = await import('#config')
  const near = nearest(name, names)
  return new Fault(`there is no command relevo ${shown}`, {
    code: 'usage',
    exitCode: EX.USAGE,
    remedy: near === null ? `See: relevo ${before}--help` : `Did you mean relevo ${before}${near}?`,
  })
}

async function runCommand(name: string, command: Command, argv: readonly string[], io: Io): Promise<number> {
  const args = readArgs(argv, name, command)
  if (args.flag('help')) {
    const { helpOf } = await import('./help.ts')
    io.stdout.write(helpOf(name, command))
    return EX.OK
  }
  const json = args.flag('json')
  return (await command.run({ args, io, json, out: new Output(io, json), ...lazily(args, io) })) ?? EX.OK
}

function lazily(args: Args, io: Io): Pick<Invocation, 'config' | 'api'> {
  return {
    async config() {
      const { loadFor } = await import('./load-config.ts')
      return (await loadFor(args, io, true)).config
    },
    async api() {
      const { connect } = await import('./load-config.ts')
      return await connect(args, io)
    },
  }
}

/** One clear line on standard error, with what to do; with --json also `{"error":…}` on standard output. */
function complain(error: unknown, io: Io, json: boolean): number {
  const fault =
    error instanceof Fault
      ? error
      : new Fault(`this is a bug in Relevo: ${messageOf(error)}`, {
          code: 'internal-error',
          exitCode: EX.SOFTWARE,
          remedy: 'Run it again with RELEVO_DEBUG=1 and report what it prints',
          cause: error,
        })
  const message = fault.message.split('\n').map(clean).join('\n')
  const remedy = fault.remedy === undefined ? '' : clean(fault.remedy).replace(/\.$/, '')
  io.stderr.write(`relevo: ${message}${remedy === '' ? '' : `${message.includes('\n') ? '\n' : '. '}${remedy}`}\n`)
  if (!(error instanceof Fault) && io.env.RELEVO_DEBUG !== undefined && error instanceof Error)
    io.stderr.write(`${error.stack}\n`)
  if (json) {
    const { code, field } = fault
    const told = {
      code,
      message: fault.message,
      ...(field === undefined ? {} : { field }),
      ...(remedy === '' ? {} : { remedy }),
    }
    io.stdout.write(`${JSON.stringify({ error: told })}\n`)
  }
  return fault.exitCode
}
