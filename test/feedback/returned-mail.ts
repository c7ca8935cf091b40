// Builders of mail that comes back, written for the tests: parts, fields and notices in the forms mail systems use.

export type PartText = { readonly type: string; readonly text: string }

export function multipart(head: readonly string[], type: string, parts: readonly PartText[]): string {
  const boundary = `b${parts.length}_${type.length}_${head.length}`
  return [
    ...head,
    'MIME-Version: 1.0',
    `Content-Type: multipart/${type}; boundary="${boundary}"`,
    '',
    ...parts.flatMap((part) => [`--${boundary}`, `Content-Type: ${part.type}`, '', part.text]),
    `--${boundary}--`,
    '',
  ].join('\n')
}

export const DAEMON = [
  'Return-Path: <>',
  'From: Mail Delivery System <MAILER-DAEMON@mx.example.org>',
  'To: <shop@sending.example>',
  'Subject: Undelivered Mail Returned to Sender',
]

export const ORIGINAL = [
  'Return-Path: <b+token@sending.example>',
  'From: Shop <shop@sending.example>',
  'To: ana@example.org',
  'Subject: Your order',
  'Message-ID: <order-17@sending.example>',
  '',
  'Thank you.',
].join('\n')

/** A notice with fields (RFC 3464); each group is its fields, one a line. */
export function report(groups: readonly string[], text = 'Your mail came to nothing.', head = DAEMON): string {
  return multipart(head, 'report; report-type=delivery-status', [
    { type: 'text/plain', text },
    { type: 'message/delivery-status', text: ['Reporting-MTA: dns; mx.example.org', ...groups].join('\n\n') },
    { type: 'message/rfc822', text: ORIGINAL },
  ])
}

export function failedGroup(address: string, status = '5.1.1', said = '550 5.1.1 no such user here'): string {
  return `Final-Recipient: rfc822; ${address}\nAction: failed\nStatus: ${status}\nDiagnostic-Code: smtp; ${said}`
}

export function plain(text: string, head: readonly string[] = DAEMON): string {
  return [...head, 'Content-Type: text/plain', '', text].join('\n')
}

export function crlf(text: string): string {
  return text.replaceAll('\n', '\r\n')
}
