import { decodeWords, type Part, readHeaders, readParts } from '#mail'
import { addressIn, holdsOthers, readStatusGroups, type StatusGroup } from './delivery-fields.ts'
import { readPlainBounce } from './plain-bounce.ts'
import { codeIn, enhancedIn, type ReplyRules } from './replies.ts'

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
const MAX_COMPLAINERS = 50
const GOOD = new Set(['delivered', 'relayed', 'expanded'])

const AUTO_SUBJECT =
  /^\W{0,3}(re:\s*)?(auto(matic|matische|matica|mática)?[\s-]?(reply|response|antwort|risposta|respuesta)|auto:|automatic|autoreply|out of (the )?office|vacation|away from|on (annual )?leave|abwesenheit|réponse automatique|respuesta automática|risposta automatica|resposta automática|afwezig|自動返信|自动回复)/i
const BOUNCE_SUBJECT =
  /undeliver|deliver(y|ed)? (status|fail|problem|error|report|has failed|incomplete)|returned (mail|to sender)|failure notice|mail (delivery|system) |mail failure|failed mail|(message|mail) (could )?not (be )?delivered|non[- ]?deliver|not been delivered|failed delivery|unzustellbar|nicht zugestellt|non remis|échec|no se (ha )?pud|no entregad|mancata consegna|não entreg|returned email|returned message|bounce|rejected|warning: (could not|message)|delayed mail|delivery notification|配信|エラー|退信|недоставл/i
const BOUNCE_SENDER =
  /mailer[-_. ]?daemon|postmaster|mail delivery|maildeliverysystem|mail system|mail administrator|system administrator|bounce|noreply-mail|delivery (subsystem|service)|mdaemon|microsoftexchange/i
/** What notices say in their text when the subject is of no help. */
const BOUNCE_WORDS =
  /(could|can|was|were|has|have) ?not (be|been)? ?(delivered|able to deliver|reached)|unable to deliver|undeliver|delivery (to the following|has failed|failed|failure)|permanent (fatal )?error|failed permanently|returned (mail|to you|because)|mail has been returned|did not reach|not delivered|following address(es)? (had|failed)|(was|were|been) (rejected|refused)|not accepted|did not exactly match|unknown (user|recipient)|user unknown|non(-| )?remis|nicht zugestellt|no (se )?pud/i
const DELAY_WORDS =
  /(will|we.?ll) (keep|continue) (trying|to try)|still being (tried|retried)|will be (re)?tried|delivery (attempts )?will (continue|be)|delayed mail|message (is|has been|still) (being )?delayed|delivery (is|has been) delayed|warning message only|you do not need to resend|do not need to resend|not been delivered (yet|within)|delivery status notification \(delay\)|has not yet been delivered/i
const CHALLENGE_WORDS =
  /(confirm|verify) (that )?you(r message| are (a )?(human|real|not))|click (on )?(the|this) (link|url) (below )?(to|and) (confirm|deliver|release|verify)|sender verification|spam ?arrest|boxbe|challenge[- ]response|please confirm your (message|email|mail|e-mail) |waiting list|one-time (confirmation|verification)|held (in|until).{0,60}(confirm|verif)/i

/** Reads a mail that came back. Never throws; what it cannot make out is `other` and changes nothing. */
export function readReport(raw: Uint8Array, rules: ReplyRules): Report {
  const parts = readParts(raw)
  const top = parts[0]
  if (top === undefined) return { kind: 'other', ...NOTHING }
  const original = originalOf(parts)
  const reportType = (top.parameters.get('report-type') ?? '').toLowerCase()
  // What an enclosed message holds speaks of that one: somebody may have passed a bounce on.
  const ours = parts.filter((part) => !part.enclosed)
  const feedback = ours.find((part) => part.type === 'message/feedback-report')
  if (feedback !== undefined || reportType === 'feedback-report' || isBareComplaint(top, original))
    return complaint(feedback, original)
  if (reportType === 'tlsrpt' || isAggregate(top, ours)) return { kind: 'report', ...NOTHING }
  if (
    reportType === 'disposition-notification' ||
    ours.some((part) => part.type === 'message/disposition-notification')
  )
    return { kind: 'other', ...NOTHING }
  if (isAutomaticAnswer(top)) return { kind: automaticKind(top, textOf(parts)), ...NOTHING }
  const groups = readStatusGroups(parts)
  if (groups.length > 0) return fromGroups(groups, parts, original, rules)
  return wrappedNotice(top, ours, rules) ?? fromText(top, parts, original, rules)
}

