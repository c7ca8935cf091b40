import { isDeepStrictEqual } from 'node:util'
import type { Config } from './schema.ts'
import { leaves } from './schema-node.ts'

export type ConfigChange = {
  /** Dotted keys whose value differs. */
  readonly changed: readonly string[]
  /** Those of them that a reload cannot change. */
  readonly restart: readonly string[]
}

/** What a reload would change, and what of it waits for the next start. */
export function diffConfig(before: Config, after: Config): ConfigChange {
  const different = leaves().filter(([key]) => !isDeepStrictEqual(valueAt(before, key), valueAt(after, key)))
  return {
    changed: different.map(([key]) => key),
    restart: different.filter(([, node]) => node.live !== true).map(([key]) => key),
  }
}

/** The value of a dotted key. */
export function valueAt(config: Config, key: string): unknown {
  return key.split('.').reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], config)
}
