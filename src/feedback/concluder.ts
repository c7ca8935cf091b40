import type { Classified, Concluder, Reply } from '#delivery'
import { type ConcludeParts, makeConclude, makeExpire } from './conclude.ts'
import type { ReplyRules } from './replies.ts'

export type ConcluderParts = Omit<ConcludeParts, 'classify'> & { readonly rules: ReplyRules }

/** Reasons that come without a reply, and what class they are: from the DNS, or from our own checks. */
const BY_REASON: ReadonlyMap<string, Classified> = new Map([
  ['domain-not-found', { class: 'domain-unknown', hard: true, action: 'suppress' }],
  ['domain-takes-no-mail', { class: 'domain-no-mail', hard: true, action: 'suppress' }],
  ['null-mx', { class: 'domain-no-mail', hard: true, action: 'suppress' }],
  ['mx-without-address', { class: 'domain-unknown', hard: false, action: 'bounce' }],
  ['mail-loop', { class: 'network', hard: false, action: 'bounce' }],
  ['message-too-big', { class: 'too-large', hard: false, action: 'bounce' }],
  ['smtputf8-not-offered', { class: 'protocol', hard: false, action: 'bounce' }],
])
/** Stages whose replies speak of the recipient. */
const NAMED = new Set(['rcpt', 'data', 'dot'])
const NETWORK: Classified = { class: 'network', hard: false, action: 'retry' }

/** The one place where an attempt's results become what is committed. */
export function makeConcluder({ rules, ...parts }: ConcluderParts): Concluder {
  function classify(reply: Reply | null, stage: string, reason: string): Classified {
    if (reply === null) return BY_REASON.get(reason) ?? NETWORK
    const classified = rules.classify({ text: reply.text, code: reply.code, enhanced: reply.enhanced, stage })
    // Before a recipient was named no reply can say that it is dead, whatever its words.
    return classified.hard === true && !NAMED.has(stage) ? { ...classified, hard: null, action: 'bounce' } : classified
  }
  const whole: ConcludeParts = { ...parts, classify }
  const expire = makeExpire(whole)
  return {
    conclude: makeConclude(whole),
    expire: (claim, recipient, context) => expire(claim, recipient, '', context),
    classOf(result) {
      if (result.kind === 'refused' || result.kind === 'deferred')
        return classify(result.reply, result.stage, result.reason).class
      return ''
    },
  }
}
