/** The parts of a structured value between semicolons, quoted strings kept whole: `type`, `name="value"`, … */
export function splitParameters(value: string): string[] {
  const parts: string[] = []
  let start = 0
  let quoted = false
  for (let i = 0; i < value.length; i++) {
    const c = value[i]
    if (quoted && c === '\\') i++
    else if (c === '"') quoted = !quoted
    else if (c === ';' && !quoted) {
      parts.push(value.slice(start, i))
      start = i + 1
    }
  }
  parts.push(value.slice(start))
  return parts
}

/** The value of one parameter (RFC 2045 §5.1), quotes and escapes removed; null when it is not there. */
export function parameterOf(value: string, name: string): string | null {
  for (const part of splitParameters(value).slice(1)) {
    const equals = part.indexOf('=')
    if (equals < 0 || part.slice(0, equals).trim().toLowerCase() !== name) continue
    return unquote(part.slice(equals + 1).trim())
  }
  return null
}

export function unquote(text: string): string {
  if (!text.startsWith('"')) return text
  const end = text.length > 1 && text.endsWith('"') ? -1 : undefined
  return text.slice(1, end).replace(/\\(.)/gs, '$1')
}
