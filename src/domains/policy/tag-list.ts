export type Tags = ReadonlyMap<string, string>

/**
 * Reads `tag=value; tag=value` (RFC 6376 §3.2; DMARC, TLSRPT and MTA-STS have the same form). White space around tags
 * and values is dropped. Null: a part is no tag, or a tag stands twice.
 */
export function readTags(text: string): Tags | null {
  const tags = new Map<string, string>()
  const parts = text.split(';')
  for (const [i, part] of parts.entries()) {
    const trimmed = part.trim()
    if (trimmed === '') {
      // A semicolon may stand after the last tag; nothing may stand between two.
      if (i === parts.length - 1) continue
      return null
    }
    const [, name, value] = /^([a-z][a-z0-9_]*)\s*=\s*([\s\S]*)$/i.exec(trimmed) ?? []
    if (name === undefined || value === undefined || tags.has(name)) return null
    tags.set(name, value.trim())
  }
  return tags
}
