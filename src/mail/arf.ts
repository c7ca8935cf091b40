import { addressOf } from './dsn/address-of.ts'
import { type Part, readHeaders } from './dsn/mime-tree.ts'

/** A feedback report (RFC 5965), or what a provider sends in its place. */
export type FeedbackReport = {
  /** `abuse`, `fraud`, `virus`, `other`, `not-spam`, `auth-failure`, `opt-out` … in small letters; empty when it does not say. */
  readonly type: string
  /** Who complained, as far as the report names them; often redacted. */
  readonly recipients: readonly string[]
  /** Envelope sender of the mail complained of; null when it does not say. */
  readonly originalMailFrom: string | null
}

const MAX_RECIPIENTS = 50
const MAX_FIELDS_CHARACTERS = 65_536
/** Senders of the loop that gives the mail back without fields. */
const BARE_SENDER = /^staff@(hotmail|outlook|live|msn)\.com$/i
const BARE_SUBJECT = /^complaint about message from /i

/** Null when the mail is no feedback report. `original` are the header fields of the mail that it encloses. */
export function readFeedbackReport(
  parts: readonly Part[],
  original: ReadonlyMap<string, string> | null,
): FeedbackReport | null {
  const top = parts[0]
  if (top === undefined) return null
  // What an enclosed message holds speaks of that one.
  const fieldsPart = parts.find((part) => !part.enclosed && part.type === 'message/feedback-report')
  const declared = (top.parameters.get('report-type') ?? '').toLowerCase() === 'feedback-report'
  if (fieldsPart === undefined && !declared && !isBare(top, original)) return null
  const text = (fieldsPart?.text ?? '').slice(0, MAX_FIELDS_CHARACTERS)
  const fields = readHeaders(text)
  const path = fields.get('original-mail-from')
  return {
    type: (fields.get('feedback-type') ?? '').toLowerCase(),
    recipients: recipientsOf(text, fields, original),
    originalMailFrom: path === undefined ? null : addressOf(path),
  }
}

/** RFC 5965 §3.2: Original-Rcpt-To once for each recipient; else who wants no more mail; else whom the original was for. */
function recipientsOf(
  text: string,
  fields: ReadonlyMap<string, string>,
  original: ReadonlyMap<string, string> | null,
): readonly string[] {
  const named = [...text.matchAll(/^original-rcpt-to[ \t]{0,5}:(.{1,500})/gim)]
    .slice(0, MAX_RECIPIENTS)
    .map((found) => addressOf(found[1]!.trim()))
    .filter((address) => address.includes('@'))
  if (named.length > 0) return [...new Set(named)]
  const told = [
    fields.get('removal-recipient'),
    original?.get('x-hmxmroriginalrecipient'),
    original?.get('x-original-to'),
    original?.get('to'),
  ]
  const other = told.map((value) => addressOf(value ?? '')).find((address) => address.includes('@'))
  return other === undefined ? [] : [other]
}

function isBare(top: Part, original: ReadonlyMap<string, string> | null): boolean {
  return (
    original !== null &&
    BARE_SUBJECT.test(top.headers.get('subject') ?? '') &&
    BARE_SENDER.test(addressOf(top.headers.get('from') ?? ''))
  )
}
