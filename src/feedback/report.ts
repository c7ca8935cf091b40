import { addressOf, type Part, readFeedbackReport, readHeaders, readParts } from '#mail'
import { readStatusGroups, type StatusGroup } from './delivery-fields.ts'
import {
  isAutomaticAnswer,
  isBounce,
  isDaemon,
  isDelay,
  isReturned,
  isSuccess,
  kindOfOther,
  subjectOf,
} from './notice-kind.ts'
import { noticeOf, textNear, textOf } from './notice-text.ts'
import { readPlainBounce, type Told } from './plain-bounce.ts'
import { codeIn, enhancedIn, type ReplyRules } from './replies.ts'
import { readSesNotice } from './ses-notice.ts'

export type ReportKind = 'bounce' | 'complaint' | 'auto-reply' | 'delay' | 'success' | 'challenge' | 'report' | 'other'

export type ReportedRecipient = {
  readonly address: string
  /** `failed`, `delayed`, `delivered`, `relayed`, `expanded`, or empty. */
  readonly action: string
  readonly status: string | null
  readonly smtpCode: string | null
  readonly class: string
  readonly hard: boolean | null
  readonly diagnostic: string
}

/** What a mail that came back is, and whom it speaks of. */
export type Report = {
  readonly kind: ReportKind
  readonly recipients: readonly ReportedRecipient[]
  readonly originalMessageId: string | null
  /** Envelope sender of the enclosed original: for complaints, where our token stands. */
  readonly originalReturnPath: string | null
}

const NOTHING: Omit<Report, 'kind'> = { recipients: [], originalMessageId: null, originalReturnPath: null }
const GOOD = new Set(['delivered', 'relayed', 'expanded'])
const ENCLOSING = new Set(['message/rfc822', 'text/rfc822-headers', 'message/global', 'message/global-headers'])
/** Codes that tell whose fault it is and no more: then the words beside them are asked, too. */
const VAGUE_STATUS = /^([45]\.0\.0|[45]\.[1357]\.0|5\.5\.0|[45]\.7\.1|5\.2\.0|)$/

/** Header fields of the mail that is enclosed, or null. */
type Original = ReadonlyMap<string, string> | null

/** Reads a mail that came back. Never throws; what it cannot make out is `other` and changes nothing. */
export function readReport(raw: Uint8Array, rules: ReplyRules): Report {
  const parts = readParts(raw)
  const top = parts[0]
  if (top === undefined) return { kind: 'other', ...NOTHING }
  const original = originalOf(parts)
  const complained = readFeedbackReport(parts, original)
  if (complained !== null) {
    const { type, recipients, originalMailFrom } = complained
    // RFC 6591, and the opposite of a complaint.
    if (type === 'auth-failure' || type === 'not-spam') return { kind: 'report', ...NOTHING }
    const facts = enclosedFacts(original)
    return {
      kind: 'complaint',
      recipients: recipients.map((address) => complainer(address, type)),
      originalMessageId: facts.originalMessageId,
      originalReturnPath: originalMailFrom ?? facts.originalReturnPath,
    }
  }
  // What an enclosed message holds speaks of that one: somebody may have passed a bounce on.
  const ours = parts.filter((part) => !part.enclosed)
  const reportType = (top.parameters.get('report-type') ?? '').toLowerCase()
  if (reportType === 'tlsrpt' || isAggregate(top, ours)) return { kind: 'report', ...NOTHING }
  if (
    reportType === 'disposition-notification' ||
    ours.some((part) => part.type === 'message/disposition-notification')
  )
    return { kind: 'other', ...NOTHING }
  const text = textOf(parts)
  if (isAutomaticAnswer(top)) return { kind: kindOfOther(top, text), ...NOTHING }
  const groups = readStatusGroups(parts)
  if (groups.length > 0) return fromGroups(groups, parts, original, rules)
  return (
    readSesNotice(top.headers, text, rules) ?? wrappedNotice(top, ours, rules) ?? fromText(top, text, original, rules)
  )
}

