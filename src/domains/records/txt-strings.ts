const STRING_OCTETS = 255

/** A text as the character-strings of one TXT record, 255 octets each at most (RFC 1035 §3.3.14). */
export function txtStrings(text: string): readonly string[] {
  const strings: string[] = []
  for (let at = 0; at < text.length; at += STRING_OCTETS) strings.push(text.slice(at, at + STRING_OCTETS))
  return strings.length === 0 ? [''] : strings
}

/** The strings in the quotes of a zone file (RFC 1035 §5.1): quotes and backslashes escaped, other octets as \DDD. */
export function quotedTxt(text: string): string {
  return txtStrings(text)
    .map((one) => `"${one.replace(/["\\]/g, '\\$&').replace(/[^\x20-\x7e]/g, decimalEscape)}"`)
    .join(' ')
}

/** An octet as `\DDD` (RFC 1035 §5.1). */
export function decimalEscape(character: string): string {
  return `\\${(character.charCodeAt(0) & 0xff).toString().padStart(3, '0')}`
}
