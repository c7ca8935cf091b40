import { nearest } from './nearest.ts'
import { type Problem, shown } from './problem.ts'
import { allowed, leaves, ROOT, type SchemaNode } from './schema-node.ts'
import { isTable, type Settings } from './settings.ts'

export type Shape = {
  /** Every key of the schema; where a value was wrong its default stands. */
  readonly value: Record<string, unknown>
  /** Dotted keys that had a problem: nothing further is said about them. */
  readonly wrong: ReadonlySet<string>
}

/** Holds the settings against the schema: unknown keys, wrong types, values out of range. */
export function checkShape(settings: Settings, problems: Problem[]): Shape {
  const wrong = new Set<string>()
  const report = (field: string, message: string, remedy: string): void => {
    wrong.add(field)
    problems.push({ field, where: settings.placeOf(field)?.name ?? null, message, remedy })
  }

  function object(node: SchemaNode, given: ReadonlyMap<string, unknown>, at: string): Record<string, unknown> {
    const properties = node.properties ?? {}
    for (const name of given.keys())
      if (!Object.hasOwn(properties, name)) unknown(under(at, name), Object.keys(properties), at)
    return Object.fromEntries(
      Object.entries(properties).map(([name, inner]) => [name, value(inner, given.get(name), under(at, name))]),
    )
  }

  function unknown(field: string, siblings: readonly string[], at: string): void {
    const name = field.slice(at === '' ? 0 : at.length + 1)
    const near = nearest(name, siblings)
    // The right key in the wrong section is a common slip: look for the exact name elsewhere.
    const elsewhere = leaves().find(([key]) => key.endsWith(`.${name}`) || key === name)?.[0]
    const meant = elsewhere ?? (near === null ? null : under(at, near))
    report(
      field,
      `${field} is not a key of the configuration`,
      meant === null ? 'Remove it; all keys are in: relevo config sample' : `Did you mean ${meant}?`,
    )
  }

  function value(node: SchemaNode, given: unknown, at: string): unknown {
    if (node.type === 'object') {
      if (given === undefined || given instanceof Map) return object(node, given ?? new Map(), at)
      refuse(node, given, at)
      return object(node, new Map(), at)
    }
    if (given === undefined) return structuredClone(node.default)
    if (node.type === 'array' && Array.isArray(given) && given.length >= (node.minItems ?? 0))
      return node.items?.type === 'object' ? tables(node.items, given, at) : items(node, given, at)
    if (fits(node, given)) return given
    refuse(node, given, at)
    return structuredClone(node.default)
  }

  function refuse(node: SchemaNode, given: unknown, at: string): void {
    const found = given instanceof Map ? 'a section' : shown(given)
    report(at, `${at} is ${found}; allowed is ${allowed(node)}`, correction(node, at))
  }

  function items(node: SchemaNode, given: readonly unknown[], at: string): unknown {
    const odd = given.find((item) => !fits(node.items!, item))
    if (odd === undefined) return given
    report(at, `${at} contains ${shown(odd)}; allowed is ${allowed(node)}`, correction(node, at))
    return structuredClone(node.default)
  }

  function tables(node: SchemaNode, given: readonly unknown[], at: string): unknown[] {
    return given.flatMap((entry, i) => {
      const here = `${at}[${i}]`
      const names = Object.keys(node.properties ?? {})
      if (!isTable(entry)) {
        report(
          at,
          `${here} is ${shown(entry)}; allowed is a table with ${names.join(' and ')}`,
          `Write it as [[${at}]]`,
        )
        return []
      }
      const before = wrong.size
      for (const name of Object.keys(entry)) {
        if (names.includes(name)) continue
        const near = nearest(name, names)
        report(
          `${here}.${name}`,
          `${here}.${name} is not a key of the configuration`,
          near === null ? `Allowed are ${names.join(' and ')}` : `Did you mean ${here}.${near}?`,
        )
      }
      for (const name of names) {
        const inner = entry[name]
        if (inner === undefined && node.properties![name]!.default !== undefined) continue
        if (inner === undefined) report(`${here}.${name}`, `${here}.${name} is missing`, `Add ${name} to the table`)
        else if (!fits(node.properties![name]!, inner))
          report(
            `${here}.${name}`,
            `${here}.${name} is ${shown(inner)}; allowed is ${allowed(node.properties![name]!)}`,
            'Correct it',
          )
      }
      if (wrong.size > before) return []
      return [
        Object.fromEntries(
          names.map((name) => [name, entry[name] ?? structuredClone(node.properties![name]!.default)]),
        ),
      ]
    })
  }

  return { value: object(ROOT, settings.values, ''), wrong }
}

function fits(node: SchemaNode, given: unknown): boolean {
  if (node.enum !== undefined) return typeof given === 'string' && node.enum.includes(given)
  if (node.type === 'boolean') return typeof given === 'boolean'
  if (node.type === 'array')
    return (
      Array.isArray(given) && given.length >= (node.minItems ?? 0) && given.every((item) => fits(node.items!, item))
    )
  if (node.type === 'string') return typeof given === 'string' && given.length >= (node.minLength ?? 0)
  if (typeof given !== 'number' || !Number.isFinite(given)) return false
  if (node.type === 'integer' && !Number.isSafeInteger(given)) return false
  return given >= (node.minimum ?? -Infinity) && given <= (node.maximum ?? Infinity)
}

/** With a file the mode must be said; everything else may be left to its default. */
function correction(node: SchemaNode, at: string): string {
  if (at === 'mode') return 'Correct it'
  return node.type === 'object'
    ? 'Correct it, or remove it'
    : `Correct it, or remove it for the default (${shown(node.default)})`
}

function under(at: string, name: string): string {
  return at === '' ? name : `${at}.${name}`
}
