import { readTags } from './tag-list.ts'

/** Weakest first. */
export const DMARC_POLICIES = ['none', 'quarantine', 'reject'] as const
export type DmarcPolicy = (typeof DMARC_POLICIES)[number]

export type DmarcRecord = {
  readonly policy: DmarcPolicy
  /** Policy of subdomains; the same as `policy` where the record does not say. */
  readonly subdomainPolicy: DmarcPolicy
  /** Addresses of aggregate reports, as URIs without their size limits. */
  readonly rua: readonly string[]
  readonly spfAlignment: 'r' | 's'
  readonly dkimAlignment: 'r' | 's'
  readonly percent: number
}

/** RFC 7489 §6.6.3: what does not begin so is no DMARC record. */
export function isDmarc(text: string): boolean {
  return /^v\s*=\s*DMARC1\s*(?:;|$)/.test(text)
}

/** Reads a record that `isDmarc`. A text is the reason it cannot be read. */
export function parseDmarc(text: string): DmarcRecord | string {
  const tags = readTags(text)
  if (tags === null) return 'its tags are not separated by semicolons, or one stands twice'
  const policy = tags.get('p')?.toLowerCase()
  if (policy === undefined) return 'the tag p is missing'
  if (!isPolicy(policy)) return `p is ${JSON.stringify(policy)}; allowed is none, quarantine, reject`
  const sp = tags.get('sp')?.toLowerCase() ?? policy
  if (!isPolicy(sp)) return `sp is ${JSON.stringify(sp)}; allowed is none, quarantine, reject`
  const percent = Number(tags.get('pct') ?? 100)
  const strict = (tag: string): 'r' | 's' => (tags.get(tag)?.toLowerCase() === 's' ? 's' : 'r')
  return {
    policy,
    subdomainPolicy: sp,
    rua: (tags.get('rua') ?? '')
      .split(',')
      .map((uri) => uri.trim().replace(/!\d+[kmgt]?$/i, ''))
      .filter(Boolean),
    spfAlignment: strict('aspf'),
    dkimAlignment: strict('adkim'),
    percent: Number.isInteger(percent) && percent >= 0 && percent <= 100 ? percent : 100,
  }
}

/** The record with one more address for reports; nothing else of it is changed. */
export function withReports(text: string, address: string): string {
  const uri = `mailto:${address}`
  // Linear, whatever stands there: parts, not patterns that look back.
  const parts = text.split(';')
  while (parts.length > 1 && parts.at(-1)!.trim() === '') parts.pop()
  const at = parts.findIndex((part) => /^rua\s*=/i.test(part.trimStart()))
  if (at < 0) return `${parts.join(';').trimEnd()}; rua=${uri}`
  const given = parts[at]!.slice(parts[at]!.indexOf('=') + 1).trim()
  return parts.toSpliced(at, 1, ` rua=${given === '' ? uri : `${given},${uri}`}`).join(';')
}

/** Domains that reports go to, of `mailto:` URIs. */
export function reportDomains(rua: readonly string[]): readonly string[] {
  return rua.flatMap((uri) => /^mailto:[^@\s]+@([a-z0-9.-]+)$/i.exec(uri)?.[1]?.toLowerCase() ?? [])
}

function isPolicy(text: string): text is DmarcPolicy {
  return (DMARC_POLICIES as readonly string[]).includes(text)
}