/** A mail system that passes on the notice of another one as an attachment; a person who does so is no mail system. */
function wrappedNotice(top: Part, ours: readonly Part[], rules: ReplyRules): Report | null {
  if (!BOUNCE_SENDER.test(top.headers.get('from') ?? '')) return null
  const enclosed = ours.find((part) => part.depth > 0 && part.type === 'message/rfc822')
  if (enclosed === undefined) return null
  const headers = readHeaders(enclosed.text)
  if (!BOUNCE_SENDER.test(headers.get('from') ?? '')) return null
  const inner = readParts(Buffer.from(enclosed.text))
  const groups = readStatusGroups(inner)
  return groups.length === 0 ? null : fromGroups(groups, inner, originalOf(inner), rules)
}

/** The fixed line of `relevo bounce parse`. */
export function parseBounceFile(raw: Uint8Array, rules: ReplyRules): Pick<Report, 'kind' | 'recipients'> {
  const { kind, recipients } = readReport(raw, rules)
  return { kind, recipients }
}

type Original = { readonly headers: ReadonlyMap<string, string> } | null

function originalOf(parts: readonly Part[]): Original {
  const at = parts.findIndex(
    (part) =>
      part.depth > 0 &&
      (part.type === 'message/rfc822' ||
        part.type === 'text/rfc822-headers' ||
        part.type === 'message/global' ||
        part.type === 'message/global-headers'),
  )
  const part = parts[at]
  if (part === undefined) return null
  return { headers: readHeaders(part.text) }
}

function enclosedFacts(original: Original): Pick<Report, 'originalMessageId' | 'originalReturnPath'> {
  const id = original?.headers.get('message-id') ?? ''
  const path = original?.headers.get('return-path') ?? ''
  return { originalMessageId: id === '' ? null : id, originalReturnPath: path === '' ? null : addressIn(path) }
}

/** RFC 5965; some providers leave out the fields and say the recipient in the original's header only. */
function complaint(feedback: Part | undefined, original: Original): Report {
  const fields = readHeaders(feedback?.text ?? '')
  const facts = enclosedFacts(original)
  const path = fields.get('original-mail-from')
  const type = (fields.get('feedback-type') ?? '').toLowerCase()
  // RFC 6591, and the opposite of a complaint.
  if (type === 'auth-failure' || type === 'not-spam') return { kind: 'report', ...NOTHING }
  // RFC 5965 §3.2: once for each recipient of the original.
  const named = [...(feedback?.text ?? '').matchAll(/^original-rcpt-to[ \t]{0,5}:(.{1,500})/gim)]
    .slice(0, MAX_COMPLAINERS)
    .map((found) => addressIn(found[1]!.trim()))
    .filter((address) => address.includes('@'))
  const told = [
    fields.get('removal-recipient'),
    original?.headers.get('x-hmxmroriginalrecipient'),
    original?.headers.get('to'),
  ]
  const other = told.map((value) => addressIn(value ?? '')).find((value) => value.includes('@'))
  const addresses = named.length > 0 ? named : other === undefined ? [] : [other]
  return {
    kind: 'complaint',
    recipients: [...new Set(addresses)].map((address) => ({
      address,
      action: '',
      status: null,
      smtpCode: null,
      class: 'complaint',
      hard: null,
      diagnostic: fields.get('feedback-type') ?? '',
    })),
    originalMessageId: facts.originalMessageId,
    originalReturnPath: path === undefined ? facts.originalReturnPath : addressIn(path),
  }
}

/** The feedback loop of Outlook.com: no fields, the mail complained of is enclosed. */
function isBareComplaint(top: Part, original: Original): boolean {
  return (
    original !== null &&
    /^staff@(hotmail|outlook)\.com$/i.test(addressIn(top.headers.get('from') ?? '')) &&
    /^complaint about message from /i.test(subjectOf(top))
  )
}

