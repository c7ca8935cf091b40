import { parse } from 'smol-toml'
import type { Problem } from './problem.ts'
import { nodeAt, type SchemaNode } from './schema-node.ts'
import type { Place, Settings } from './settings.ts'

const PREFIX = 'RELEVO__'

/** `RELEVO__section__key=value` from the environment over the files; names in either case. */
export function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  directory: string,
  settings: Settings,
): void {
  for (const name of Object.keys(env).sort()) {
    const value = env[name]
    if (!name.startsWith(PREFIX) || value === undefined) continue
    put(name.slice(PREFIX.length).toLowerCase().split('__'), value, { name, directory }, settings)
  }
}

/** `section.key=value` from --set over everything. */
export function readFlags(flags: readonly string[], directory: string, settings: Settings, problems: Problem[]): void {
  for (const flag of flags) {
    const end = flag.indexOf('=')
    if (end <= 0) {
      problems.push({
        field: '',
        where: `--set ${flag}`,
        message: 'there is no value',
        remedy: 'Write it as --set section.key=value',
      })
      continue
    }
    const key = flag.slice(0, end).trim()
    put(key.split('.'), flag.slice(end + 1), { name: `--set ${key}`, directory }, settings)
  }
}

function put(path: readonly string[], value: string, place: Place, settings: Settings): void {
  settings.set(path, typed(value, nodeAt(path.join('.'))), place)
}

/** The text as the value the schema wants there; what does not read as such stays a text and fails the check. */
function typed(value: string, node: SchemaNode | undefined): unknown {
  if (node === undefined) return value
  if (node.type === 'boolean') return value === 'true' ? true : value === 'false' ? false : value
  if (node.type === 'integer' || node.type === 'number')
    return /^[+-]?\d[\d_]*(\.\d+)?$/.test(value.trim()) ? Number(value.trim().replaceAll('_', '')) : value
  if (node.type !== 'array') return value
  if (value.trim() === '') return []
  if (value.trim().startsWith('[')) {
    try {
      return parse(`value = ${value}`).value
    } catch {
      return value
    }
  }
  const parts = value.split(',').map((part) => part.trim())
  return node.items === undefined ? parts : parts.map((part) => typed(part, node.items))
}
