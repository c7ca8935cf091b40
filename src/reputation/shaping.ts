import { readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import { EX, Fault, messageOf } from '#base'
import type { Rate } from '#limits'

/** What one mailbox provider takes from one of our source addresses. */
export type ShapingRule = {
  readonly name: string
  readonly connections: number
  readonly messagesPerConnection: number
  readonly rate: Rate | null
}

type FileRule = ShapingRule & { readonly mx: readonly string[]; readonly domains: readonly string[] }

const PER_MS = { second: 1000, minute: 60_000, hour: 3_600_000 } as const
export const OTHER = 'other'

/** Knows whose mailboxes stand behind an MX host (config/shaping.toml), and what they take. */
export class Shaping {
  readonly #rules: readonly FileRule[]
  readonly #byName: ReadonlyMap<string, FileRule>
  readonly #byDomain: ReadonlyMap<string, FileRule>

  private constructor(rules: readonly FileRule[]) {
    this.#rules = rules
    this.#byName = new Map(rules.map((rule) => [rule.name, rule]))
    this.#byDomain = new Map(rules.flatMap((rule) => rule.domains.map((domain) => [domain, rule] as const)))
  }

  /** Reads the file; a rule that misses one of its examples, or that an earlier one shadows, is an error that names it. */
  static load(file: string): Shaping {
    let document: Record<string, unknown>
    try {
      document = parse(readFileSync(file, 'utf8'))
    } catch (error) {
      throw fault(file, `cannot be read: ${messageOf(error)}`)
    }
    const listed = document.provider
    if (!Array.isArray(listed) || listed.length === 0) throw fault(file, 'has no [[provider]]')
    const shaping = new Shaping(listed.map((entry, i) => ruleOf(file, entry as Record<string, unknown>, i)))
    const names = new Set<string>()
    for (const [i, rule] of shaping.#rules.entries()) {
      if (names.has(rule.name)) throw fault(file, `names the provider "${rule.name}" twice`)
      names.add(rule.name)
      const examples = (listed[i] as { example_mx?: string[] }).example_mx ?? []
      if (rule.mx.length > 0 && examples.length === 0)
        throw fault(file, `provider "${rule.name}" has no example_mx, so nothing shows that it ever matches`)
      for (const example of examples) {
        const found = shaping.#rules.find((other) => matches(other, example))
        if (found === undefined) throw fault(file, `provider "${rule.name}" does not match its own example ${example}`)
        if (found !== rule) throw fault(file, `provider "${rule.name}" is shadowed by "${found.name}" for ${example}`)
      }
    }
    return shaping
  }

  /** The mailbox provider of a destination; `other` when none is known. */
  mailboxProviderOf(domain: string, mxHosts: readonly string[]): string {
    for (const host of mxHosts) {
      const rule = this.#rules.find((one) => matches(one, host))
      if (rule !== undefined) return rule.name
    }
    return this.#byDomain.get(domain)?.name ?? OTHER
  }

  /** The rule of a mailbox provider; undefined for `other`: the configured defaults hold. */
  ruleOf(mailboxProvider: string): ShapingRule | undefined {
    return this.#byName.get(mailboxProvider)
  }
}

function matches(rule: FileRule, host: string): boolean {
  return rule.mx.some((suffix) => host.endsWith(suffix))
}

function ruleOf(file: string, entry: Record<string, unknown>, index: number): FileRule {
  const name = entry.name
  if (typeof name !== 'string' || !/^[a-z0-9-]{1,40}$/.test(name) || name === OTHER)
    throw fault(file, `provider ${index + 1} needs a name of small letters, digits and hyphens (not "${OTHER}")`)
  const known = ['name', 'mx', 'domains', 'connections', 'messages_per_connection', 'rate', 'rate_per', 'example_mx']
  const odd = Object.keys(entry).find((key) => !known.includes(key))
  if (odd !== undefined) throw fault(file, `provider "${name}" has the unknown key ${odd} (known: ${known.join(', ')})`)
  const per = entry.rate_per ?? 'second'
  if (typeof per !== 'string' || !Object.hasOwn(PER_MS, per))
    throw fault(file, `provider "${name}": rate_per is "second", "minute" or "hour"`)
  const rate = entry.rate === undefined ? null : whole(file, name, 'rate', entry.rate)
  return {
    name,
    mx: names(file, name, 'mx', entry.mx),
    domains: names(file, name, 'domains', entry.domains),
    connections: whole(file, name, 'connections', entry.connections),
    messagesPerConnection: whole(file, name, 'messages_per_connection', entry.messages_per_connection),
    rate:
      rate === null
        ? null
        : { limit: rate, perMs: PER_MS[per as keyof typeof PER_MS], burst: Math.max(1, Math.floor(rate / 10)) },
  }
}

function names(file: string, provider: string, key: string, value: unknown): string[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || value.some((one) => typeof one !== 'string' || one !== one.toLowerCase() || one === ''))
    throw fault(file, `provider "${provider}": ${key} is a list of names in small letters`)
  return value as string[]
}

function whole(file: string, provider: string, key: string, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1) return value
  throw fault(file, `provider "${provider}": ${key} is a whole number of 1 or more`)
}

function fault(file: string, problem: string): Fault {
  return new Fault(`${file} ${problem}`, {
    code: 'bad-rule-file',
    field: 'rules.shaping_file',
    remedy: 'Correct the rule; the file shipped in config/shaping.toml shows the form.',
    exitCode: EX.CONFIG,
  })
}