/** The fixed line of `relevo bounce parse`. */
export function parseBounceFile(raw: Uint8Array, rules: ReplyRules): Pick<Report, 'kind' | 'recipients'> {
  const { kind, recipients } = readReport(raw, rules)
  return {
    kind,
    // Always in this order, as documented.
    recipients: recipients.map(({ address, action, status, smtpCode, class: replyClass, hard, diagnostic }) => ({
      address,
      action,
      status,
      smtpCode,
      class: replyClass,
      hard,
      diagnostic,
    })),
  }
}

/** A mail system that passes on the notice of another one as an attachment; a person who does so is no mail system. */
function wrappedNotice(top: Part, ours: readonly Part[], rules: ReplyRules): Report | null {
  const enclosed = ours.find((part) => part.depth > 0 && part.type === 'message/rfc822')
  if (!isDaemon(top) || enclosed === undefined) return null
  const inner = readParts(Buffer.from(enclosed.text))
  if (inner[0] === undefined || !isDaemon(inner[0])) return null
  const groups = readStatusGroups(inner)
  return groups.length === 0 ? null : fromGroups(groups, inner, originalOf(inner), rules)
}

function originalOf(parts: readonly Part[]): Original {
  const part = parts.find((one) => one.depth > 0 && ENCLOSING.has(one.type))
  return part === undefined ? null : readHeaders(part.text)
}

function enclosedFacts(original: Original): Pick<Report, 'originalMessageId' | 'originalReturnPath'> {
  const id = original?.get('message-id') ?? ''
  const path = original?.get('return-path') ?? ''
  return { originalMessageId: id === '' ? null : id, originalReturnPath: path === '' ? null : addressOf(path) }
}

function complainer(address: string, type: string): ReportedRecipient {
  return { address, action: '', status: null, smtpCode: null, class: 'complaint', hard: null, diagnostic: type }
}

function isAggregate(top: Part, parts: readonly Part[]): boolean {
  return (
    /report[- ]domain:|^dmarc\b.{0,40}report/i.test(subjectOf(top)) && parts.some((part) => /zip|xml/.test(part.type))
  )
}

function fromGroups(
  groups: readonly StatusGroup[],
  parts: readonly Part[],
  original: Original,
  rules: ReplyRules,
): Report {
  const plain = noticeOf(textOf(parts))
  const seen = new Map<string, ReportedRecipient>()
  for (const group of groups) {
    const key = `${group.address.toLowerCase()} ${group.action}`
    if (group.address !== '' && !seen.has(key)) seen.set(key, recipientOf(group, plain, groups.length === 1, rules))
  }
  const doubtful = isDoubtful(parts[0]!, original)
  const recipients = [...seen.values()].map((one) => (doubtful ? { ...one, hard: null } : one))
  const failed = recipients.filter((one) => !GOOD.has(one.action) && one.action !== 'delayed')
  const kind = failed.length > 0 ? 'bounce' : recipients.some((one) => one.action === 'delayed') ? 'delay' : 'success'
  return { kind, recipients, ...enclosedFacts(original) }
}

function recipientOf(group: StatusGroup, plain: string, alone: boolean, rules: ReplyRules): ReportedRecipient {
  const near = textNear(plain, group.address)
  // The fields first; where they say nothing, what the text for people says about this address.
  const diagnostic = group.diagnostic !== '' ? group.diagnostic : near
  const generic = group.status === '' || /^[45]\.0\.0$/.test(group.status)
  const status = generic ? enhancedIn(diagnostic) || group.status : group.status
  const action = group.action !== '' ? group.action : actionOf(status)
  const told = {
    address: group.address,
    action,
    status: status || null,
    smtpCode: codeIn(diagnostic) || codeIn(near) || null,
    diagnostic,
  }
  if (GOOD.has(action) || action === 'delayed') return { ...told, class: action, hard: null }
  const code = codeIn(diagnostic)
  const facts = {
    ...(status === '' ? {} : { enhanced: status }),
    ...(code === '' ? {} : { code: Number(code) }),
  }
  const said = [diagnostic, ...(VAGUE_STATUS.test(status) ? [near, ...(alone ? [plain] : [])] : [])]
  const classified = rules.classifyFirst(said, facts)
  return { ...told, class: classified.class, hard: classified.hard }
}

function actionOf(status: string): string {
  if (status.startsWith('2')) return 'delivered'
  return status.startsWith('4') ? 'delayed' : 'failed'
}

