import ipaddr from 'ipaddr.js'
import type { Said } from '../lookup/contract.ts'
import { isSpf, parseSpf, type SpfTerm } from './spf-record.ts'

/** RFC 7208 §4.6.4. */
export const MAX_LOOK_UPS = 10
export const MAX_VOID_LOOK_UPS = 2
/** RFC 7208 §4.6.4: at most ten MX names, ten names of ptr. */
const MAX_NAMES = 10
/** Counting goes on a little beyond the limit, so that it can be said by how much. */
const MAX_COUNTED = 30

export type SpfResult = 'pass' | 'fail' | 'softfail' | 'neutral' | 'none' | 'permerror' | 'temperror'

export type SpfWalk = {
  readonly result: SpfResult
  /** Of the whole record, whatever the address: what counts is the worst case. */
  readonly lookUps: number
  readonly voidLookUps: number
  /** The chain of names that ends where it began. */
  readonly loop: readonly string[] | null
  /** `include:` and `redirect=` that lead to a name without one SPF record (an error to every receiver). */
  readonly leadsNowhere: readonly string[]
  /** A record on the way that cannot be read: its name, the term, and why. */
  readonly unreadable: { readonly domain: string; readonly term: string; readonly reason: string } | null
  /** Names that gave no answer. */
  readonly failed: readonly string[]
}

/** Asks for a name and type. */
export type SpfLook = (name: string, type: 'TXT' | 'A' | 'AAAA' | 'MX' | 'PTR') => Promise<Said>

/** Whom the record is asked about. */
export type SpfSubject = { readonly address: string; readonly sender: string; readonly helo: string }

/**
 * Evaluates a record (check_host(), RFC 7208 §4) for an address, and counts what it costs. Every branch is walked, also
 * behind the one that decides, because receivers come from other addresses. Bounded, whatever the records say.
 * @param text the record itself, so that one not yet published can be tried
 */
export async function walkSpf(domain: string, text: string, subject: SpfSubject, look: SpfLook): Promise<SpfWalk> {
  const walker = new Walker(subject, look)
  const result = await walker.check(domain, text, [domain])
  const { lookUps, voidLookUps, loop, leadsNowhere, unreadable, failed } = walker
  const wrong = loop !== null || unreadable !== null || leadsNowhere.length > 0
  const over = lookUps > MAX_LOOK_UPS || voidLookUps > MAX_VOID_LOOK_UPS
  return {
    result: wrong || over ? 'permerror' : result,
    lookUps,
    voidLookUps,
    loop,
    leadsNowhere: [...new Set(leadsNowhere)],
    unreadable,
    failed: [...new Set(failed)],
  }
}

class Walker {
  lookUps = 0
  voidLookUps = 0
  loop: readonly string[] | null = null
  readonly leadsNowhere: string[] = []
  unreadable: SpfWalk['unreadable'] = null
  readonly failed: string[] = []
  readonly #subject: SpfSubject
  readonly #look: SpfLook
  readonly #address: ipaddr.IPv4 | ipaddr.IPv6

  constructor(subject: SpfSubject, look: SpfLook) {
    this.#subject = subject
    this.#look = look
    this.#address = ipaddr.process(subject.address)
  }

  async check(domain: string, text: string, path: readonly string[]): Promise<SpfResult> {
    const parsed = parseSpf(text)
    if (!parsed.ok) {
      this.unreadable ??= { domain, ...parsed.error }
      return 'permerror'
    }
    let decided: SpfResult | null = null
    const { terms } = parsed.value
    for (const term of terms) {
      if (term.kind !== 'mechanism') continue
      const matches = await this.#matches(term, domain, path)
      if (decided === null && matches) decided = resultOf(term.qualifier)
      // Nothing behind `all` is ever looked at (RFC 7208 §5.1).
      if (term.name === 'all') return decided ?? 'neutral'
    }
    const redirect = terms.find((term) => term.kind === 'redirect')
    if (redirect === undefined) return decided ?? 'neutral'
    const there = await this.#include(redirect.argument, domain, path)
    return decided ?? (there === 'none' ? 'permerror' : there)
  }

