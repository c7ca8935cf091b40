import { type Finding, finding } from './finding.ts'

/** What is wrong with how a TXT record was put into the panel, whatever it is for. Null: nothing of this kind. */
export function panelFault(name: string, text: string, version: RegExp): Finding | null {
  if (/\\;/.test(text))
    return finding(
      'error',
      'semicolon-escaped',
      name,
      'the semicolons are stored with backslashes before them',
      'Enter the value without backslashes.',
    )
  if (/^\s*["“”']|["“”']\s*$|"\s*"/.test(text))
    return finding(
      'error',
      'quotes-in-value',
      name,
      'quotation marks are stored as part of the value',
      'Enter the value without quotation marks; the panel puts them itself.',
    )
  if (/^\s+/.test(text) && version.test(text.trimStart()))
    return finding(
      'error',
      'leading-space',
      name,
      'the value begins with a space, so receivers do not recognise it',
      'Enter the value without spaces before it.',
    )
  return null
}

/** Several TXT records that together are the one that was meant: the panel cut a long value into records. */
export function inPieces(values: readonly string[], whole: string): boolean {
  if (values.length < 2 || values.length > 6) return false
  const bare = (text: string): string => text.replace(/\s+/g, '')
  const target = bare(whole)
  const rest = new Set(values.map(bare))
  if (values.reduce((sum, value) => sum + bare(value).length, 0) !== target.length) return false
  let at = 0
  while (at < target.length) {
    const next = [...rest].find((piece) => piece !== '' && target.startsWith(piece, at))
    if (next === undefined) return false
    rest.delete(next)
    at += next.length
  }
  return true
}
