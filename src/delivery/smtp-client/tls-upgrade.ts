import { isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import type { TlsMode } from './contract.ts'

export type Upgrade =
  | { readonly ok: true; readonly socket: TLSSocket; readonly cipher: string }
  | { readonly ok: false; readonly reason: 'tls-failed' | 'tls-untrusted'; readonly detail: string }

const MIN_VERSION = 'TLSv1.2'
let plainContext: SecureContext | null = null
const contexts = new WeakMap<readonly string[], SecureContext>()

/** Contexts are costly to make and the same for every connection that trusts the same authorities. */
function contextFor(mode: TlsMode): SecureContext {
  const ca = 'ca' in mode ? mode.ca : undefined
  if (ca === undefined) {
    plainContext ??= createSecureContext({ minVersion: MIN_VERSION })
    return plainContext
  }
  let context = contexts.get(ca)
  if (context === undefined) {
    context = createSecureContext({ minVersion: MIN_VERSION, ca: [...ca] })
    contexts.set(ca, context)
  }
  return context
}

/**
 * TLS over a connected socket, as the client. Never rejects; the caller holds the deadline by destroying `socket`.
 * The certificate is looked at only when the mode says `verify` (RFC 7435: an unverified handshake still beats clear text).
 */
export function upgrade(socket: Socket, host: string, mode: TlsMode): Promise<Upgrade> {
  const verify = 'verify' in mode && mode.verify
  const options: ConnectionOptions = {
    socket,
    host,
    minVersion: MIN_VERSION,
    secureContext: contextFor(mode),
    rejectUnauthorized: verify,
  }
  if (isIP(host) === 0) options.servername = host
  return new Promise((resolve) => {
    let secure: TLSSocket
    try {
      secure = connect(options)
    } catch (error) {
      socket.destroy()
      resolve({ ok: false, reason: 'tls-failed', detail: String(error).slice(0, 200) })
      return
    }
    let settled = false
    const fail = (error: NodeJS.ErrnoException | null): void => {
      if (settled) return
      settled = true
      secure.destroy()
      socket.destroy()
      const untrusted = secure.authorizationError !== undefined && secure.authorizationError !== null
      const detail = (error?.message ?? 'the peer closed the connection').slice(0, 200)
      resolve({ ok: false, reason: untrusted ? 'tls-untrusted' : 'tls-failed', detail })
    }
    secure.on('error', fail)
    secure.once('close', () => fail(null))
    socket.once('close', () => fail(null))
    secure.once('secureConnect', () => {
      if (settled) return
      settled = true
      const version = secure.getProtocol() ?? 'TLS'
      resolve({ ok: true, socket: secure, cipher: `${version} ${secure.getCipher().standardName ?? ''}`.trim() })
    })
  })
}
