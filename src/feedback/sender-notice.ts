import { newId } from '#base'
import type { Config } from '#config'
import { composeDsn, parseAddress, splitMessage } from '#mail'
import type { NewMessage } from '#queue'
import type { Failure } from './conclude.ts'

export type SenderNoticeParts = {
  readonly policy: Config['delivery']['dsn']
  readonly hostname: string
  /** How long the notice itself is tried. */
  readonly lifetimeMs: number
  content(messageId: string): Promise<Buffer>
}

/** The DSN for a final failure (RFC 3461 §5.2.3), born in the settlement that ends the recipient; null when none is wanted. */
export function makeSenderNotice(parts: SenderNoticeParts): (failure: Failure) => Promise<NewMessage | null> {
  return async function noticeOf(failure) {
    const { message } = failure.claim
    const { recipient, nowMs } = failure
    // RFC 5321 §4.5.5: never about mail with the null reverse-path.
    if (message.reversePath === '' || !isWanted(parts.policy, recipient.notify)) return null
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
      originalContent: message.ret === 'full' ? content : null,
      originalSubject: message.subject,
      recipients: [
        {
          finalRecipient: recipient.address,
          originalRecipient: recipient.originalRecipient,
          action: 'failed',
          status: failure.status,
          remoteMta: failure.remoteHost,
          diagnostic: failure.diagnostic,
          lastAttemptMs: nowMs,
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
      subject: 'Delivery failed',
      priority: 'normal',
      sandbox: message.sandbox,
      expiresMs: nowMs + parts.lifetimeMs,
      smtpUtf8: sender.value.utf8,
      submitter: 'system',
      tags: [],
      metadata: {},
      recipients: [{ address: sender.value.text, domain: sender.value.domain, notify: ['never'] }],
    }
  }
}

function isWanted(policy: Config['delivery']['dsn'], notify: readonly string[] | null): boolean {
  if (policy === 'never') return false
  return notify === null ? policy === 'failure' : notify.includes('failure')
}