  async #matches(
    term: Extract<SpfTerm, { kind: 'mechanism' }>,
    domain: string,
    path: readonly string[],
  ): Promise<boolean> {
    switch (term.name) {
      case 'all':
        return true
      case 'ip4':
      case 'ip6':
        return this.#within([term.argument], term)
      case 'include':
        return (await this.#include(term.argument, domain, path)) === 'pass'
      case 'a': {
        if (!this.#count()) return false
        return this.#within(await this.#addresses(this.#expand(term.argument || domain, domain), true), term)
      }
      case 'mx': {
        if (!this.#count()) return false
        const said = await this.#ask(this.#expand(term.argument || domain, domain), 'MX')
        const hosts = (said.kind === 'records' ? said.values : []).map((value) => value.split(' ')[1] ?? '')
        for (const host of hosts.filter(Boolean).slice(0, MAX_NAMES))
          if (this.#within(await this.#addresses(host, false), term)) return true
        return false
      }
      case 'exists': {
        if (!this.#count()) return false
        const said = await this.#ask(this.#expand(term.argument, domain), 'A')
        return said.kind === 'records'
      }
      case 'ptr':
        // Counted only: nobody should rely on it (RFC 7208 §5.5).
        this.#count()
        return false
    }
  }

  async #include(argument: string, domain: string, path: readonly string[]): Promise<SpfResult> {
    if (!this.#count()) return 'permerror'
    const name = this.#expand(argument, domain)
    if (path.includes(name)) {
      this.loop ??= [...path.slice(path.indexOf(name)), name]
      return 'permerror'
    }
    const said = await this.#ask(name, 'TXT')
    if (said.kind === 'failed') return 'temperror'
    const records = (said.kind === 'records' ? said.values : []).filter(isSpf)
    if (records.length === 1) return this.check(name, records[0]!, [...path, name])
    this.leadsNowhere.push(name)
    return 'permerror'
  }

  /** False when no more is looked up. */
  #count(): boolean {
    this.lookUps += 1
    return this.lookUps <= MAX_COUNTED
  }

  async #addresses(name: string, counts: boolean): Promise<readonly string[]> {
    const said = await this.#ask(name, this.#address.kind() === 'ipv4' ? 'A' : 'AAAA', counts)
    return said.kind === 'records' ? said.values : []
  }

  /** RFC 7208 §4.6.4: an answer with no records, or of a name that does not exist, is void. */
  async #ask(name: string, type: Parameters<SpfLook>[1], counts = true): Promise<Said> {
    const said = await this.#look(name, type)
    if (said.kind === 'failed') this.failed.push(name)
    else if (said.kind !== 'records' && counts) this.voidLookUps += 1
    return said
  }

  #within(addresses: readonly string[], term: { readonly prefix4: number; readonly prefix6: number }): boolean {
    return addresses.some((text) => {
      if (!ipaddr.isValid(text)) return false
      const network = ipaddr.parse(text)
      if (network.kind() !== this.#address.kind()) return false
      return this.#address.match(network, network.kind() === 'ipv4' ? term.prefix4 : term.prefix6)
    })
  }

  /** Macros (RFC 7208 §7). */
  #expand(text: string, domain: string): string {
    const { sender, helo } = this.#subject
    const at = sender.lastIndexOf('@')
    const values: Readonly<Record<string, string>> = {
      s: sender,
      l: at < 0 ? 'postmaster' : sender.slice(0, at),
      o: sender.slice(at + 1),
      d: domain,
      i: dotted(this.#address),
      p: 'unknown',
      v: this.#address.kind() === 'ipv4' ? 'in-addr' : 'ip6',
      h: helo,
    }
    return text
      .replace(
        /%\{([a-z])(\d*)(r?)([-.+,/_=]*)\}|%([%_-])/gi,
        (_, letter: string, digits: string, reverse: string, delimiters: string, escaped: string) => {
          if (escaped !== undefined) return { '%': '%', _: ' ', '-': '%20' }[escaped] ?? ''
          const value = values[letter.toLowerCase()] ?? ''
          const parts = value.split(new RegExp(`[${(delimiters || '.').replace(/[-/]/g, '\\$&')}]`))
          if (reverse !== '') parts.reverse()
          return parts.slice(digits === '' ? 0 : -Number(digits)).join('.')
        },
      )
      .toLowerCase()
      .replace(/\.$/, '')
  }
}

function dotted(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  if (address.kind() === 'ipv4') return address.toString()
  return address
    .toByteArray()
    .flatMap((byte) => [byte >> 4, byte & 15])
    .map((nibble) => nibble.toString(16))
    .join('.')
}

function resultOf(qualifier: '+' | '-' | '~' | '?'): SpfResult {
  return ({ '+': 'pass', '-': 'fail', '~': 'softfail', '?': 'neutral' } as const)[qualifier]
}
