/** What the sink does with a recipient, decided by the local part alone. */
export type Rule =
  | { readonly kind: 'take' }
  /** Answer to RCPT, or to the final dot. `close`: the connection ends after it. */
  | { readonly kind: 'refuse'; readonly at: 'rcpt' | 'dot'; readonly reply: string; readonly close: boolean }
  | { readonly kind: 'greylist' }
  | { readonly kind: 'drop-at-rcpt' }
  /** Taken, then the connection is reset without an answer. */
  | { readonly kind: 'drop-after-dot' }
  /** Taken, and never answered. */
  | { readonly kind: 'stall-after-dot' }
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** Taken, and a report about it is sent to the reverse-path. */
  | { readonly kind: 'bounce-later' }
  | { readonly kind: 'complain-later' }

const SLOW_MS = 5000

function refuse(reply: string, at: 'rcpt' | 'dot' = 'rcpt', close = false): Rule {
  return { kind: 'refuse', at, reply, close }
}

/**
 * Names that stand for an everyday answer. Each may be followed by `-` or `+` and anything (`full-2@`).
 *
 * | local part | what happens |
 * |---|---|
 * | `450-x`, `451-x`, … `599-x` | that code at RCPT, with a fitting enhanced code |
 * | `550-5.7.26-x` | that code and that enhanced code |
 * | `dot-554-x`, `dot-451-4.7.1-x` | the same, in answer to the content |
 * | `unknown`, `full`, `disabled`, `blocked`, `spam`, `ratelimit`, `toobig` | the answers below |
 * | `greylist-x` | 450 the first time, then taken |
 * | `slow` | taken, RCPT answered after 5 s |
 * | `drop-at-rcpt` | the connection is reset |
 * | `drop-after-dot`, `stall-after-dot` | taken, and the answer never comes |
 * | `bounce-later`, `complain-later` | taken, then a DSN (RFC 3464) or a complaint (RFC 5965) goes to the reverse-path |
 * | anything else | taken |
 *
 * On the relay door everything is taken, except that `relay-` and one of the above is obeyed there (and only there).
 */
const NAMED: ReadonlyMap<string, Rule> = new Map([
  ['unknown', refuse('550 5.1.1 No such user here')],
  ['full', refuse('452 4.2.2 The mailbox is over its quota')],
  ['disabled', refuse('550 5.2.1 This mailbox has been disabled')],
  ['blocked', refuse('550 5.7.1 Your IP address is blocked because of its reputation; see the block list')],
  ['spam', refuse('554 5.7.1 Message refused: its content looks like spam', 'dot')],
  ['ratelimit', refuse('421 4.7.0 Too many messages from your address, try again later', 'rcpt', true)],
  ['toobig', refuse('552 5.3.4 Message larger than allowed', 'dot')],
  ['greylist', { kind: 'greylist' }],
  ['slow', { kind: 'slow', delayMs: SLOW_MS }],
  ['drop-at-rcpt', { kind: 'drop-at-rcpt' }],
  ['drop-after-dot', { kind: 'drop-after-dot' }],
  ['stall-after-dot', { kind: 'stall-after-dot' }],
  ['bounce-later', { kind: 'bounce-later' }],
  ['complain-later', { kind: 'complain-later' }],
])

const TEXTS: ReadonlyMap<number, string> = new Map([
  [421, '4.3.2 Service not available, closing'],
  [432, '4.7.12 A password transition is needed'],
  [450, '4.2.1 Mailbox busy, try again later'],
  [451, '4.3.0 Local error in processing'],
  [452, '4.3.1 Insufficient system storage'],
  [454, '4.7.0 Temporary authentication failure'],
  [455, '4.5.4 Cannot accept the parameters now'],
  [521, '5.3.2 This host does not accept mail'],
  [541, '5.7.1 Refused by policy'],
  [550, '5.1.1 No such user here'],
  [551, '5.1.6 The user has moved'],
  [552, '5.2.2 The mailbox is over its quota'],
  [553, '5.1.3 Mailbox name not allowed'],
  [554, '5.7.1 Refused by policy'],
  [556, '5.1.10 The domain does not accept mail'],
])

const CODE = /^(dot-)?([45]\d\d)(?:-([45]\.\d{1,3}\.\d{1,3}))?(?=$|[-+])/
const TAKE: Rule = { kind: 'take' }
const RELAY_PREFIX = 'relay-'

/** The rule a forward-path asks for at a door. */
export function ruleFor(address: string, door: 'mx' | 'relay'): Rule {
  const at = address.lastIndexOf('@')
  let local = (at < 0 ? address : address.slice(0, at)).toLowerCase()
  if (door === 'relay') {
    if (!local.startsWith(RELAY_PREFIX)) return TAKE
    local = local.slice(RELAY_PREFIX.length)
  }
  const coded = CODE.exec(local)
  if (coded) {
    const code = Number(coded[2])
    const fitting = coded[3]?.[0] === coded[2]![0] ? `${coded[3]} As asked for` : undefined
    const text = fitting ?? TEXTS.get(code) ?? `${coded[2]![0]}.0.0 As asked for`
    return refuse(`${code} ${text}`, coded[1] === undefined ? 'rcpt' : 'dot', code === 421)
  }
  for (const [name, rule] of NAMED) {
    if (local === name || local.startsWith(`${name}-`) || local.startsWith(`${name}+`)) return rule
  }
  return TAKE
}
