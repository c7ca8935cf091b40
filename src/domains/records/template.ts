import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'smol-toml'
import { EX, Fault, messageOf } from '#base'

/** How a record is compared with what the DNS has. */
export const CHECKS = [
  'mx',
  'spf',
  'dkim',
  'dmarc',
  'report-authorisation',
  'address',
  'ptr',
  'leads-here',
  'tls-rpt',
  'mta-sts',
] as const
export type Check = (typeof CHECKS)[number]
/** `required`: the domain is not ready without it. `recommended`: told. `optional`: shown, checked only where it stands. */
export const NEEDS = ['required', 'recommended', 'optional'] as const
export type Need = (typeof NEEDS)[number]
export const RECORD_TYPES = ['A', 'AAAA', 'MX', 'TXT', 'CNAME', 'PTR'] as const
export type WantedType = (typeof RECORD_TYPES)[number]

/** What a template is written out for, with the words it may use besides those of the domain. */
export const EACH = {
  domain: [],
  key: ['selector', 'key_value', 'algorithm', 'key_state'],
  host: ['host'],
  'host-without-address': ['host'],
  ipv4: ['host', 'address'],
  ipv6: ['host', 'address'],
  address: ['host', 'address', 'reverse'],
} as const
export type Each = keyof typeof EACH
/** Words of every template. */
export const WORDS = [
  'domain',
  'bounce_host',
  'hostname',
  'spf_terms',
  'report_address',
  'report_domain',
  'report_elsewhere',
  'link_host',
  'policy_id',
] as const

export type Template = {
  readonly id: string
  readonly each: Each
  /** A word that must not be empty. */
  readonly when: string
  /** A word that must be empty. */
  readonly unless: string
  readonly name: string
  readonly type: WantedType
  readonly value: string
  readonly check: Check
  readonly need: Need
  /** Who can set it: the owner of the zone, or the hoster of the address. */
  readonly by: 'you' | 'hoster'
  readonly why: string
}

/** Shipped with Relevo. */
const DIRECTORY = join(import.meta.dirname, '../../../dns-templates')

/**
 * Reads every `*.toml` of a directory.
 * @throws Fault `bad-dns-template` that names the file, the record and the key
 */
export function loadTemplates(directory = DIRECTORY): readonly Template[] {
  const files = readdirSync(directory)
    .filter((name) => name.endsWith('.toml'))
    .sort()
  return files.flatMap((name) => readTemplates(readFileSync(join(directory, name), 'utf8'), join(directory, name)))
}

/** @param from the file, for errors */
export function readTemplates(text: string, from: string): readonly Template[] {
  let table: Readonly<Record<string, unknown>>
  try {
    table = parse(text)
  } catch (error) {
    throw bad(from, messageOf(error).split('\n', 1)[0]!)
  }
  const { record: records, ...rest } = table
  const [odd] = Object.keys(rest)
  if (odd !== undefined) throw bad(from, `${odd} is not known; a template file has [[record]] only`)
  if (!Array.isArray(records)) throw bad(from, 'it has no [[record]]')
  return records.map((one: unknown, i) => template(Object(one) as Record<string, unknown>, `${from}, record ${i + 1}`))
}

function template(given: Readonly<Record<string, unknown>>, from: string): Template {
  const word = (key: string, fallback?: string): string => {
    const value = given[key] ?? fallback
    if (typeof value === 'string') return value
    throw bad(from, value === undefined ? `${key} is missing` : `${key} is not a text`)
  }
  const one = <const T extends string>(key: string, allowed: readonly T[], fallback?: T): T => {
    const value = word(key, fallback)
    if (allowed.includes(value as T)) return value as T
    throw bad(from, `${key} is ${JSON.stringify(value)}; allowed is ${allowed.join(', ')}`)
  }
  const read: Template = {
    id: word('id'),
    each: one('each', Object.keys(EACH) as Each[], 'domain'),
    when: word('when', ''),
    unless: word('unless', ''),
    name: word('name'),
    type: one('type', RECORD_TYPES),
    value: word('value'),
    check: one('check', CHECKS),
    need: one('need', NEEDS),
    by: one('by', ['you', 'hoster'], 'you'),
    why: word('why'),
  }
  for (const key of Object.keys(given)) if (!Object.hasOwn(read, key)) throw bad(from, `${key} is not known`)
  const known = new Set<string>([...WORDS, ...EACH[read.each]])
  for (const condition of [read.when, read.unless])
    if (condition !== '' && !known.has(condition)) throw bad(from, `${condition} is not a word of templates`)
  for (const key of ['id', 'name', 'value', 'why'] as const)
    for (const [, used = ''] of read[key].matchAll(/\{([^{}]*)\}/g))
      if (!known.has(used)) throw bad(from, `{${used}} in ${key} is not known; known are ${[...known].join(', ')}`)
  return read
}

function bad(from: string, what: string): Fault {
  return new Fault(`${from}: ${what}`, {
    code: 'bad-dns-template',
    remedy: 'Correct the template, or put the shipped one back.',
    exitCode: EX.CONFIG,
  })
}
