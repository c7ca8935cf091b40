import { EX, Fault } from '#base'
import { nearest } from './nearest.ts'
import { allowed, leaves, nodeAt, ROOT } from './schema-node.ts'

export type Explanation = {
  readonly key: string
  readonly description: string
  /** What a value may be, with its unit. */
  readonly allowed: string
  readonly default: unknown
  /** A reload (HUP) is enough for a change. */
  readonly live: boolean
  /** Name of the environment variable that sets it. */
  readonly env: string
  /** The keys below, when it is a section. */
  readonly keys: readonly string[]
}

/** What a key means. @throws Fault naming the nearest key when there is no such one */
export function explain(key: string): Explanation {
  const node = key === '' ? undefined : nodeAt(key)
  if (node === undefined) {
    const names = [...Object.keys(ROOT.properties ?? {}), ...leaves().map(([name]) => name)]
    const near = nearest(key, names) ?? named(names, nearest(key.split('.').at(-1)!, names.map(lastPart)))
    throw new Fault(`${JSON.stringify(key)} is not a key of the configuration`, {
      code: 'unknown-key',
      field: key,
      exitCode: EX.USAGE,
      remedy: near === null ? 'See all of them with: relevo config sample' : `Did you mean ${near}?`,
    })
  }
  const section = node.type === 'object'
  return {
    key,
    description: node.description ?? '',
    allowed: allowed(node),
    default: section ? null : node.default,
    live: node.live === true,
    env: `RELEVO__${key.replaceAll('.', '__')}`,
    keys: section ? Object.keys(node.properties ?? {}).map((name) => `${key}.${name}`) : [],
  }
}

function lastPart(key: string): string {
  return key.slice(key.lastIndexOf('.') + 1)
}

function named(keys: readonly string[], last: string | null): string | null {
  return keys.find((key) => lastPart(key) === last) ?? null
}
