/** An address as fields of reports write it, `rfc822; <user@example>` and its relatives, without type and brackets. */
export function addressOf(value: string): string {
  const bare = value
    .slice(0, 2000)
    .replace(/^(rfc822|utf-8|smtp|x400|x500|local|unknown|lotus notes)\s{0,5};\s{0,5}/i, '')
    .trim()
    .replace(/^"(.{0,300})"$/, '$1')
  const bracketed = /<([^<>\s]{1,320})>/.exec(bare)?.[1]
  const found =
    bracketed ?? /[^\s<>()[\],;:"]{1,200}@[^\s<>()[\],;:"]{1,255}/.exec(bare)?.[0] ?? bare.split(/\s/, 1)[0]!
  return found.replace(/^(rfc822|smtp|mailto)[;:]/i, '').replace(/[.,;:>]+$/, '')
}