function fromText(top: Part, text: string, original: Original, rules: ReplyRules): Report {
  const failedHeader = top.headers.get('x-failed-recipients')
  if (failedHeader === undefined && !isBounce(top, text, original !== null) && !isReturned(top, original))
    return { kind: kindOfOther(top, text), ...NOTHING }
  const own = new Set(
    [top.headers.get('to'), top.headers.get('from'), original?.get('from')].map((value) =>
      addressOf(value ?? '').toLowerCase(),
    ),
  )
  const plain = readPlainBounce(text, own)
  if (failedHeader === undefined && isSuccess(top, text))
    return { kind: 'success', recipients: plain.map(arrived), ...enclosedFacts(original) }
  const told = failedHeader === undefined ? fallback(plain, text, original) : inHeader(failedHeader, plain, text)
  if (told.length === 0) return { kind: 'other', ...NOTHING, ...enclosedFacts(original) }
  const delayed = isDelay(top, text)
  const doubtful = isDoubtful(top, original)
  const notice = noticeOf(text)
  const recipients = told.map(({ address, text: why }): ReportedRecipient => {
    // When the words at the address say nothing, those of the whole notice do, if it speaks of one recipient.
    const said = told.length === 1 ? [why, notice, subjectOf(top)] : [why]
    const classified = rules.classifyFirst(said, {})
    return {
      address,
      action: delayed ? 'delayed' : 'failed',
      status: said.map(enhancedIn).find((one) => one !== '') ?? null,
      smtpCode: said.map(codeIn).find((one) => one !== '') ?? null,
      class: delayed ? 'delayed' : classified.class,
      hard: delayed || doubtful ? null : classified.hard,
      diagnostic: why,
    }
  })
  return { kind: delayed ? 'delay' : 'bounce', recipients, ...enclosedFacts(original) }
}

function arrived({ address, text }: Told): ReportedRecipient {
  return { ...complainer(address, text), action: 'delivered', class: 'delivered' }
}

/** Exim names all who failed in one field; the text says why. A header that knows nobody of the text was changed on the way. */
function inHeader(header: string, plain: readonly Told[], text: string): readonly Told[] {
  const notice = noticeOf(text)
  const named = header
    .split(',', 50)
    .map((one) => addressOf(one))
    .filter((address) => address.includes('@'))
  const said = (address: string): Told | undefined =>
    plain.find((one) => one.address.toLowerCase() === address.toLowerCase())
  if (plain.length > 0 && named.every((one) => said(one) === undefined && textNear(notice, one) === '')) return plain
  return named.map((address) => said(address) ?? { address, text: textNear(notice, address) || notice.slice(0, 1000) })
}

/** Nobody is named: the enclosed original was for somebody. */
function fallback(told: readonly Told[], text: string, original: Original): readonly Told[] {
  if (told.length > 0) return told
  const to =
    addressOf(original?.get('to') ?? '') ||
    /^to:\s{0,5}.{0,200}?<?([^\s<>,;:"]{1,64}@[a-z0-9.-]{1,255})>?/im.exec(text)?.[1] ||
    ''
  return to.includes('@') ? [{ address: to, text: noticeOf(text).slice(0, 1000) }] : []
}

/**
 * Whether this cannot be a notice about mail that its reader sent: the reporting domain bounces mail of its own to somebody
 * else, or the notice has an envelope sender of a stranger (RFC 3461 §6.1: it has none). Nobody is judged dead by it.
 */
function isDoubtful(top: Part, original: Original): boolean {
  const domain = (value: string | undefined): string =>
    addressOf(value ?? '')
      .split('@')
      .at(-1)!
      .toLowerCase()
  const [reporter, reader] = [domain(top.headers.get('from')), domain(top.headers.get('to'))]
  const author = domain(original?.get('from'))
  if (author !== '' && author === reporter && !isRelated(author, reader)) return true
  const path = top.headers.get('return-path') ?? ''
  if (/^(|<>|<null>)$/.test(path) || /<?mailer-daemon/i.test(path)) return false
  const sender = domain(path)
  return sender !== '' && sender !== reader && !reporter.endsWith(sender) && !sender.endsWith(reporter)
}

/** One house: the same domain, or one below the other. */
function isRelated(one: string, other: string): boolean {
  return one === other || one.endsWith(`.${other}`) || other.endsWith(`.${one}`)
}
