import { chmod, rm } from 'node:fs/promises'
import type { AddressInfo, Socket } from 'node:net'
import { createSecureContext, type SecureVersion, type TLSSocket } from 'node:tls'
import {
  SMTPServer,
  type SMTPServerAuthentication,
  type SMTPServerAuthenticationResponse,
  type SMTPServerSession,
} from 'smtp-server'
import type { SMTPConnectionOptions } from 'smtp-server/lib/smtp-connection.js'
import { EX, Fault, messageOf } from '#base'
import { type ListenAddress, parseListen } from '#config'
import type { ClientGate } from './client-gate.ts'
import { HANDSHAKE_DEADLINE_MS, LOCAL_CLIENT, Session, type SessionContext } from './session.ts'

/** PEM; `names` holds further certificates by the host name that clients ask for (SNI). */
export type TlsMaterial = {
  readonly cert: string | Buffer
  readonly key: string | Buffer
  readonly minVersion: SecureVersion
  readonly names?: ReadonlyMap<string, { readonly cert: string | Buffer; readonly key: string | Buffer }>
}

export type SessionServerOptions = SessionContext & {
  /** `implicit`: TLS from the first byte; `starttls`: offered when there is a certificate. */
  readonly security: 'implicit' | 'starttls'
  readonly tls: TlsMaterial | null
  readonly gate: ClientGate
  /** The text of a 421 for addresses that may not connect here at all. */
  readonly mayConnect?: (address: string) => boolean
}

const SWEEP_MS = 1_000
/** smtp-server's extras that nobody should find on a server of ours. */
const NEVER = ['XCLIENT', 'XFORWARD', 'WIZ', 'SHELL', 'KILL', 'LHLO']

/** smtp-server with our sessions, our limits and certificates that change while it runs. */
export class SessionServer extends SMTPServer {
  readonly #options: SessionServerOptions
  readonly #sessions = new WeakMap<SMTPServerSession, Session>()
  readonly #leaving = new WeakMap<object, () => void>()
  /** Ends a connection whose handshake takes too long, however it trickles; called off when it is done. */
  readonly #handshakes = new WeakMap<Socket, () => void>()
  #stopSweep: () => void
  #isLocal = false

  constructor(options: SessionServerOptions) {
    const disabled = [...NEVER]
    if (!options.loginNeeded) disabled.push('AUTH')
    if (options.tls === null) disabled.push('STARTTLS')
    super({
      ...(options.tls === null ? {} : secureOptions(options.tls)),
      secure: options.security === 'implicit',
      name: options.hostname,
      banner: 'Relevo',
      heloResponse: '%s',
      size: options.maxMessageBytes,
      authMethods: ['PLAIN', 'LOGIN'],
      authOptional: !options.loginNeeded,
      authRequiredMessage: 'log in first (STARTTLS and AUTH)',
      disabledCommands: disabled,
      hideENHANCEDSTATUSCODES: false,
      hideDSN: false,
      hideREQUIRETLS: !options.offersRequireTls,
      disableReverseLookup: true,
      logger: false,
      socketTimeout: options.idleTimeoutMs,
      noDelay: true,
    })
    this.#options = options
    this.on('error', (error: Error) => options.log.debug({ error: messageOf(error) }, 'smtp listener'))
    this.#stopSweep = options.clock.after(SWEEP_MS, () => this.#sweep())
  }

  override connect(socket: Socket | TLSSocket, socketOptions?: SMTPConnectionOptions | null): void {
    this.#handshakes.get(rawSocket(socket))?.()
    const session = new Session(this, socket, socketOptions ?? null, this.#options)
    this.#sessions.set(session.session, session)
    const leave = this.#leaving.get(socket) ?? this.#leaving.get(rawSocket(socket))
    if (leave !== undefined) this.#leaving.set(session.session, leave)
    this.connections.add(session)
    session.on('error', (error: Error) => this._onError(error))
    session.init()
  }

  /** The door: counted from the first byte, so that an unfinished handshake counts as well. */
  override _acceptSocket(socket: Socket, handshake: boolean): (() => void) | false {
    const address = this.#isLocal ? LOCAL_CLIENT : socket.remoteAddress
    if (address === undefined) {
      socket.destroy()
      return false
    }
    const { gate, hostname } = this.#options
    const refusal =
      this.#options.mayConnect?.(address) === false
        ? { code: 554, text: '5.7.1 your address may not submit here' }
        : withCode(421, gate.enter(address))
    if (refusal !== null) {
      socket.on('error', () => {})
      if (handshake) socket.destroy()
      else
        socket.end(`${refusal.code} ${refusal.text.slice(0, 6)}${hostname} ${refusal.text.slice(6)}\r\n`, () =>
          socket.destroy(),
        )
      return false
    }
    let inside = true
    const leave = (): void => {
      if (!inside) return
      inside = false
      gate.leave(address)
    }
    socket.once('close', leave)
    this.#leaving.set(socket, leave)
    if (handshake) {
      const { clock, idleTimeoutMs } = this.#options
      const cancel = clock.after(Math.min(HANDSHAKE_DEADLINE_MS, idleTimeoutMs), () => this.#giveUp(socket))
      this.#handshakes.set(socket, cancel)
      socket.once('close', cancel)
    }
    return super._acceptSocket(socket, handshake)
  }

  /** smtp-server takes the listeners off a socket at STARTTLS; the session's own end counts then. */
  override onClose(session: SMTPServerSession): void {
    this.#leaving.get(session)?.()
  }

  override onConnect(_session: SMTPServerSession, callback: (error?: Error | null) => void): void {
    callback()
  }

  override onSecure(
    _socket: Socket | TLSSocket,
    _session: SMTPServerSession,
    callback: (error?: Error | null) => void,
  ) {
    callback()
  }

  override onAuth(
    auth: SMTPServerAuthentication,
    data: SMTPServerSession,
    callback: (error: Error | null | undefined, response?: SMTPServerAuthenticationResponse) => void,
  ): void {
    const session = this.#sessions.get(data)!
    this.#login(auth, session).then(
      (refused) => {
        if (refused === null) callback(null, { user: session.login!.name })
        else callback(Object.assign(new Error(refused.text), { responseCode: refused.code }))
      },
      (error: unknown) => {
        this.#options.log.error({ error: messageOf(error) }, 'a log-in could not be checked')
        callback(Object.assign(new Error('4.7.0 temporary authentication failure'), { responseCode: 454 }))
      },
    )
  }

  async #login(auth: SMTPServerAuthentication, session: Session) {
    const { authcid, authzid } = auth as { authcid?: string; authzid?: string }
    const username = authcid ?? auth.username ?? ''
    // RFC 4616: to act as somebody else than who logs in is not offered.
    if (authzid !== undefined && authzid !== '' && authzid !== username)
      return { code: 535, text: '5.7.8 the authorization identity must be the user name or empty' }
    const answer = await this.#options.handler.login(username, auth.password ?? '', session.client())
    if ('refused' in answer) return answer.refused
    session.login = answer.submitter
    return null
  }

