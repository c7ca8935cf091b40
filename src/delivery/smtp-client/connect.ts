import type { Socket } from 'node:net'
import type { Stage } from '../contract.ts'
import { guardedConnect } from '../guarded-connect.ts'
import { Connection } from './connection.ts'
import type { ConnectFailure, ConnectOptions, ConnectResult, Verdict } from './contract.ts'
import type { WireReply } from './reply-parser.ts'
import { upgrade } from './tls-upgrade.ts'
import { Transcript } from './transcript.ts'
import { Wire } from './wire.ts'

/** What the peer said it can do; keywords in capitals. */
type Greeting = { readonly keywords: Set<string>; readonly auth: Set<string>; readonly sizeLimit: number }

class Failed extends Error {
  readonly failure: Omit<ConnectFailure, 'transcript'>
  constructor(
    stage: Stage,
    reason: string,
    reply: WireReply | null = null,
    more: Pick<ConnectFailure, 'detail' | 'fault'> = {},
  ) {
    super(reason)
    this.failure = { stage, reason, reply, ...more }
  }
}

type Opened = Greeting & { readonly tls: string; readonly certificate: Verdict | null }
type Secured = { readonly cipher: string; readonly certificate: Verdict }

/**
 * Connects, greets, secures and authenticates (RFC 5321 §3.1, 3207, 4954). Never rejects for what a peer does.
 * Reasons: `connection-refused`, `host-unreachable`, `connect-timeout`, `special-address-…`, `name-not-found`, `banner-refused`, `ehlo-refused`, `tls-not-offered`, `tls-refused`,
 * `tls-failed`, `tls-untrusted`, `auth-needs-tls`, `auth-not-offered`, `auth-failed`, `protocol-error`, `unexpected-reply`, `connection-closed`,
 * `connection-reset`, `connection-error`, `aborted`, and `<stage>-timeout`. After a failure at stage `starttls` in opportunistic mode the
 * caller may come back with `off`. `auth` in clear text is done only with mode `off`, where the caller decided it.
 */
export async function connectSmtp(options: ConnectOptions): Promise<ConnectResult> {
  const first = await connectOnce(options)
  // A trust anchor of DANE that was known by its digest only is known whole now, and the certificate can be held against it.
  return !first.ok && first.failure.reason === 'tls-trust-anchor-learned' ? connectOnce(options) : first
}

async function connectOnce(options: ConnectOptions): Promise<ConnectResult> {
  const { deadlines, clock, signal } = options
  const transcript = new Transcript()
  const dialed = await guardedConnect(options, {
    timeoutMs: deadlines.connectMs,
    clock,
    ...(signal === undefined ? {} : { signal }),
  })
  if (typeof dialed === 'string') {
    transcript.note(`${options.address}:${options.port} ${dialed}`)
    return failure({ stage: 'connect', reason: dialed, reply: null }, transcript)
  }
  const source = dialed.localAddress ?? ''
  transcript.note(`connected to ${options.host} [${options.address}]:${options.port} from ${source}`)
  const wire = new Wire(dialed, options.clock, transcript)
  const release = endOnAbort(options.signal, wire, dialed)
  try {
    const opened = await open(wire, options)
    wire.rest()
    const connection = new Connection(wire, options, { source, ...opened })
    return { ok: true, connection }
  } catch (error) {
    release()
    if (!(error instanceof Failed)) {
      wire.end('connection-error', 'bug')
      throw error
    }
    transcript.note(`failed at ${error.failure.stage}: ${error.failure.reason}`)
    wire.end('done')
    return failure(error.failure, transcript)
  }
}

function failure(what: Omit<ConnectFailure, 'transcript'>, transcript: Transcript): ConnectResult {
  return { ok: false, failure: { ...what, transcript: transcript.toString() } }
}

function endOnAbort(signal: AbortSignal | undefined, wire: Wire, socket: Socket): () => void {
  if (signal === undefined) return () => {}
  const onAbort = (): void => wire.end('aborted')
  const release = (): void => signal.removeEventListener('abort', onAbort)
  signal.addEventListener('abort', onAbort, { once: true })
  socket.once('close', release)
  if (signal.aborted) onAbort()
  return release
}

async function open(wire: Wire, options: ConnectOptions): Promise<Opened> {
  const { tls: mode, deadlines } = options
  let secured: Secured | null = null
  if (mode.mode === 'implicit') {
    wire.phase(deadlines.tlsMs)
    secured = await secure(wire, options)
  }
  wire.phase(deadlines.bannerMs)
  wire.expectGreeting()
  const banner = await due(wire, 'banner')
  if (banner.code >= 400) throw new Failed('banner', 'banner-refused', banner)
  if (banner.code !== 220) throw new Failed('banner', 'protocol-error', banner)

  wire.phase(deadlines.ehloMs)
  let greeting = await greet(wire, options)
  if (secured === null && mode.mode !== 'off') {
    if (greeting.keywords.has('STARTTLS')) {
      secured = await startTls(wire, options)
      wire.phase(deadlines.ehloMs)
      greeting = await greet(wire, options)
    } else if (mode.mode === 'require') throw new Failed('starttls', 'tls-not-offered')
  }
  if (options.auth !== undefined) {
    if (secured === null && mode.mode !== 'off') throw new Failed('auth', 'auth-needs-tls')
    wire.phase(deadlines.ehloMs)
    await authenticate(wire, options.auth, greeting.auth)
  }
  return { ...greeting, tls: secured?.cipher ?? '', certificate: secured?.certificate ?? null }
}

