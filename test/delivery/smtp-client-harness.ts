import { systemClock } from '#base'
import type { ConnectOptions, ConnectResult, Deadlines, SmtpConnection } from '#delivery'
import { connectSmtp } from '../../src/delivery/smtp-client/connect.ts'
import type { Transaction, TransactionResult } from '../../src/delivery/smtp-client/contract.ts'

/** Long enough that only what is meant to time out does, on a busy machine. */
const MS = 20_000

export function deadlines(changes: Partial<Deadlines> = {}): Deadlines {
  return {
    ...{
      connectMs: MS,
      bannerMs: MS,
      ehloMs: MS,
      tlsMs: MS,
      mailMs: MS,
      rcptMs: MS,
      dataMs: MS,
      bodyMs: MS,
      dotMs: MS,
    },
    ...changes,
  }
}

export type Dial = Partial<Omit<ConnectOptions, 'deadlines'>> & { readonly deadlines?: Partial<Deadlines> }

/** Connects to a host of the test's own, in clear text unless told otherwise. */
export function dial(port: number, dialing: Dial = {}): Promise<ConnectResult> {
  return connectSmtp({
    ...{ host: 'mx.test', address: '127.0.0.1', port, source: '', ehlo: 'client.test', tls: { mode: 'off' } },
    clock: systemClock,
    allow: ['127.0.0.0/8'],
    ...dialing,
    deadlines: deadlines(dialing.deadlines),
  })
}

export async function opened(port: number, dialing: Dial = {}): Promise<SmtpConnection> {
  const result = await dial(port, dialing)
  if (!result.ok) throw new Error(`not connected: ${result.failure.reason}\n${result.failure.transcript}`)
  return result.connection
}

export const CONTENT = Buffer.from('From: <a@example.test>\r\nSubject: hello\r\n\r\nOne line.\r\n')

export function message(changes: Partial<Transaction> = {}, to: readonly string[] = ['to@example.test']): Transaction {
  const content = changes.content ?? [CONTENT]
  return {
    reversePath: 'from@example.test',
    recipients: to.map((address) => ({ address, notify: null, originalRecipient: null })),
    content,
    size: content.reduce((bytes, part) => bytes + part.length, 0),
    ...{ smtpUtf8: false, envelopeId: null, ret: null },
    ...changes,
  }
}

/** `delivered`, `refused rcpt rcpt-refused 5.1.1`, `deferred mail mail-timeout 4.4.2 infrastructure`, `uncertain dot dot-timeout` … */
export function said(result: TransactionResult['results'][number] | undefined): string {
  switch (result?.kind) {
    case 'refused':
      return `refused ${result.stage} ${result.reason} ${result.status}`
    case 'deferred':
      return `deferred ${result.stage} ${result.reason} ${result.status}${result.infrastructure ? ' infrastructure' : ''}`
    case 'uncertain':
      return `uncertain ${result.stage} ${result.reason}`
    default:
      return result?.kind ?? 'nothing'
  }
}
