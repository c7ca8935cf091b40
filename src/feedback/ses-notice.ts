import { addressOf } from '#mail'
import { codeIn, enhancedIn, type ReplyRules } from './replies.ts'
import type { Report, ReportedRecipient } from './report.ts'

// Amazon SES tells of bounces, complaints and deliveries in JSON; by mail it comes as the text of a notification of SNS.

const MAX_CHARACTERS = 262_144
const MAX_RECIPIENTS = 200

type Notice = Readonly<Record<string, unknown>>

/** Null when the mail is no such notification. */
export function readSesNotice(headers: ReadonlyMap<string, string>, text: string, rules: ReplyRules): Report | null {
  const path = addressOf(headers.get('return-path') ?? '')
  // With the envelope sender of a stranger it is as forged as with the name of one.
  if (!isAmazon(addressOf(headers.get('from') ?? '')) || (path !== '' && !isAmazon(path))) return null
  const start = text.slice(0, 100).indexOf('{')
  if (start < 0 || !/"(notificationType|eventType)"/.test(text.slice(start, start + 200))) return null
  const notice = parsed(text.slice(start, start + MAX_CHARACTERS))
  if (notice === null) return null
  const type = String(notice.notificationType ?? notice.eventType)
  const about = objectIn(notice, 'mail')
  const facts = {
    originalMessageId: textIn(objectIn(about, 'commonHeaders'), 'messageId'),
    originalReturnPath: textIn(about, 'source'),
  }
  if (type === 'Bounce') {
    const bounce = objectIn(notice, 'bounce')
    const permanent = (bounce.bounceType ?? 'Permanent') === 'Permanent'
    const recipients = listIn(bounce, 'bouncedRecipients')
      .map((one) => failed(one, permanent, rules))
      .filter(isNamed)
    return { kind: 'bounce', recipients, ...facts }
  }
  if (type === 'Complaint') {
    const recipients = listIn(objectIn(notice, 'complaint'), 'complainedRecipients').map((one) =>
      told(one.emailAddress, '', 'complaint', textIn(objectIn(notice, 'complaint'), 'complaintFeedbackType') ?? ''),
    )
    return { kind: 'complaint', recipients: recipients.filter(isNamed), ...facts }
  }
  if (type === 'Delivery') {
    const delivery = objectIn(notice, 'delivery')
    const addresses = Array.isArray(delivery.recipients)
      ? delivery.recipients.slice(0, MAX_RECIPIENTS).filter(isText)
      : []
    const said = textIn(delivery, 'smtpResponse') ?? ''
    return { kind: 'success', recipients: addresses.map((one) => told(one, 'delivered', 'delivered', said)), ...facts }
  }
  return null
}

/** The mail has folded the text somewhere, even inside its strings; it ends before the words for people. Sendmail breaks long lines with a mark of its own. */
function parsed(text: string): Notice | null {
  const flat = text.replace(/!\r?\n /g, '').replace(/[\r\n]+/g, ' ')
  const end = flat.search(/\} {1,4}--(?: |$)/)
  for (const one of [end < 0 ? flat : flat.slice(0, end + 1), flat.slice(0, flat.lastIndexOf('}') + 1)])
    try {
      const value: unknown = JSON.parse(one)
      if (isObject(value)) return value
    } catch {}
  return null
}

function failed(one: Notice, permanent: boolean, rules: ReplyRules): ReportedRecipient {
  const diagnostic = (textIn(one, 'diagnosticCode') ?? '').replace(/^smtp;\s{0,5}/i, '')
  const status = textIn(one, 'status') || enhancedIn(diagnostic)
  const classified = rules.classify({ text: diagnostic, enhanced: status || null })
  return {
    ...told(one.emailAddress, textIn(one, 'action') ?? 'failed', classified.class, diagnostic),
    status: status || null,
    smtpCode: codeIn(diagnostic) || null,
    hard: permanent || classified.hard !== true ? classified.hard : null,
  }
}

function told(address: unknown, action: string, replyClass: string, diagnostic: string): ReportedRecipient {
  return {
    address: addressOf(typeof address === 'string' ? address : ''),
    action,
    status: enhancedIn(diagnostic) || null,
    smtpCode: codeIn(diagnostic) || null,
    class: replyClass,
    hard: null,
    diagnostic,
  }
}

function isNamed({ address }: ReportedRecipient): boolean {
  return address.includes('@')
}

function isAmazon(address: string): boolean {
  return /[@.]amazon(aws|ses)\.com(\.cn)?$/i.test(address)
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isObject(value: unknown): value is Notice {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function objectIn(parent: Notice, key: string): Notice {
  const value = parent[key]
  return isObject(value) ? value : {}
}

function textIn(parent: Notice, key: string): string | null {
  const value = parent[key]
  return typeof value === 'string' ? value.slice(0, 2000) : null
}

function listIn(parent: Notice, key: string): readonly Notice[] {
  const value = parent[key]
  return Array.isArray(value) ? value.slice(0, MAX_RECIPIENTS).filter(isObject) : []
}
