import { readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import { EX, Fault, messageOf } from '#base'
import type { Classified } from '#delivery'
import { PhraseIndex } from './phrase-index.ts'
import { whyUnsafe } from './safe-pattern.ts'

export const ACTIONS = ['suppress', 'bounce', 'retry', 'slow-down', 'pause-provider'] as const

/** What is known of a reply or a diagnostic text. Code and enhanced code are read from the text when not given. */
export type ReplyInput = {
  readonly text: string
  readonly code?: number | null
  readonly enhanced?: string | null
  readonly stage?: string
}

type Rule = {
  readonly name: string
  readonly classified: Classified
  /** `550`, `5xx`, or nothing. */
  readonly codes: readonly string[]
  /** `5.1.1`, or `5.1.*`. */
  readonly enhanced: readonly string[]
  readonly stages: readonly string[]
  /** One of these stands in the text; none: the codes alone decide. */
  readonly phrases: readonly string[]
  readonly patterns: readonly RegExp[]
  readonly samples: readonly string[]
}

type Read = { readonly text: string; readonly code: string; readonly enhanced: string; readonly stage: string }

const MAX_TEXT = 2048
const UNCLASSIFIED: Classified = { class: 'unclassified', hard: null, action: 'bounce' }
const KEYS = ['name', 'class', 'hard', 'action', 'codes', 'enhanced', 'stages', 'phrases', 'patterns', 'samples']

/** The rules of config/replies.toml, in order: the first that matches says what a reply means. */
export class ReplyRules {
  readonly #rules: readonly Rule[]
  readonly #phrases: PhraseIndex

  constructor(rules: readonly Rule[]) {
    this.#rules = rules
    this.#phrases = new PhraseIndex(rules.map(({ phrases }) => phrases))
  }

  classify(input: ReplyInput): Classified {
    return this.ruleFor(input)?.classified ?? fromCode(input)
  }

  /**
   * Several texts about one failure, the closest first: the first whose words say something decides, then the codes. `facts`
   * hold for the closest; the others have their own.
   */
  classifyFirst(texts: readonly string[], facts: Omit<ReplyInput, 'text'>): Classified {
    for (const [i, text] of texts.entries()) {
      const rule = this.ruleFor({ ...(i === 0 ? facts : {}), text })
      if (rule !== undefined && (rule.phrases.length > 0 || rule.patterns.length > 0)) return rule.classified
    }
    return this.classify({ ...facts, text: texts[0] ?? '' })
  }

  /** The rule that decides, or undefined when only the code does. */
  ruleFor(input: ReplyInput): Rule | undefined {
    const read = readInput(input)
    const said = this.#phrases.ownersIn(read.text)
    return this.#rules.find((rule, i) => matches(rule, read, said.has(i)))
  }
}

/** Loads the rules; one that matches none of its samples, or that an earlier one shadows, is an error that names it. */
export function loadReplyRules(file: string): ReplyRules {
  let document: Record<string, unknown>
  try {
    document = parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw fault(file, `cannot be read: ${messageOf(error)}`)
  }
  const listed = document.rule
  if (!Array.isArray(listed) || listed.length === 0) throw fault(file, 'has no [[rule]]')
  const rules = listed.map((entry, i) => ruleOf(file, entry as Record<string, unknown>, i))
  const loaded = new ReplyRules(rules)
  const names = new Set<string>()
  for (const rule of rules) {
    if (names.has(rule.name)) throw fault(file, `has two rules named "${rule.name}"`)
    names.add(rule.name)
    if (rule.samples.length === 0)
      throw fault(file, `rule "${rule.name}" has no samples, so nothing shows that it ever matches`)
    for (const sample of rule.samples) {
      const decides = loaded.ruleFor({ text: sample })
      if (decides === rule) continue
      const why = new ReplyRules([rule]).ruleFor({ text: sample })
        ? `is shadowed by "${decides?.name}" for`
        : 'does not match its own sample'
      throw fault(file, `rule "${rule.name}" ${why} ${JSON.stringify(sample)}`)
    }
  }
  return loaded
}

/** A line of `relevo reply classify`. */
export function classifyReplyLine(text: string, rules: ReplyRules): { text: string } & Classified {
  return { text, ...rules.classify({ text }) }
}

/** The three-digit code that a text carries: at its start, or after words such as "said:"; a refusal before a success. */
export function codeIn(text: string): string {
  const whole = text.slice(0, MAX_TEXT)
  return (
    (/(?:^|[\s:'"#<(=])([45]\d\d)(?=[\s\-:,]|$)/.exec(whole) ??
      /(?:^|[\s:'"#<(=])(2\d\d)(?=[\s\-:,]|$)/.exec(whole))?.[1] ?? ''
  )
}

/** The enhanced status code (RFC 3463) that a text carries; not a piece of an IP address. */
export function enhancedIn(text: string): string {
  const whole = text.slice(0, MAX_TEXT)
  return (
    (/(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d]|\.\d)/.exec(whole) ??
      /(?<![\d.])(2\.\d{1,3}\.\d{1,3})(?![\d]|\.\d)/.exec(whole))?.[1] ?? ''
  )
}

function readInput({ text, code, enhanced, stage = '' }: ReplyInput): Read {
  const whole = text.slice(0, MAX_TEXT)
  const found = { code: code ? String(code) : codeIn(whole), enhanced: enhanced || enhancedIn(whole) }
  return { ...found, text: comparable(whole, found.code, found.enhanced), stage }
}

/** Addresses are no words of the reply, and the codes that each line of it repeats (RFC 5321 §4.2.1) would part its words. */
function comparable(text: string, code: string, enhanced: string): string {
  const flat = text
    .toLowerCase()
    .replace(/[\u2018\u2019]/g, "'")
    .replace(/[^\s<>()[\]{},;:"']{1,64}@[a-z0-9.-]{1,255}/g, 'an-address')
    .replace(/\s+/g, ' ')
  const first = code === '' ? -1 : flat.indexOf(code)
  if (first < 0) return flat
  const told = first + code.length
  return (
    flat.slice(0, told) +
    flat
      .slice(told)
      .replaceAll(` ${code}-${enhanced} `, ' ')
      .replaceAll(` ${code} ${enhanced} `, ' ')
      .replaceAll(` ${code}-`, ' ')
  )
}

function matches(rule: Rule, read: Read, hasPhrase: boolean): boolean {
  if (
    rule.codes.length > 0 &&
    !rule.codes.some((code) => (code.endsWith('xx') ? read.code[0] === code[0] : read.code === code))
  )
    return false
  if (rule.enhanced.length > 0 && !rule.enhanced.some((code) => fitsEnhanced(code, read.enhanced))) return false
  if (rule.stages.length > 0 && !rule.stages.includes(read.stage)) return false
  if (rule.phrases.length === 0 && rule.patterns.length === 0) return true
  return hasPhrase || rule.patterns.some((pattern) => pattern.test(read.text))
}

function fitsEnhanced(wanted: string, found: string): boolean {
  return wanted.endsWith('*') ? found.startsWith(wanted.slice(0, -1)) : found === wanted
}

/** Nothing spoke: a 4yz comes again, a 5yz ends this message, and the address is not judged. */
function fromCode(input: ReplyInput): Classified {
  const { code, enhanced } = readInput(input)
  return code.startsWith('4') || (code === '' && enhanced.startsWith('4'))
    ? { ...UNCLASSIFIED, hard: false, action: 'retry' }
    : UNCLASSIFIED
}

function ruleOf(file: string, entry: Record<string, unknown>, index: number): Rule {
  const name = entry.name
  if (typeof name !== 'string' || name === '') throw fault(file, `rule ${index + 1} has no name`)
  const odd = Object.keys(entry).find((key) => !KEYS.includes(key))
  if (odd !== undefined) throw fault(file, `rule "${name}" has the unknown key ${odd} (known: ${KEYS.join(', ')})`)
  const { class: replyClass, action, hard = 'unknown' } = entry
  if (typeof replyClass !== 'string' || !/^[a-z][a-z-]{1,40}$/.test(replyClass))
    throw fault(file, `rule "${name}" has no class in small letters`)
  if (!ACTIONS.includes(action as (typeof ACTIONS)[number]))
    throw fault(file, `rule "${name}": action is one of ${ACTIONS.join(', ')}`)
  if (hard !== true && hard !== false && hard !== 'unknown')
    throw fault(file, `rule "${name}": hard is true, false or "unknown"`)
  if (hard !== true && action === 'suppress') throw fault(file, `rule "${name}" suppresses without being hard`)
  const list = (key: string): string[] => {
    const value = entry[key] ?? []
    if (!Array.isArray(value) || value.some((one) => typeof one !== 'string' || one === ''))
      throw fault(file, `rule "${name}": ${key} is a list of texts`)
    return value as string[]
  }
  const phrases = list('phrases')
  const loud = phrases.find((phrase) => phrase !== phrase.toLowerCase())
  if (loud !== undefined)
    throw fault(file, `rule "${name}": ${JSON.stringify(loud)} must be in small letters, as texts are compared`)
  return {
    name,
    classified: { class: replyClass, hard: hard === 'unknown' ? null : hard, action: action as string },
    codes: list('codes'),
    enhanced: list('enhanced'),
    stages: list('stages'),
    phrases,
    patterns: list('patterns').map((pattern) => safePattern(file, name, pattern)),
    samples: list('samples'),
  }
}

function safePattern(file: string, name: string, source: string): RegExp {
  const why = whyUnsafe(source)
  if (why !== null)
    throw fault(
      file,
      `rule "${name}": the pattern ${source} could take very long (${why}); bound its repetitions, such as .{0,40}`,
    )
  try {
    return new RegExp(source)
  } catch (error) {
    throw fault(file, `rule "${name}": ${messageOf(error)}`)
  }
}

function fault(file: string, problem: string): Fault {
  return new Fault(`${file} ${problem}`, {
    code: 'bad-rule-file',
    field: 'rules.replies_file',
    remedy: 'Correct the rule; the file shipped in config/replies.toml shows the form.',
    exitCode: EX.CONFIG,
  })
}
