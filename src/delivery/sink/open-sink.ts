import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import { type Clock, type Log, newId } from '#base'
import { connectSmtp } from '../smtp-client/connect.ts'
import { type KeepLimit, type KeptMail, MailKeep } from './kept-mail.ts'
import type { Rule } from './local-part.ts'
import { bounceReport, complaintReport } from './reports.ts'
import { Session } from './session.ts'

export type Endpoint = { readonly host: string; readonly port: number }

export type SinkOptions = {
  /** The MX door. Port 0: any free port. */
  readonly listen: Endpoint
  /** The relay door: a smarthost that takes everything (see `local-part.ts`). */
  readonly relayListen?: Endpoint
  /** The relay door wants these; absent: no authentication there. */
  readonly relayAuth?: { readonly username: string; readonly password: string }
  readonly clock: Clock
  readonly log: Log
  readonly hostname: string
  /** PEM; offers STARTTLS. */
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer }
  /** Called for each message taken. */
  readonly onMail?: (mail: KeptMail) => void
  readonly keep?: Partial<KeepLimit>
  readonly maxMessageBytes?: number
  /** Where `bounce-later@` and `complain-later@` send their reports; asked each time, null: nowhere. */
  readonly reportsTo?: () => Endpoint | null
  readonly reportDelayMs?: number
}

export interface Sink extends AsyncDisposable {
  readonly address: Endpoint
  readonly relayAddress: Endpoint | null
  /** Messages taken since the start. */
  readonly taken: number
  /** The kept ones, oldest first. */
  list(): readonly KeptMail[]
  find(id: string): KeptMail | undefined
  clear(): void
}

const KEEP: KeepLimit = { messages: 1000, bytes: 64 * 1_048_576 }
const MAX_MESSAGE_BYTES = 52_428_800
const MAX_CONNECTIONS = 1000
const MAX_GREYLISTED = 10_000
const REPORT_DELAY_MS = 1000
const REPORT_MS = 10_000

/** Opens the built-in sink: an SMTP server that takes all mail, sends nothing on and obeys the recipient's local part. */
export async function openSink(options: SinkOptions): Promise<Sink> {
  const keep = new MailKeep({ ...KEEP, ...options.keep })
  const secureContext = options.tls ? createSecureContext({ ...options.tls, minVersion: 'TLSv1.2' }) : null
  const sessions = new Set<Session>()
  const seen = new Set<string>()
  const cancels = new Set<() => void>()
  const stopping = new AbortController()

  function seenBefore(reversePath: string, recipient: string): boolean {
    const key = `${reversePath}\n${recipient}`
    if (seen.has(key)) return true
    if (seen.size >= MAX_GREYLISTED) seen.clear()
    seen.add(key)
    return false
  }

  function onMail(taken: Omit<KeptMail, 'id'>, rules: readonly Rule[]): string {
    const mail: KeptMail = { id: newId(taken.atMs), ...taken }
    keep.add(mail)
    rules.forEach((rule, i) => {
      if (rule.kind === 'bounce-later' || rule.kind === 'complain-later') {
        reportLater(mail, mail.recipients[i]!.address, rule.kind)
      }
    })
    options.onMail?.(mail)
    return mail.id
  }

  function reportLater(mail: KeptMail, recipient: string, kind: 'bounce-later' | 'complain-later'): void {
    if (mail.reversePath === '') return
    const cancel = options.clock.after(options.reportDelayMs ?? REPORT_DELAY_MS, () => {
      cancels.delete(cancel)
      const write = kind === 'bounce-later' ? bounceReport : complaintReport
      const report = write(mail, options.hostname, recipient, options.clock.now())
      void sendReport(options, mail.reversePath, report, stopping.signal)
    })
    cancels.add(cancel)
  }

  const open = (door: 'mx' | 'relay', at: Endpoint): Promise<Server> =>
    listen(at, (socket) => {
      const session = new Session(socket, {
        door,
        hostname: options.hostname,
        clock: options.clock,
        secureContext,
        auth: door === 'relay' ? (options.relayAuth ?? null) : null,
        maxBytes: options.maxMessageBytes ?? MAX_MESSAGE_BYTES,
        seenBefore,
        onMail,
      })
      sessions.add(session)
      socket.once('close', () => sessions.delete(session))
    })

  const mx = await open('mx', options.listen)
  let relay: Server | null = null
  try {
    if (options.relayListen) relay = await open('relay', options.relayListen)
  } catch (error) {
    mx.close()
    throw error
  }

  return {
    address: addressOf(mx),
    relayAddress: relay ? addressOf(relay) : null,
    get taken() {
      return keep.taken
    },
    list: () => keep.list(),
    find: (id) => keep.find(id),
    clear: () => keep.clear(),
    async [Symbol.asyncDispose]() {
      stopping.abort()
      for (const cancel of cancels) cancel()
      const closed = [mx, relay].map(
        (server) => new Promise<void>((done) => (server ? server.close(() => done()) : done())),
      )
      for (const session of sessions) session.destroy()
      await Promise.all(closed)
    },
  }
}

function listen(at: Endpoint, onSocket: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(onSocket)
    server.maxConnections = MAX_CONNECTIONS
    server.once('error', reject)
    server.listen(at.port, at.host, () => {
      server.removeListener('error', reject)
      server.on('error', () => {})
      resolve(server)
    })
  })
}

function addressOf(server: Server): Endpoint {
  const { address, port } = server.address() as AddressInfo
  return { host: address, port }
}

/** Reports go out the way real ones do: by SMTP, from the null sender. */
async function sendReport(options: SinkOptions, to: string, content: Buffer, signal: AbortSignal): Promise<void> {
  const target = options.reportsTo?.() ?? null
  if (target === null) {
    options.log.info({ to }, 'sink: no address to send reports to')
    return
  }
  const ms = REPORT_MS
  const connected = await connectSmtp({
    host: target.host,
    address: target.host,
    port: target.port,
    source: '',
    ehlo: options.hostname,
    tls: { mode: 'off' },
    allow: [target.host],
    clock: options.clock,
    signal,
    deadlines: {
      connectMs: ms,
      bannerMs: ms,
      ehloMs: ms,
      tlsMs: ms,
      mailMs: ms,
      rcptMs: ms,
      dataMs: ms,
      bodyMs: ms,
      dotMs: ms,
    },
  })
  if (!connected.ok) {
    options.log.warn({ to, reason: connected.failure.reason }, 'sink: report not sent')
    return
  }
  const { results } = await connected.connection.send({
    reversePath: '',
    recipients: [{ address: to, notify: null, originalRecipient: null }],
    content: [content],
    size: content.length,
    smtpUtf8: false,
    envelopeId: null,
    ret: null,
  })
  const [result] = results
  if (result?.kind !== 'delivered') options.log.warn({ to, result }, 'sink: report not taken')
  await connected.connection.quit()
}
