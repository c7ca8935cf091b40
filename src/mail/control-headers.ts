import { failed, ok, type Result } from '#base'
import { decodeWords } from './encoded-words.ts'
import { fieldValue } from './header.ts'
import type { ControlHeaders, HeaderField, MessageError } from './types.ts'

// The control headers of a submission: our own X-Relevo-*, and those of SendGrid, Mailgun, Postmark and Amazon SES, so
// that an app changes its server and nothing else. Ours win over an alias; all of them are stripped.

const MAX_TAGS = 32
const MAX_TAG_CHARACTERS = 128
const MAX_METADATA = 50
const MAX_METADATA_CHARACTERS = 1024
const MAX_NAME_CHARACTERS = 128
const MAX_JSON_CHARACTERS = 65_536
const OURS = 'x-relevo-'
const KNOWN =
  'Tag, Metadata-<key>, Priority, Send-At, Track-Opens, Track-Clicks, Template, Idempotency-Key, Category, Campaign, Route'

type Draft = {
  -readonly [K in keyof ControlHeaders]: ControlHeaders[K]
} & { tags: string[]; metadata: Record<string, string> }

/** Whether a field (lower-case name) is one that controls a relay and never leaves. */
export function isControlHeader(name: string): boolean {
  if (name.charCodeAt(0) !== 0x78) return false
  return (
    name.startsWith(OURS) ||
    name === 'x-smtpapi' ||
    name.startsWith('x-mailgun-') ||
    name.startsWith('x-pm-') ||
    name.startsWith('x-ses-')
  )
}

/** Reads the control headers among the fields. The error names the field and says what to write instead. */
export function readControlHeaders(fields: readonly HeaderField[]): Result<ControlHeaders, MessageError> {
  const draft = emptyControl()
  const ours = fields.filter((field) => field.name.startsWith(OURS))
  const others = fields.filter((field) => !field.name.startsWith(OURS) && isControlHeader(field.name))
  for (const field of [...ours, ...others]) {
    const value = decodeWords(fieldValue(field)).trim()
    const wrong = field.name.startsWith(OURS)
      ? readOurs(draft, field.name.slice(OURS.length), value)
      : readAlias(draft, field.name, value)
    if (wrong !== null) return failed(controlError(displayName(field), wrong))
  }
  return ok(draft)
}

/** What a message without control headers says: nothing. */
export function emptyControl(): Draft {
  return {
    tags: [],
    metadata: Object.create(null) as Record<string, string>,
    priority: null,
    sendAtMs: null,
    idempotencyKey: null,
    category: null,
    campaign: null,
    route: null,
    trackOpens: null,
    trackClicks: null,
    template: null,
  }
}

function controlError(field: string, message: string): MessageError {
  return { code: 554, enhanced: '5.6.0', field, message: `${field}: ${message}` }
}

/** The field's name as the sender wrote it. */
function displayName(field: HeaderField): string {
  return field.raw.toString('latin1', 0, Math.min(field.name.length, MAX_NAME_CHARACTERS))
}

/** Each reader answers null, or what is wrong and what to do. */
function readOurs(draft: Draft, key: string, value: string): string | null {
  switch (key) {
    case 'tag':
      return addTags(draft, value.split(','))
    case 'priority':
      return once(draft, 'priority', readPriority(value), 'write urgent, high, normal or low')
    case 'send-at':
      return once(draft, 'sendAtMs', readTime(value), 'write a time such as 2026-01-31T08:00:00Z or seconds since 1970')
    case 'track-opens':
      return once(draft, 'trackOpens', readBoolean(value), 'write yes or no')
    case 'track-clicks':
      return once(draft, 'trackClicks', readBoolean(value), 'write yes or no')
    case 'template':
      return once(draft, 'template', readName(value), 'write the name of a template, at most 128 characters')
    case 'idempotency-key':
      return once(draft, 'idempotencyKey', readKey(value), 'write 1 to 128 printable ASCII characters without spaces')
    case 'category':
      return once(draft, 'category', readName(value), 'write one category, at most 128 characters')
    case 'campaign':
      return once(draft, 'campaign', readName(value), 'write the name of one campaign, at most 128 characters')
    case 'route':
      return once(draft, 'route', readName(value), 'write the name of one route, at most 128 characters')
  }
  if (key.startsWith('metadata-')) return addMetadata(draft, key.slice('metadata-'.length), value)
  return `there is no such control header: known after X-Relevo- are ${KNOWN}`
}

