import { ROOT, type SchemaNode } from './schema-node.ts'

/** The schema as JSON Schema 2020-12, for editors: every key may be left out that has a default. */
export function jsonSchema(): Record<string, unknown> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Relevo configuration',
    ...plain(ROOT),
    required: ['mode'],
  }
}

function plain(node: SchemaNode): Record<string, unknown> {
  const { properties, items, ...rest } = node as SchemaNode & { required?: unknown }
  const copy: Record<string, unknown> = { ...rest }
  delete copy.required
  if (items !== undefined) copy.items = plain(items)
  if (properties === undefined) return copy
  const needed = Object.keys(properties).filter((name) => properties[name]!.default === undefined)
  return {
    ...copy,
    additionalProperties: false,
    ...(needed.length === 0 ? {} : { required: needed }),
    properties: Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, plain(inner)])),
  }
}
