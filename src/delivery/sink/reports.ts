import { isoTime } from '#base'
import type { KeptMail } from './kept-mail.ts'

const MAX_HEADER_BYTES = 16_384

/** A bounce as a mailbox provider would write it (RFC 3464), for mail that was taken before it was found undeliverable. */
export function bounceReport(mail: KeptMail, hostname: string, recipient: string, nowMs: number): Buffer {
  const boundary = `bounce-${mail.id}`
  return Buffer.from(
    [
      ...head(mail, hostname, 'Mail Delivery Subsystem', 'Undelivered Mail Returned to Sender', nowMs, 'bounce'),
      'Auto-Submitted: auto-replied',
      `Content-Type: multipart/report; report-type=delivery-status; boundary="${boundary}"`,
      '',
      `--${boundary}`,
      'Content-Type: text/plain; charset=us-ascii',
      '',
      'Your message was taken but could not be delivered to:',
      '',
      `    ${recipient}`,
      '',
      'The mailbox does not exist.',
      '',
      `--${boundary}`,
      'Content-Type: message/delivery-status',
      '',
      `Reporting-MTA: dns; ${hostname}`,
      `Arrival-Date: ${mailDate(mail.atMs)}`,
      '',
      `Final-Recipient: rfc822; ${recipient}`,
      'Action: failed',
      'Status: 5.1.1',
      `Diagnostic-Code: smtp; 550 5.1.1 <${recipient}> no such user here`,
      `Last-Attempt-Date: ${mailDate(nowMs)}`,
      '',
      `--${boundary}`,
      'Content-Type: text/rfc822-headers',
      '',
      headerOf(mail.content),
      `--${boundary}--`,
      '',
    ].join('\r\n'),
    'latin1',
  )
}

/** A complaint in the Abuse Reporting Format (RFC 5965). */
export function complaintReport(mail: KeptMail, hostname: string, recipient: string, nowMs: number): Buffer {
  const boundary = `complaint-${mail.id}`
  return Buffer.from(
    [
      ...head(mail, hostname, 'Feedback Loop', 'Complaint about a message from you', nowMs, 'complaint'),
      `Content-Type: multipart/report; report-type=feedback-report; boundary="${boundary}"`,
      '',
      `--${boundary}`,
      'Content-Type: text/plain; charset=us-ascii',
      '',
      'A user of ours marked this message as spam.',
      '',
      `--${boundary}`,
      'Content-Type: message/feedback-report',
      '',
      'Feedback-Type: abuse',
      'User-Agent: SandboxSink/1',
      'Version: 1',
      `Original-Mail-From: <${mail.reversePath}>`,
      `Original-Rcpt-To: <${recipient}>`,
      `Arrival-Date: ${mailDate(mail.atMs)}`,
      `Source-IP: ${mail.clientAddress}`,
      '',
      `--${boundary}`,
      'Content-Type: message/rfc822',
      '',
      mail.content.toString('latin1'),
      `--${boundary}--`,
      '',
    ].join('\r\n'),
    'latin1',
  )
}

function head(
  mail: KeptMail,
  hostname: string,
  who: string,
  subject: string,
  nowMs: number,
  kind: string,
): readonly string[] {
  return [
    `From: ${who} <MAILER-DAEMON@${hostname}>`,
    `To: <${mail.reversePath}>`,
    `Subject: ${subject}`,
    `Date: ${mailDate(nowMs)}`,
    `Message-ID: <${kind}.${mail.id}@${hostname}>`,
    'MIME-Version: 1.0',
  ]
}

function headerOf(content: Buffer): string {
  const end = content.indexOf('\r\n\r\n')
  return content.toString('latin1', 0, Math.min(end < 0 ? content.length : end + 2, MAX_HEADER_BYTES))
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** RFC 5322 §3.3, in UTC. */
function mailDate(ms: number): string {
  const date = new Date(ms)
  const time = isoTime(ms).slice(11, 19)
  return `${DAYS[date.getUTCDay()]}, ${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()} ${time} +0000`
}