function readAlias(draft: Draft, name: string, value: string): string | null {
  switch (name) {
    case 'x-smtpapi':
      return readSmtpApi(draft, value)
    case 'x-pm-tag':
    case 'x-mailgun-tag':
      return addTags(draft, [value])
    case 'x-mailgun-variables':
      return readVariables(draft, value)
    case 'x-mailgun-deliver-by':
      return fill(draft, 'sendAtMs', readTime(value), 'write a time such as Sat, 31 Jan 2026 08:00:00 +0000')
    case 'x-mailgun-drop-message':
      return 'is not supported: send to a server in sandbox mode to try something out'
    case 'x-mailgun-track-opens':
    case 'x-pm-trackopens':
      return fill(draft, 'trackOpens', readBoolean(value), 'write yes or no')
    case 'x-mailgun-track-clicks':
      return fill(draft, 'trackClicks', /^html/i.test(value) ? true : readBoolean(value), 'write yes, no or htmlonly')
    case 'x-pm-tracklinks':
      return fill(draft, 'trackClicks', readTrackLinks(value), 'write None, HtmlAndText, HtmlOnly or TextOnly')
    case 'x-ses-message-tags':
      return readSesTags(draft, value)
  }
  if (name.startsWith('x-pm-metadata-')) return addMetadata(draft, name.slice('x-pm-metadata-'.length), value)
  return null // Settings of a service that is not there (configuration sets, IP pools, streams): stripped, nothing to say.
}

type Single = Exclude<keyof ControlHeaders, 'tags' | 'metadata'>

/** Sets what may be said once; the same again is no contradiction. */
function once<K extends Single>(draft: Draft, key: K, value: Draft[K], remedy: string): string | null {
  if (value === null) return remedy
  const before = draft[key]
  if (before !== null && before !== value) return 'stands there twice with different values: leave one'
  draft[key] = value
  return null
}

/** Sets what nothing before has set. */
function fill<K extends Single>(draft: Draft, key: K, value: Draft[K], remedy: string): string | null {
  if (value === null) return remedy
  if (draft[key] === null) draft[key] = value
  return null
}

function addTags(draft: Draft, tags: readonly string[]): string | null {
  for (const part of tags) {
    const tag = readName(part.trim())
    if (tag === null) return 'a tag has 1 to 128 characters and no control characters'
    if (draft.tags.includes(tag)) continue
    if (draft.tags.length === MAX_TAGS) return `there are more than ${MAX_TAGS} tags`
    draft.tags.push(tag)
  }
  return null
}

/** Keys in lower case, since header names have no case. */
function addMetadata(draft: Draft, name: string, value: string): string | null {
  const key = name.toLowerCase()
  if (!/^[a-z0-9_.-]{1,64}$/.test(key))
    return 'a metadata key has 1 to 64 letters, digits, hyphens, dots or underscores'
  if (value.length > MAX_METADATA_CHARACTERS)
    return `a metadata value has at most ${MAX_METADATA_CHARACTERS} characters`
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) return 'a metadata value has no control characters'
  if (key in draft.metadata) return null
  if (Object.keys(draft.metadata).length === MAX_METADATA) return `there are more than ${MAX_METADATA} metadata keys`
  draft.metadata[key] = value
  return null
}

function readPriority(value: string): Draft['priority'] {
  const name = value.toLowerCase()
  return name === 'urgent' || name === 'high' || name === 'normal' || name === 'low' ? name : null
}

