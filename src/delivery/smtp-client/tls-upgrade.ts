import { isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { nameMismatch, pkixVerdict } from './certificate-verdict.ts'
import type { TlsMode, Verdict } from './contract.ts'
import { daneVerdict, trustAnchors } from './dane-verdict.ts'

export type Upgrade =
  | { readonly ok: true; readonly socket: TLSSocket; readonly cipher: string; readonly certificate: Verdict }
  | {
      readonly ok: false
      /** `tls-trust-anchor-learned`: the certificate that a TLSA record names is known now; the next handshake is held against it. */
      readonly reason: 'tls-failed' | 'tls-untrusted' | 'tls-trust-anchor-learned'
      readonly detail: string
      readonly certificate: Verdict | null
    }

const MIN_VERSION = 'TLSv1.2'
let plainContext: SecureContext | null = null
const contexts = new WeakMap<readonly string[], SecureContext>()

/** Contexts are costly to make and the same for every connection that trusts the same authorities. */
function contextFor(mode: TlsMode): SecureContext {
  const dane = 'dane' in mode ? mode.dane : undefined
  const anchors = dane === undefined ? undefined : trustAnchors(dane)
  const ca = anchors ?? ('ca' in mode ? mode.ca : undefined)
  if (ca === undefined) {
    plainContext ??= createSecureContext({ minVersion: MIN_VERSION })
    return plainContext
  }
  let context = contexts.get(ca)
  if (context === undefined) {
    // A trust anchor of DANE need not be at the end of its chain (RFC 7672 §3.1.2).
    const partial = anchors === undefined ? {} : { allowPartialTrustChain: true }
    context = createSecureContext({ minVersion: MIN_VERSION, ca: [...ca], ...partial })
    contexts.set(ca, context)
  }
  return context
}

/**
 * TLS over a connected socket, as the client. Never rejects; the caller holds the deadline by destroying `socket`.
 * The certificate is always looked at and its verdict told; it decides only when the mode says so (RFC 7435: an unverified
 * handshake still beats clear text).
 */
export function upgrade(socket: Socket, host: string, mode: TlsMode): Promise<Upgrade> {
  const demand = mode.mode === 'require' || mode.mode === 'implicit' ? mode : null
  const names = demand?.names ?? [host]
  const options: ConnectionOptions = {
    socket,
    host,
    minVersion: MIN_VERSION,
    secureContext: contextFor(mode),
    rejectUnauthorized: false,
    checkServerIdentity: (_, certificate) => nameMismatch(certificate, names),
  }
  const name = demand?.sni ?? host
  if (isIP(name) === 0) options.servername = name
  return new Promise((resolve) => {
    let secure: TLSSocket
    try {
      secure = connect(options)
    } catch (error) {
      socket.destroy()
      resolve({ ok: false, reason: 'tls-failed', detail: String(error).slice(0, 200), certificate: null })
      return
    }
    let settled = false
    const fail = (failure: Omit<Extract<Upgrade, { ok: false }>, 'ok'>): void => {
      if (settled) return
      settled = true
      secure.destroy()
      socket.destroy()
      resolve({ ok: false, ...failure })
    }
    const broken = (error: NodeJS.ErrnoException | null): void => {
      const detail = (error?.message ?? 'the peer closed the connection').slice(0, 200)
      fail({ reason: 'tls-failed', detail, certificate: null })
    }
    secure.on('error', broken)
    secure.once('close', () => broken(null))
    socket.once('close', () => broken(null))
    secure.once('secureConnect', () => {
      if (settled) return
      const verdict = demand?.dane === undefined ? pkixVerdict(secure) : daneVerdict(secure, demand.dane)
      if (verdict === 'learned')
        return fail({
          reason: 'tls-trust-anchor-learned',
          detail: 'the trust anchor was learned',
          certificate: null,
        })
      if (!verdict.trusted && (demand?.verify === true || demand?.dane !== undefined))
        return fail({ reason: 'tls-untrusted', detail: verdict.detail, certificate: verdict })
      settled = true
      const version = secure.getProtocol() ?? 'TLS'
      const cipher = `${version} ${secure.getCipher().standardName ?? ''}`.trim()
      return resolve({ ok: true, socket: secure, cipher, certificate: verdict })
    })
  })
}
