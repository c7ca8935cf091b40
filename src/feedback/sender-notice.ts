import { newId } from '#base'
import type { Config } from '#config'
import { composeDsn, parseAddress, splitMessage } from '#mail'
import type { NewMessage } from '#queue'
import type { Notice } from './conclude.ts'

export type SenderNoticeParts = {
  readonly policy: Config['delivery']['dsn']
  readonly hostname: string
  /** How long the notice itself is tried. */
  readonly lifetimeMs: number
  content(messageId: string): Promise<Buffer>
}

const SUBJECTS = {
  failed: 'Delivery failed',
  delayed: 'Delivery delayed',
  relayed: 'Passed on',
  delivered: 'Delivered',
  expanded: 'Delivered to a list',
} as const satisfies Record<Notice['action'], string>

/** The DSN for what became of a recipient (RFC 3461 §5.2, §6), born in the settlement that says so; null when none is wanted. */
export function makeSenderNotice(parts: SenderNoticeParts): (notice: Notice) => Promise<NewMessage | null> {
  return async function noticeOf(notice) {
    const { message, recipient, action, nowMs } = notice
    const required = message.tls === 'required'
    // RFC 5321 §4.5.5: never about mail with the null reverse-path.
    if (message.reversePath === '' || !isWanted(parts.policy, action, recipient.notify, required)) return null
    const sender = parseAddress(message.reversePath)
    if (!sender.ok) return null
    const content = await parts.content(message.id).catch(() => null)
    const id = newId(nowMs)
    const raw = composeDsn({
      hostname: parts.hostname,
      nowMs,
      id,
      to: sender.value.text,
      envelopeId: message.envelopeId,
      arrivalMs: message.acceptedMs,
      originalHeader: content === null ? null : splitMessage(content).header,
      // RFC 3461 §4.3: RET is about failures; nobody is sent all of a message that arrived.
      // Of a message that asks for REQUIRETLS nothing but the header goes back, whatever RET says (RFC 8689 §5).
      originalContent: message.ret === 'full' && action === 'failed' && !required ? content : null,
      originalSubject: message.subject,
      recipients: [
        {
          finalRecipient: recipient.address,
          originalRecipient: recipient.originalRecipient,
          action,
          status: notice.status,
          remoteMta: notice.remoteHost,
          diagnostic: notice.diagnostic,
          lastAttemptMs: nowMs,
          ...(action === 'delayed' ? { retryUntilMs: message.expiresMs } : {}),
        },
      ],
    })
    return {
      id,
      acceptedMs: nowMs,
      reversePath: '',
      sendingDomain: message.sendingDomain,
      content: raw,
      messageIdHeader: `<${id}@${parts.hostname}>`,
      headerFrom: `MAILER-DAEMON@${parts.hostname}`,
      subject: SUBJECTS[action],
      priority: 'normal',
      sandbox: message.sandbox,
      expiresMs: nowMs + parts.lifetimeMs,
      smtpUtf8: sender.value.utf8,
      ...(required ? { tls: 'required' } : {}),
      submitter: 'system',
      tags: [],
      metadata: {},
      // Of each of the three a sender is told once, however often it is tried again or reported.
      idempotency: { scope: `${ASKED[action]}-notice`, key: String(recipient.key), fingerprint: '' },
      recipients: [{ address: sender.value.text, domain: sender.value.domain, notify: ['never'] }],
    }
  }
}

/** What NOTIFY calls it. */
const ASKED = {
  failed: 'failure',
  delayed: 'delay',
  relayed: 'success',
  delivered: 'success',
  expanded: 'success',
} as const satisfies Record<Notice['action'], string>

/**
 * RFC 3461 §4.1: of success and delay only who asked for it is told here; of failure by the policy where nobody said, and always
 * where REQUIRETLS was asked for (RFC 8689 §4.2.1).
 */
function isWanted(
  policy: Config['delivery']['dsn'],
  action: Notice['action'],
  notify: readonly string[] | null,
  required: boolean,
): boolean {
  if (policy === 'never') return false
  return notify === null ? action === 'failed' && (policy === 'failure' || required) : notify.includes(ASKED[action])
}