function isAggregate(top: Part, parts: readonly Part[]): boolean {
  const subject = subjectOf(top)
  return /report[- ]domain:|^dmarc\b.{0,40}report/i.test(subject) && parts.some((part) => /zip|xml/.test(part.type))
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
    if (group.address !== '' && !seen.has(key)) seen.set(key, recipientOf(group, plain, rules))
  }
  const doubtful = isDoubtful(parts[0]!, original)
  const recipients = [...seen.values()].map((one) => (doubtful ? { ...one, hard: null } : one))
  const failed = recipients.filter((one) => !GOOD.has(one.action) && one.action !== 'delayed')
  const kind = failed.length > 0 ? 'bounce' : recipients.some((one) => one.action === 'delayed') ? 'delay' : 'success'
  return { kind, recipients, ...enclosedFacts(original) }
}

function recipientOf(group: StatusGroup, plain: string, rules: ReplyRules): ReportedRecipient {
  // The fields first; where they say nothing, what the text for people says about this address.
  const generic = group.status === '' || /^[45]\.0\.0$/.test(group.status)
  const diagnostic = group.diagnostic !== '' ? group.diagnostic : near(plain, group.address)
  const status = generic ? enhancedIn(diagnostic) || group.status : group.status
  const action =
    group.action === ''
      ? status.startsWith('2')
        ? 'delivered'
        : status.startsWith('4')
          ? 'delayed'
          : 'failed'
      : group.action
  if (GOOD.has(action) || action === 'delayed')
    return {
      address: group.address,
      action,
      status: status || null,
      smtpCode: codeIn(diagnostic) || null,
      class: action,
      hard: null,
      diagnostic,
    }
  const code = codeIn(diagnostic)
  const classified = rules.classify({
    text: diagnostic || status,
    ...(status === '' ? {} : { enhanced: status }),
    ...(code === '' ? {} : { code: Number(code) }),
  })
  return {
    address: group.address,
    action,
    status: status || null,
    smtpCode: code || null,
    class: classified.class,
    hard: classified.hard,
    diagnostic,
  }
}

function near(text: string, address: string): string {
  const at = text.toLowerCase().indexOf(address.toLowerCase())
  return at < 0 ? '' : text.slice(at, at + 600).replace(/\s+/g, ' ')
}

/** What the mail itself says for people, without markup. */
function textOf(parts: readonly Part[]): string {
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
    .slice(0, 100_000)
}

function fromText(top: Part, parts: readonly Part[], original: Original, rules: ReplyRules): Report {
  const subject = subjectOf(top)
  const from = top.headers.get('from') ?? ''
  const text = textOf(parts)
  const failedHeader = top.headers.get('x-failed-recipients')
  const bounced = failedHeader !== undefined || isBounce(top, subject, from, text) || isReturned(top, subject, original)
  if (!bounced) return { kind: automaticKind(top, text), ...NOTHING }
  const own = new Set(
    [top.headers.get('to'), from, original?.headers.get('from')].map((value) => addressIn(value ?? '').toLowerCase()),
  )
  const told =
    failedHeader === undefined ? fallback(readPlainBounce(text, own), text, original) : inHeader(failedHeader, text)
  if (told.length === 0) return { kind: 'other', ...NOTHING, ...enclosedFacts(original) }
  const delayed = DELAY_WORDS.test(text) && !/permanent|giving up|final failure|gave up/i.test(text)
  const doubtful = isDoubtful(top, original)
  const recipients = told.map(({ address, text: why }): ReportedRecipient => {
    const near = rules.classify({ text: why })
    // When the words at the address say nothing, those of the whole notice do, if it speaks of one recipient.
    const classified =
      near.class === 'unclassified' && told.length === 1 ? rules.classify({ text: noticeOf(text) }) : near
    return {
      address,
      action: delayed ? 'delayed' : 'failed',
      status: enhancedIn(why) || (told.length === 1 ? enhancedIn(noticeOf(text)) : '') || null,
      smtpCode: codeIn(why) || null,
      class: delayed ? 'delayed' : classified.class,
      hard: delayed || doubtful ? null : classified.hard,
      diagnostic: why,
    }
  })
  return { kind: delayed ? 'delay' : 'bounce', recipients, ...enclosedFacts(original) }
}