function readBoolean(value: string): boolean | null {
  const word = value.toLowerCase()
  if (word === 'yes' || word === 'true' || word === 'on' || word === '1') return true
  return word === 'no' || word === 'false' || word === 'off' || word === '0' ? false : null
}

function readTrackLinks(value: string): boolean | null {
  const word = value.toLowerCase()
  if (word === 'none') return false
  return word === 'htmlandtext' || word === 'htmlonly' || word === 'textonly' ? true : null
}

function readName(value: string): string | null {
  return value !== '' && value.length <= MAX_TAG_CHARACTERS && !/[\u0000-\u001f\u007f]/.test(value) ? value : null
}

function readKey(value: string): string | null {
  return /^[\x21-\x7e]{1,128}$/.test(value) ? value : null
}

/** Seconds or milliseconds since 1970, RFC 3339, or an RFC 5322 date; a time without zone would mean the server's own and is refused. */
function readTime(value: string): number | null {
  if (/^[0-9]{9,10}$/.test(value)) return Number(value) * 1000
  if (/^[0-9]{13}$/.test(value)) return Number(value)
  if (value.length > 64 || !/(?:Z|[+-][0-9]{2}:?[0-9]{2}|GMT|UTC?)$/i.test(value)) return null
  const ms = Date.parse(value)
  return Number.isFinite(ms) && ms > 0 ? ms : null
}

function readObject(value: string): Map<string, unknown> | null {
  if (value.length > MAX_JSON_CHARACTERS) return null
  try {
    const parsed: unknown = JSON.parse(value)
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return null
    return new Map(Object.entries(parsed))
  } catch {
    return null
  }
}

function addObject(draft: Draft, entries: Iterable<[string, unknown]>): string | null {
  for (const [key, value] of entries) {
    const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
    const wrong = addMetadata(draft, key, text)
    if (wrong !== null) return wrong
  }
  return null
}

function readVariables(draft: Draft, value: string): string | null {
  const object = readObject(value)
  return object === null ? 'write one JSON object, such as {"order": "1234"}' : addObject(draft, object)
}

/** SendGrid's JSON. What would change recipients or text cannot be ignored without sending something else than meant. */
function readSmtpApi(draft: Draft, value: string): string | null {
  const api = readObject(value)
  if (api === null) return 'write one JSON object, such as {"category": "receipts"}'
  for (const key of ['to', 'sub', 'section'])
    if (api.has(key)) return `"${key}" is not supported: send one message a recipient with its text in place`
  const category = api.get('category')
  const categories = (Array.isArray(category) ? category : category === undefined ? [] : [category]) as unknown[]
  if (!categories.every((name) => typeof name === 'string')) return '"category" is a string or a list of strings'
  const wrongTag = addTags(draft, categories as string[])
  if (wrongTag !== null) return wrongTag
  if (draft.category === null && categories.length > 0) draft.category = readName(String(categories[0]).trim())
  const sendAt = api.get('send_at')
  if (sendAt !== undefined) {
    const wrong = fill(draft, 'sendAtMs', readTime(String(sendAt)), '"send_at" is a number of seconds since 1970')
    if (wrong !== null) return wrong
  }
  for (const key of ['unique_args', 'custom_args']) {
    const args = api.get(key)
    if (args === undefined) continue
    if (typeof args !== 'object' || args === null || Array.isArray(args)) return `"${key}" is a JSON object`
    const wrong = addObject(draft, Object.entries(args))
    if (wrong !== null) return wrong
  }
  return null
}

/** `name=value, name=value` */
function readSesTags(draft: Draft, value: string): string | null {
  for (const pair of value.split(',')) {
    const equals = pair.indexOf('=')
    if (equals < 1) return 'write name=value pairs separated by commas'
    const wrong = addMetadata(draft, pair.slice(0, equals).trim(), pair.slice(equals + 1).trim())
    if (wrong !== null) return wrong
  }
  return null
}
