import type { Part } from '#mail'
import { holdsOthers } from './delivery-fields.ts'

const MAX_CHARACTERS = 100_000
const MAX_NOTICE_CHARACTERS = 2000
const MAX_NEAR_CHARACTERS = 600

/** What the mail itself says for people, without markup and without what it encloses. */
export function textOf(parts: readonly Part[]): string {
  return parts
    .filter(
      (part) =>
        !part.enclosed &&
        !holdsOthers(parts, part) &&
        (/^(text|multipart)\//.test(part.type) || part.type === '') &&
        part.type !== 'text/rfc822-headers',
    )
    .map((part) => (part.type === 'text/html' ? stripTags(part.text) : part.text))
    .join('\n')
    .slice(0, MAX_CHARACTERS)
}

/** The notice before the copy of the original, as far as a classification reads. */
export function noticeOf(text: string): string {
  return text
    .slice(0, 10 * MAX_NOTICE_CHARACTERS)
    .replace(/\n-{2,100}.{0,40}(original|copy|returned|headers).*/is, '')
    .slice(0, MAX_NOTICE_CHARACTERS)
}

/** What stands from an address on; empty when it does not stand there. */
export function textNear(text: string, address: string): string {
  const at = text.toLowerCase().indexOf(address.toLowerCase())
  return at < 0 ? '' : text.slice(at, at + MAX_NEAR_CHARACTERS).replace(/\s+/g, ' ')
}

function stripTags(html: string): string {
  return html
    .replace(/<(style|script)\b[^<>]{0,500}>[^<]{0,50000}/gi, ' ')
    .replace(/<(br|p|div|tr|li|h\d)\b[^<>]{0,500}>/gi, '\n')
    .replace(/<[^<>]{0,1000}>/g, ' ')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&nbsp;', ' ')
    .replaceAll('&#64;', '@')
    .replaceAll('&#39;', "'")
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
}
