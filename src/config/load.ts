import { isAbsolute, resolve } from 'node:path'
import { checkFormat } from './check-format.ts'
import { checkShape } from './check-shape.ts'
import { checkTogether } from './check-together.ts'
import { ConfigFault, type Problem, shown } from './problem.ts'
import { type Files, readFiles } from './read-files.ts'
import { readEnvironment, readFlags } from './read-overrides.ts'
import type { Config, Format } from './schema.ts'
import { allowed, leaves } from './schema-node.ts'
import { Settings } from './settings.ts'

export type LoadOptions = Files & {
  readonly env?: Readonly<Record<string, string | undefined>>
  /** `section.key=value` each, as --set gives them. */
  readonly flags?: readonly string[]
  /** What relative paths in the environment and the flags are relative to. */
  readonly directory?: string
  /** False for a command that only wants to know where the daemon is: files named in the configuration are not opened. */
  readonly withFiles?: boolean
}

export type Loaded = {
  readonly config: Config
  /** The files read, in order; empty: embedded defaults, sandbox. */
  readonly files: readonly string[]
  /** Where a key was set, null for its default. */
  originOf(key: string): string | null
}

/**
 * Files < RELEVO__section__key < --set, checked whole.
 * @throws ConfigFault (EX.CONFIG) with every problem found
 */
export function load(options: LoadOptions = {}): Loaded {
  const problems: Problem[] = []
  const settings = new Settings()
  const directory = options.directory ?? '.'
  const files = readFiles(options, settings, problems)
  readEnvironment(options.env ?? {}, directory, settings)
  readFlags(options.flags ?? [], directory, settings, problems)
  // Behind a file that could not be read every further word would be about what it says.
  if (problems.length > 0) throw new ConfigFault(problems)

  const shape = checkShape(settings, problems)
  const config = shape.value as Config
  const wrong = new Set(shape.wrong)
  const where = (key: string): string | null => settings.placeOf(key)?.name ?? null
  const report = (field: string, message: string, remedy: string): void => {
    wrong.add(field)
    problems.push({ field, where: where(field) ?? files[0] ?? null, message, remedy })
  }
  if (files.length > 0 && !settings.values.has('mode'))
    report(
      'mode',
      'mode is missing; with a configuration file it must be said whether mail may leave',
      'Add mode = "sandbox" or mode = "live"',
    )

  absolutePaths(config, settings)
  checkFormats(config, wrong, report, options.withFiles !== false)
  checkTogether(config, {
    known: (...keys) =>
      keys.every(
        (key) => ![...wrong].some((bad) => bad === key || bad.startsWith(`${key}[`) || key.startsWith(`${bad}.`)),
      ),
    report,
    withFiles: options.withFiles !== false,
  })
  if (problems.length > 0) throw new ConfigFault(problems)
  return { config, files, originOf: (key) => settings.writtenAt(key) }
}

/** The configuration alone; see `load`. */
export function loadConfig(options: LoadOptions = {}): Config {
  return load(options).config
}

const FILE_FORMATS: readonly (Format | undefined)[] = ['path', 'readable-file', 'secret-file', 'shared-secret-file']

/** A relative path is relative to the file that says it, so that a configuration directory can be moved. */
function absolutePaths(config: Config, settings: Settings): void {
  for (const [key, node] of leaves()) {
    if (!FILE_FORMATS.includes(node.format)) continue
    const holder = holderOf(config, key)
    const path = holder.section[holder.name]
    const place = settings.placeOf(key)
    if (typeof path === 'string' && path !== '' && !isAbsolute(path) && place !== null)
      holder.section[holder.name] = resolve(place.directory, path)
  }
}

function checkFormats(
  config: Config,
  wrong: ReadonlySet<string>,
  report: (field: string, message: string, remedy: string) => void,
  withFiles: boolean,
): void {
  for (const [key, node] of leaves()) {
    const format = node.format ?? node.items?.format
    if (format === undefined || wrong.has(key)) continue
    const { section, name } = holderOf(config, key)
    const value = section[name]
    for (const text of Array.isArray(value) ? (value as string[]) : [value as string]) {
      if (text === '' && (node.default === '' || node.off === true)) continue
      const odd = checkFormat(format, text, withFiles)
      if (odd === null) continue
      report(key, `${key}: ${shown(text)} ${odd}`, remedyFor(format, text, allowed(node.items ?? node)))
      break
    }
  }
}

function remedyFor(format: Format, path: string, wanted: string): string {
  if (format === 'secret-file') return `Run: chmod 600 ${path} (it must exist and belong to the user Relevo runs as)`
  if (format === 'shared-secret-file')
    return `Run: chmod 640 ${path} (it must exist, and the user Relevo runs as must read it)`
  if (format === 'readable-file') return 'Name a file that the user Relevo runs as can read'
  return `Write ${wanted}`
}

/** The section a leaf lies in, and its name there. */
function holderOf(config: Config, key: string): { section: Record<string, unknown>; name: string } {
  const [first = '', second] = key.split('.')
  const top = config as unknown as Record<string, unknown>
  return second === undefined
    ? { section: top, name: first }
    : { section: top[first] as Record<string, unknown>, name: second }
}
