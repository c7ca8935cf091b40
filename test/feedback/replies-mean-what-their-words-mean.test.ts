import t from 'tap'
import { loadReplyRules } from '#feedback'

// Replies as hosts of many kinds give them, each told from the one that looks most like it.

const rules = loadReplyRules(new URL('../../config/replies.toml', import.meta.url).pathname)

const PAIRS: readonly [string, string, boolean | null][] = [
  ['550 User Ana (ana@example.org) not listed in Domino Directory', 'user-unknown', true],
  ['550 Ana Example not listed in public Name & Address Book', 'user-unknown', true],
  ['554 192.0.2.1 is listed in a DNS blacklist', 'ip-blocked', false],
  ['502 5.5.2 Error: command not recognized', 'protocol', false],
  ['500 unrecognized command', 'protocol', false],
  ['550 recipient not recognized', 'user-unknown', true],
  ['550 unrouteable user', 'user-unknown', true],
  ['550 Unrouteable address', 'domain-unknown', true],
  ['550 account not available', 'user-unknown', true],
  ['<ana@example.org>: mailbox unavailable for now (#4.1.9)', 'system', false],
  ['550-Callout verification failed: 550 No Such User Here', 'user-unknown', true],
  ['550 Sender verify failed', 'sender-rejected', false],
  ['550 5.7.1 <ana@example.org>... Relaying denied. Proper authentication required', 'relay-denied', false],
  ['530 5.7.0 Authentication required', 'smtp-auth', false],
  ['550 5.7.1 a mail without a valid address in From: header is refused', 'rfc-compliance', false],
  ['554 DT:SPM here, see the help pages', 'spam-content', false],
  ['550 this host is not authorized to send email directly to us', 'ip-blocked', false],
  ['El buzón de ana está lleno', 'mailbox-full', false],
  ['Empfaengeradresse unbekannt', 'user-unknown', true],
  // It may be closed only: https://support.google.com describes both with one text.
  ['The group is gone or is not yours to write to, see https://groups.google.com/support/', 'recipient-rejected', null],
  ['554 5.7.1 Refused: the sending domain does not exist in the DNS', 'sender-rejected', false],
  ['550 5.7.1 the host you are connecting from does not exist for us', 'ip-blocked', false],
  ['451 4.3.0 user lookup failed, address not found in the cache', 'system', false],
  ['550 5.7.1 there is an invalid address in the Cc header', 'rfc-compliance', false],
  ['554 5.5.1 Error: no valid recipients', 'protocol', false],
  ['432 4.2.1 the mailbox will be moved to another database', 'system', false],
  ['551 5.1.6 ana has moved to new@example.org', 'moved', true],
  ['550 5.1.1 <ana@example.org> does not exist or is inactive', 'user-unknown', true],
  ['550 the account is inactive', 'mailbox-disabled', null],
  ['delivery was aborted after 5.0 hours: there was no gateway', 'expired', false],
]

await t.test('words that look alike are told apart', async (t) => {
  for (const [text, replyClass, hard] of PAIRS) {
    const got = rules.classify({ text })
    t.strictSame([got.class, got.hard], [replyClass, hard], text)
  }
})

await t.test('only at the start of a text is a code of success a code', async (t) => {
  t.equal(rules.classify({ text: 'Out: 250 ok Out: 451 4.3.0 come again' }).action, 'retry')
  t.equal(rules.classify({ text: 'Out: 250 ok Out: 550 gone fishing' }).hard, null)
})