  /** `address:port` or `[address]:port`; port 0 takes any. Rejects with a Fault that names the address. */
  listenOn(text: string): Promise<AddressInfo> {
    const { host, port } = listenAddress(text)
    return new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => {
        reject(
          new Fault(`cannot listen on ${text}: ${error.code ?? error.message}`, {
            code: 'listen-failed',
            remedy:
              error.code === 'EADDRINUSE'
                ? 'Another program has this port: stop it, or choose another in the configuration.'
                : 'Check the address, and that this user may use the port (CAP_NET_BIND_SERVICE below 1024).',
            exitCode: EX.UNAVAILABLE,
            cause: error,
          }),
        )
      }
      this.server.once('error', failed)
      this.server.listen({ host, port, ipv6Only: host.includes(':'), backlog: 511 }, () => {
        this.server.off('error', failed)
        resolve(this.server.address() as AddressInfo)
      })
    })
  }

  /** A unix socket that every user of this machine may open. One that an ended process left is replaced. */
  async listenOnSocket(path: string): Promise<void> {
    this.#isLocal = true
    await rm(path, { force: true })
    try {
      await new Promise<void>((resolve, reject) => {
        this.server.once('error', reject)
        this.server.listen({ path, backlog: 511 }, () => {
          this.server.off('error', reject)
          resolve()
        })
      })
      await chmod(path, 0o666)
    } catch (error) {
      throw new Fault(`cannot listen on ${path}: ${(error as NodeJS.ErrnoException).code ?? messageOf(error)}`, {
        code: 'listen-failed',
        field: 'local.socket',
        remedy: 'Make its directory and give it to the user of Relevo, or choose another (107 characters at most).',
        exitCode: EX.UNAVAILABLE,
        cause: error,
      })
    }
  }

  /** New handshakes see the new certificate; sessions that stand are not touched. A bad one throws and changes nothing. */
  reloadTls(tls: TlsMaterial): void {
    const options = secureOptions(tls)
    createSecureContext(options)
    for (const named of options.sniOptions.values()) createSecureContext(named)
    this.updateSecureContext(options)
  }

  /** Takes no new connection, ends idle sessions with 421, and lets those in the middle of a message finish until the deadline. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopSweep()
    for (const session of this.connections as Set<Session>) if (session.idle) session.send(421, '4.3.2 shutting down')
    const { clock } = this.#options
    await new Promise<void>((resolve) => {
      const cancel = clock.after(deadlineMs, () => {
        for (const session of this.connections as Set<Session>) session.destroy()
        resolve()
      })
      if (!this.server.listening && this.connections.size === 0) {
        cancel()
        resolve()
        return
      }
      this.close(() => {
        cancel()
        resolve()
      })
    })
  }

  /** From above: a raw socket that is destroyed under its TLS socket takes the process with it (Node 26, SIGSEGV). */
  #giveUp(socket: Socket): void {
    const secure = this._pendingSockets.get(socket) ?? socket
    secure.destroy()
  }

  #sweep(): void {
    const now = this.#options.clock.monotonicMs()
    for (const session of this.connections as Set<Session>) if (session.deadlineMs <= now) session.expire()
    this.#stopSweep = this.#options.clock.after(SWEEP_MS, () => this.#sweep())
  }
}

function withCode(code: number, text: string | null): { code: number; text: string } | null {
  return text === null ? null : { code, text }
}

function rawSocket(socket: Socket | TLSSocket): Socket {
  return (socket as TLSSocket & { _parent?: Socket })._parent ?? socket
}

function secureOptions(tls: TlsMaterial) {
  const base = { minVersion: tls.minVersion, honorCipherOrder: true }
  return {
    ...base,
    cert: tls.cert,
    key: tls.key,
    sniOptions: new Map([...(tls.names ?? [])].map(([name, pair]) => [name, { ...base, ...pair }])),
  }
}

function listenAddress(text: string): ListenAddress {
  const address = parseListen(text)
  if (address !== null) return address
  throw new Fault(`${JSON.stringify(text)} is not address:port`, {
    code: 'invalid-listen-address',
    remedy: 'Write it as 0.0.0.0:587 or [::]:587.',
    exitCode: EX.CONFIG,
  })
}
