import { ConfigSchema, type Format } from './schema.ts'

/** One place of the schema, as far as this room walks it. */
export type SchemaNode = {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  readonly description?: string
  readonly default?: unknown
  /** What the sample shows where there is no default. */
  readonly examples?: readonly unknown[]
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly minItems?: number
  readonly unit?: string
  readonly format?: Format
  readonly live?: true
  readonly off?: true
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly items?: SchemaNode
}

export const ROOT = ConfigSchema as unknown as SchemaNode

/** Every key with a value of its own, dotted, in the order of the schema. */
export function leaves(): readonly (readonly [key: string, node: SchemaNode])[] {
  return Object.entries(ROOT.properties ?? {}).flatMap(([name, node]): (readonly [string, SchemaNode])[] =>
    node.type === 'object'
      ? Object.entries(node.properties ?? {}).map(([inner, leaf]) => [`${name}.${inner}`, leaf] as const)
      : [[name, node]],
  )
}

/** The place a dotted key names; undefined when there is none. */
export function nodeAt(key: string): SchemaNode | undefined {
  let node: SchemaNode | undefined = ROOT
  for (const part of key.split('.')) {
    if (node?.properties === undefined || !Object.hasOwn(node.properties, part)) return undefined
    node = node.properties[part]
  }
  return node
}

/** What a value there may be, with its unit, as a person would say it. */
export function allowed(node: SchemaNode): string {
  if (node.enum !== undefined) return node.enum.map((value) => JSON.stringify(value)).join(' or ')
  if (node.type === 'boolean') return 'true or false'
  if (node.type === 'integer' || node.type === 'number') {
    const kind = node.type === 'integer' ? 'a whole number' : 'a number'
    return [kind, range(node), node.unit].filter(Boolean).join(' ')
  }
  if (node.type === 'array') {
    if (node.items?.type === 'object') return `tables with ${Object.keys(node.items.properties ?? {}).join(' and ')}`
    const many = node.minItems === undefined ? 'a list' : `a list of at least ${node.minItems}`
    if (node.items?.type === 'number' || node.items?.type === 'integer')
      return `${many}, each ${allowed({ ...node.items, ...(node.unit === undefined ? {} : { unit: node.unit }) })}`
    return `${many} of texts${node.items?.format === undefined ? '' : `, each ${FORM[node.items.format]}`}`
  }
  if (node.type === 'object') return 'a section (a table)'
  const empty = node.default === '' || node.off === true ? ' or ""' : ''
  return node.format === undefined ? 'a text' : `${FORM[node.format]}${empty}`
}

/** The remedy's half of each format: what it looks like when it is right. */
const FORM: Readonly<Record<Format, string>> = {
  cidr: 'a network such as 10.0.0.0/8 or fd00::/8',
  cron: 'a cron expression of five fields such as "0 2 * * *"',
  'dns-server': 'an address such as 127.0.0.1, 127.0.0.1:5353 or [::1]:53',
  domain: 'a host name such as mail.example.com',
  ip: 'an IPv4 or IPv6 address',
  listen: 'address:port such as 127.0.0.1:25 or [::]:25',
  mailbox: 'a mail address such as postmaster@example.com',
  path: 'a path',
  'readable-file': 'a file that can be read',
  'secret-file': 'a file of mode 0600',
  'shared-secret-file': 'a file that others cannot read (mode 0600 or 0640)',
}

function range(node: SchemaNode): string {
  const top = node.maximum === undefined || node.maximum === Number.MAX_SAFE_INTEGER ? null : node.maximum
  if (node.minimum === undefined) return top === null ? '' : `up to ${top}`
  return top === null ? `from ${node.minimum}` : `from ${node.minimum} to ${top}`
}