async function due(wire: Wire, stage: Stage): Promise<WireReply> {
  const reply = await wire.reply()
  if (reply === null) throw ended(wire, stage)
  return reply
}

function ended(wire: Wire, stage: Stage): Failed {
  const end = wire.ended
  const reason = end?.reason ?? 'connection-closed'
  return new Failed(stage, reason === 'timeout' ? `${stage}-timeout` : reason, end?.reply ?? null)
}

/** EHLO, or HELO for a peer that does not know it (RFC 5321 §4.1.1.1). */
async function greet(wire: Wire, options: ConnectOptions): Promise<Greeting> {
  say(wire, `EHLO ${options.ehlo}`)
  const reply = await due(wire, 'ehlo')
  if (reply.code >= 200 && reply.code < 300) return readGreeting(reply)
  if (reply.code < 500) throw new Failed('ehlo', reply.code < 400 ? 'protocol-error' : 'ehlo-refused', reply)
  say(wire, `HELO ${options.ehlo}`)
  const second = await due(wire, 'ehlo')
  if (second.code >= 400) throw new Failed('ehlo', 'ehlo-refused', second)
  if (second.code >= 300) throw new Failed('ehlo', 'protocol-error', second)
  return { keywords: new Set(), auth: new Set(), sizeLimit: 0 }
}

function readGreeting(reply: WireReply): Greeting {
  const keywords = new Set<string>()
  const auth = new Set<string>()
  let sizeLimit = 0
  for (const line of reply.lines.slice(1)) {
    const [keyword, ...parameters] = line.trim().toUpperCase().split(/[ =]+/, 40)
    if (!keyword) continue
    keywords.add(keyword)
    if (keyword === 'SIZE' && /^\d{1,15}$/.test(parameters[0] ?? '')) sizeLimit = Number(parameters[0])
    if (keyword === 'AUTH') for (const mechanism of parameters) auth.add(mechanism)
  }
  return { keywords, auth, sizeLimit }
}

function say(wire: Wire, line: string, shown = line): void {
  wire.transcript.sent(shown)
  wire.command(`${line}\r\n`, 1)
}

async function startTls(wire: Wire, options: ConnectOptions): Promise<Secured> {
  wire.phase(options.deadlines.tlsMs)
  say(wire, 'STARTTLS')
  const reply = await due(wire, 'starttls')
  if (reply.code !== 220) throw new Failed('starttls', reply.code >= 400 ? 'tls-refused' : 'protocol-error', reply)
  // Anything that came with the 220 was sent in clear by whoever sits in between: the wire has ended by now.
  if (wire.ended) throw ended(wire, 'starttls')
  return secure(wire, options)
}

/** The handshake; the phase's deadline runs on and destroys the socket under it. */
async function secure(wire: Wire, options: ConnectOptions): Promise<Secured> {
  const upgraded = await upgrade(wire.release(), options.host, options.tls)
  if (wire.ended) {
    if (upgraded.ok) upgraded.socket.destroy()
    throw ended(wire, 'starttls')
  }
  if (!upgraded.ok) {
    const { reason, detail, certificate } = upgraded
    wire.transcript.note(`TLS: ${detail}`)
    throw new Failed('starttls', reason, null, {
      detail,
      ...(certificate?.trusted === false ? { fault: certificate.fault } : {}),
    })
  }
  wire.take(upgraded.socket)
  wire.transcript.note(upgraded.cipher)
  return { cipher: upgraded.cipher, certificate: upgraded.certificate }
}

type Credentials = NonNullable<ConnectOptions['auth']>

/** RFC 4954; PLAIN (RFC 4616), or LOGIN for peers that know nothing else. */
async function authenticate(wire: Wire, auth: Credentials, offered: ReadonlySet<string>): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64')
  let reply: WireReply
  if (offered.has('PLAIN')) {
    say(wire, `AUTH PLAIN ${base64(`\0${auth.username}\0${auth.password}`)}`, 'AUTH PLAIN ****')
    reply = await due(wire, 'auth')
  } else if (offered.has('LOGIN')) {
    say(wire, 'AUTH LOGIN')
    reply = await due(wire, 'auth')
    for (const secret of [auth.username, auth.password]) {
      if (reply.code !== 334) break
      say(wire, base64(secret), '****')
      reply = await due(wire, 'auth')
    }
  } else throw new Failed('auth', 'auth-not-offered')
  if (reply.code !== 235) throw new Failed('auth', reply.code >= 400 ? 'auth-failed' : 'protocol-error', reply)
}
