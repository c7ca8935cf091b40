import type { Aftermath, SeenRecipient } from './scenario-world.ts'
import { ended, LATE_MS } from './scenario-world.ts'

const UNCERTAIN_ATTEMPTS = 3
/** A queue's clock and a test's are a step apart. */
const EARLY_MS = 1000

type Copies = Aftermath['copies']

/** What a world must not show, one line each; empty: every promise held. */
export function broken(after: Aftermath): string[] {
  const wrong = [...after.problems]
  const outcomes = groupBy(after.events, (event) => keyOf(event.message_id, event.recipient))
  const copies = groupBy(after.copies, (copy) => keyOf(idOf(copy.messageId), copy.recipient))
  const present = groupBy(after.recipients, (row) => keyOf(row.id, row.address))
  for (const message of after.messages)
    for (const address of message.addresses)
      if (message.acked && !present.has(keyOf(message.id, address)))
        wrong.push(`I-01 ${message.id} ${address} was acknowledged and is gone`)
  for (const row of after.recipients) {
    const key = keyOf(row.id, row.address)
    const types = (outcomes.get(key) ?? []).map((event) => event.type)
    if (types.length !== 1 || types[0] !== row.state)
      wrong.push(`I-04 ${key} is ${row.state} (${row.reason}) with outcomes [${types.join()}]`)
    wrong.push(...copiesOf(row, copies.get(key) ?? [], outcomes.get(key)?.[0]?.detail ?? {}, after))
    wrong.push(...inTime(row))
  }
  for (const key of copies.keys()) if (!present.has(key)) wrong.push(`${key} was sent and is not in the queue`)
  wrong.push(...steps(after), ...notices(after))
  return wrong
}

/** Copies at hosts are explained by recorded ambiguous ends and crashes, few, the same, and said. */
function copiesOf(
  row: SeenRecipient,
  copies: Copies,
  detail: Readonly<Record<string, unknown>>,
  { crashed }: Aftermath,
): string[] {
  const wrong: string[] = []
  const key = keyOf(row.id, row.address)
  const sent = row.state === 'sent' ? 1 : 0
  if (sent === 1 && copies.length === 0) wrong.push(`I-07 ${key} is sent and no host has it`)
  const cutOff = new Set(copies.map((copy) => copy.life).filter((life) => crashed.has(life))).size
  if (copies.length > sent + row.uncertain + cutOff)
    wrong.push(
      `I-06 ${key} (${row.state}) is there ${copies.length} times with ${row.uncertain} ambiguous ends, ${cutOff} crashes`,
    )
  if (copies.length > UNCERTAIN_ATTEMPTS + cutOff)
    wrong.push(`I-06 ${key} is there ${copies.length} times, more than K`)
  const said = row.state === 'uncertain' || row.maybe_duplicate === 1
  if (copies.length > sent && !said) wrong.push(`I-05 ${key} (${row.state}) has a copy that is not flagged`)
  if (copies.length > 1 && sent === 1 && detail.maybeDuplicate !== true)
    wrong.push(`I-05 ${key} was sent ${copies.length} times and its event does not say so`)
  if (new Set(copies.map((copy) => copy.sha256)).size > 1) wrong.push(`I-09 ${key} has copies that differ`)
  return wrong
}

function inTime(row: SeenRecipient): string[] {
  const { id, address, state, reason, settled_ms: settledMs, expires_ms: expiresMs } = row
  if (!ended(row)) return [`I-04 ${id} ${address} waits for ever: ${state}, ${reason}`]
  if (state === 'expired' && settledMs! < expiresMs - EARLY_MS) return [`I-16 ${id} ${address} expired early`]
  return state === 'expired' && settledMs! > expiresMs + LATE_MS ? [`${id} ${address} expired hours late`] : []
}

/** I-31: what was suppressed, cancelled or held is not sent from then on. */
function steps({ done, copies }: Aftermath): string[] {
  return done.flatMap((step) => {
    if (step.do !== 'suppress' && step.do !== 'cancel' && step.do !== 'hold') return []
    const after = copies.filter(
      (copy) =>
        copy.recipient === step.recipient &&
        (step.do === 'suppress' || idOf(copy.messageId) === step.messageId) &&
        copy.order > step.order &&
        copy.order < step.until,
    )
    return after.length === 0 ? [] : [`I-31 ${step.messageId} ${step.recipient} was sent after ${step.do}`]
  })
}

/** A sender is told once of each failure it wants to know of, and of nothing else; never about a notice. */
function notices({ recipients, copies }: Aftermath): string[] {
  const wrong: string[] = []
  const wanted = recipients.filter(
    (row) =>
      ['bounced', 'expired', 'uncertain', 'suppressed'].includes(row.state) &&
      row.reverse_path !== '' &&
      (row.notify === null || row.notify.includes('failure')),
  ).length
  const made = (subject: string): number =>
    recipients.filter((row) => row.submitter === 'system' && row.subject === subject).length
  const asked = (what: string): number =>
    recipients.filter((row) => row.reverse_path !== '' && row.notify?.includes(what)).length
  const failures = new Map<string, Set<string>>()
  for (const { content, messageId } of copies) {
    const text = content.toString('latin1')
    const about = /^Final-Recipient: rfc822; (\S+)/m.exec(text)?.[1]
    if (about === undefined || !/^Action: failed/m.test(text)) continue
    failures.set(about, (failures.get(about) ?? new Set()).add(messageId))
  }
  for (const [about, ids] of failures) if (ids.size > 1) wrong.push(`the sender was told ${ids.size} times of ${about}`)
  const failed = made('Delivery failed')
  if (failed !== wanted) wrong.push(`${wanted} failures were to be told, ${failed} notices were made`)
  if (made('Delivery delayed') > asked('delay')) wrong.push('more delays were told than asked for')
  if (made('Passed on') > asked('success')) wrong.push('more successes were told than asked for')
  return wrong
}

function keyOf(id: string, recipient: string): string {
  return `${id} ${recipient}`
}

function idOf(messageId: string): string {
  return messageId.replace(/^</, '').replace(/@.*$/, '')
}

function groupBy<T>(list: readonly T[], key: (one: T) => string): Map<string, T[]> {
  return Map.groupBy(list, key)
}
