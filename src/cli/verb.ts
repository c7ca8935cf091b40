import type { Readable, Writable } from 'node:stream'
import type { ManagedProcess } from '#base'
import type { Config } from '#config'
import type { Args } from './args.ts'
import type { LocalApi } from './local-api.ts'
import type { Output } from './output.ts'

/** The process as the command line sees it; main.ts gives the real one. */
export type Io = ManagedProcess & {
  readonly cwd: string
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number }
  readonly stderr: Writable
  /** From here on INT and TERM abort the signal instead of ending the process. */
  catchSignals(): AbortSignal
  /** Calls the listener at each HUP, which otherwise ends the process. */
  onHangup(listener: () => void): void
}

export type Option = {
  readonly type: 'string' | 'boolean'
  readonly multiple?: true
  readonly short?: string
  /** What stands for the value in --help, such as FILE. */
  readonly value?: string
  readonly help: string
}

/** What a command is given when it runs. */
export type Invocation = {
  readonly args: Args
  readonly out: Output
  readonly io: Io
  readonly json: boolean
  /** The configuration, read and checked at the first call; --config, RELEVO_CONFIG and --set are heeded. */
  config(): Promise<Config>
  /** The daemon's local API; --socket and RELEVO_SOCKET come before the configuration. */
  api(): Promise<LocalApi>
}

/** A command of its own, or one of a group. */
export type Command = {
  /** One line, no full stop. */
  readonly summary: string
  /** Operands after the name, such as `ID...`. */
  readonly operands?: string
  /** The words after the name are operands as they stand: the command reads its options itself, by rules not ours. */
  readonly raw?: true
  /** How many operands: [least, most]. Default: none. */
  readonly count?: readonly [number, number]
  readonly options?: Readonly<Record<string, Option>>
  /** Further text of --help. */
  readonly help?: string
  /** Answers with the exit code, nothing for 0. @throws Fault */
  run(invocation: Invocation): Promise<number | undefined>
}

/** A verb with commands under it: `relevo queue list`. */
export type Group = { readonly summary: string; readonly commands: Readonly<Record<string, Command>> }

export type Verb = Command | Group

export function isGroup(verb: Verb): verb is Group {
  return 'commands' in verb
}