/** The notice without what it encloses, as far as a classification reads. */
function noticeOf(text: string): string {
  return text.replace(/\n-{2,}.{0,40}(original|copy|returned|headers).*/is, '').slice(0, 2000)
}

/** A mail system says that it could not deliver; a person's automatic answer that quotes one does not. */
function isBounce(top: Part, subject: string, from: string, text: string): boolean {
  const daemon = BOUNCE_SENDER.test(from)
  if (AUTO_SUBJECT.test(subject) && !daemon) return false
  if (/auto-replied/i.test(top.headers.get('auto-submitted') ?? '') && !daemon && !BOUNCE_SUBJECT.test(subject))
    return false
  if (CHALLENGE_WORDS.test(text.slice(0, 20_000)) && !/permanent|fatal|undeliver/i.test(text.slice(0, 20_000)))
    return false
  const nullPath = /^<>$/.test(top.headers.get('return-path') ?? '')
  if (daemon) return BOUNCE_SUBJECT.test(subject) || BOUNCE_WORDS.test(text.slice(0, 20_000))
  return BOUNCE_SUBJECT.test(subject) && (nullPath || BOUNCE_WORDS.test(text.slice(0, 20_000)))
}

function subjectOf(top: Part): string {
  return decodeWords(top.headers.get('subject') ?? '')
}

/** Somebody's own automatic answer, whatever it quotes. */
function isAutomaticAnswer(top: Part): boolean {
  return AUTO_SUBJECT.test(subjectOf(top)) && !BOUNCE_SENDER.test(top.headers.get('from') ?? '')
}

/** Without any words that are known: a mail without sender (RFC 3464 §2) that gives its reader a mail of its own back. */
function isReturned(top: Part, subject: string, original: Original): boolean {
  if (top.headers.get('return-path') !== '<>' || original === null || AUTO_SUBJECT.test(subject)) return false
  const reader = addressIn(top.headers.get('to') ?? '').toLowerCase()
  return reader.includes('@') && addressIn(original.headers.get('from') ?? '').toLowerCase() === reader
}

function automaticKind(top: Part, text: string): ReportKind {
  const subject = subjectOf(top)
  if (CHALLENGE_WORDS.test(text.slice(0, 20_000))) return 'challenge'
  const marked = ['x-autoreply', 'x-autorespond', 'x-autoresponder'].some((name) => top.headers.has(name))
  const said =
    /auto-(replied|generated)/i.test(top.headers.get('auto-submitted') ?? '') ||
    /auto_reply/i.test(top.headers.get('precedence') ?? '')
  return AUTO_SUBJECT.test(subject) || marked || said ? 'auto-reply' : 'other'
}

function inHeader(header: string, text: string): { address: string; text: string }[] {
  return header
    .split(',', 50)
    .map((one) => addressIn(one))
    .filter((address) => address.includes('@'))
    .map((address) => ({ address, text: near(noticeOf(text), address) || noticeOf(text).slice(0, 1000) }))
}

/** Nobody is named: the enclosed original was for somebody. */
function fallback(
  told: readonly { address: string; text: string }[],
  text: string,
  original: Original,
): readonly { address: string; text: string }[] {
  if (told.length > 0) return told
  const to =
    addressIn(original?.headers.get('to') ?? '') ||
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
    addressIn(value ?? '')
      .split('@')
      .at(-1)!
      .toLowerCase()
  const [reporter, reader] = [domain(top.headers.get('from')), domain(top.headers.get('to'))]
  const author = domain(original?.headers.get('from'))
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

function stripTags(html: string): string {
  return html
    .replace(/<(br|p|div|tr|li|h\d)\b[^<>]{0,500}>/gi, '\n')
    .replace(/<[^<>]{0,1000}>/g, ' ')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&nbsp;', ' ')
    .replaceAll('&amp;', '&')
}
