import type { AddressInfo } from 'node:net'
import ipaddr from 'ipaddr.js'
import type { Clock, Log } from '#base'
import type { Config } from '#config'
import type { Address } from '#mail'
import type { Acceptor } from './accept.ts'
import type { Credentials } from './credentials.ts'
import type { Refusal } from './refusal.ts'
import { ClientGate } from './smtp/client-gate.ts'
import { ContentBudget } from './smtp/dot-reader.ts'
import type { MailCommand, RcptCommand } from './smtp/path-command.ts'
import type { Reply } from './smtp/reply.ts'
import { type Client, type Envelope, LOCAL_CLIENT, type SessionHandler, type SessionRecipient } from './smtp/session.ts'
import { SessionServer, type TlsMaterial } from './smtp/session-server.ts'
import { keywords } from './smtp/when-and-how-soon.ts'
import type { Submitter } from './submitter.ts'
import { type SuppressionCheck, suppressionText } from './suppression-check.ts'

/** The unix socket of programs of this machine. */
export type LocalSubmission = {
  readonly path: string
  /** As `Submitter.allowed`. */
  readonly allowed: readonly string[]
  /** Told at EHLO, so that `relevo sendmail` need not read the configuration: the domain of bare names, and where mail to one goes. */
  names(): { readonly origin: string; readonly bareRecipients: string }
}

export type SubmissionDeps = {
  readonly acceptor: Acceptor
  readonly credentials: Credentials
  readonly suppression: SuppressionCheck
  readonly clock: Clock
  readonly log: Log
  /** Below the free space that must remain: MAIL is answered 452. */
  readonly isStorageLow?: () => boolean
  /** What unfinished messages may take of the memory, all sessions together. Bytes, default 128 MiB. */
  readonly contentBudgetBytes?: number
  /** What one of them may take at most: what is larger is answered 452. Default: no limit of its own. */
  readonly largestContentBytes?: number
}

type Settings = Config['submission']
const DEFAULT_BUDGET_BYTES = 134_217_728

/** The listeners applications hand mail to: STARTTLS, implicit TLS, and one for trusted networks. */
export class SubmissionServer implements AsyncDisposable {
  readonly #servers: SessionServer[] = []
  #local: SessionServer | null = null
  readonly #gate: ClientGate
  readonly #addresses: { readonly kind: 'starttls' | 'tls' | 'trusted'; readonly address: AddressInfo }[] = []

  private constructor(gate: ClientGate) {
    this.#gate = gate
  }

  /**
   * Opens all listeners of the configuration; none stays open when one cannot.
   * @param tls null: STARTTLS is not offered, nobody can log in, and the implicit TLS listener is not opened
   */
  static async open(
    hostname: string,
    settings: Settings,
    tls: TlsMaterial | null,
    deps: SubmissionDeps,
    local: LocalSubmission | null = null,
  ): Promise<SubmissionServer> {
    const gate = new ClientGate(
      {
        maxConnections: settings.max_connections,
        maxConnectionsPerAddress: settings.max_connections_per_address,
        maxFailedLogins: settings.max_failed_logins,
      },
      deps.clock,
    )
    const server = new SubmissionServer(gate)
    const budget = new ContentBudget(deps.contentBudgetBytes ?? DEFAULT_BUDGET_BYTES, deps.largestContentBytes)
    const trusted = settings.trusted_networks.map((network) => ipaddr.parseCIDR(network))
    const handler = new SubmissionHandler(settings, gate, deps)
    const common = {
      gate,
      budget,
      hostname,
      maxMessageBytes: settings.max_message_bytes,
      maxRecipients: settings.max_recipients,
      maxErrors: settings.max_errors,
      idleTimeoutMs: settings.idle_timeout * 1000,
      postmasterHost: null,
      clock: deps.clock,
      log: deps.log,
    }
    const listen = async (kind: 'starttls' | 'tls' | 'trusted', addresses: readonly string[]): Promise<void> => {
      for (const address of addresses) {
        const listener = new SessionServer({
          ...common,
          security: kind === 'tls' ? 'implicit' : 'starttls',
          tls,
          handler,
          loginNeeded: kind !== 'trusted',
          offersRequireTls: true,
          takesRelease: true,
          keywords: () => keywords(deps.clock.now()),
          ...(kind === 'trusted' ? { mayConnect: (client: string) => isWithin(client, trusted) } : {}),
        })
        server.#servers.push(listener)
        server.#addresses.push({ kind, address: await listener.listenOn(address) })
      }
    }
    try {
      await listen('starttls', settings.starttls_listen)
      if (tls !== null) await listen('tls', settings.tls_listen)
      await listen('trusted', settings.trusted_listen)
      if (local !== null) {
        const listener = new SessionServer({
          ...common,
          security: 'starttls',
          tls: null,
          handler: new SubmissionHandler(settings, gate, deps, {
            name: 'local:sendmail',
            allowed: [...local.allowed, '<>'],
          }),
          loginNeeded: false,
          offersRequireTls: false,
          takesRelease: true,
          keywords: () => {
            const names = local.names()
            return [
              ...keywords(deps.clock.now()),
              `XORIGIN ${names.origin}`,
              ...(names.bareRecipients === '' ? [] : [`XBARE ${names.bareRecipients}`]),
            ]
          },
        })
        server.#local = listener
        await listener.listenOnSocket(local.path)
      }
    } catch (error) {
      await server.stop(0)
      throw error
    }
    return server
  }

  get addresses(): readonly { readonly kind: 'starttls' | 'tls' | 'trusted'; readonly address: AddressInfo }[] {
    return this.#addresses
  }

  get connections(): number {
    return this.#gate.connections
  }

  /** New handshakes use it; sessions that stand go on. A certificate and key that do not fit throw and change nothing. */
  reloadTls(tls: TlsMaterial): void {
    for (const server of this.#servers) server.reloadTls(tls)
  }

  async stop(deadlineMs: number): Promise<void> {
    const servers = this.#local === null ? this.#servers : [...this.#servers, this.#local]
    await Promise.all(servers.map((server) => server.stop(deadlineMs)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(10_000)
  }
}

/** What submission answers, command by command. */
class SubmissionHandler implements SessionHandler {
  readonly #settings: Settings
  readonly #gate: ClientGate
  readonly #deps: SubmissionDeps
  /** Who those are that need no log-in. */
  readonly #open: { readonly name: string; readonly allowed: readonly string[] } | null

  constructor(
    settings: Settings,
    gate: ClientGate,
    deps: SubmissionDeps,
    open: Pick<Submitter, 'name' | 'allowed'> | null = null,
  ) {
    this.#settings = settings
    this.#gate = gate
    this.#deps = deps
    this.#open = open
  }

  async login(username: string, password: string, client: Client) {
    const turnedAway = { code: 421, text: '4.7.0 too many failed log-ins from your address, try again in ten minutes' }
    if (this.#gate.isTurnedAway(client.address)) return { refused: turnedAway }
    const answer = await this.#deps.credentials.check(username, password)
    if (answer.kind === 'ok') {
      this.#gate.loginSucceeded(client.address)
      return { submitter: answer.submitter }
    }
    if (answer.kind === 'busy')
      return { refused: { code: 454, text: '4.7.0 too many log-ins at this moment, try again in a few seconds' } }
    const delayMs = this.#gate.loginFailed(client.address)
    this.#deps.log.warn({ username: username.slice(0, 100), client: client.address }, 'log-in refused')
    await new Promise<void>((resolve) => this.#deps.clock.after(delayMs, resolve))
    if (this.#gate.isTurnedAway(client.address)) return { refused: turnedAway }
    return { refused: { code: 535, text: '5.7.8 user name or password is wrong, or the credential has expired' } }
  }

  mail(command: MailCommand, client: Client): Reply | null {
    const { acceptor, isStorageLow } = this.#deps
    const unavailable = acceptor.unavailable()
    if (unavailable !== null) return replyOf(unavailable)
    if (isStorageLow?.() === true) return { code: 452, text: '4.3.1 not enough disk space, try again later' }
    const submitter = this.#submitter(client)
    const refusal =
      acceptor.senderRefusal(submitter, command.reversePath, 'MAIL FROM') ?? acceptor.knownRateRefusal(submitter)
    return refusal === null ? null : replyOf(refusal)
  }

  async recipient(
    command: RcptCommand,
    mail: MailCommand,
  ): Promise<{ readonly taken: SessionRecipient } | { readonly refused: Reply }> {
    const address: Address = command.address
    const entry = await this.#deps.suppression.check(address.text, { sendingDomain: mail.reversePath?.domain ?? '' })
    if (entry === null) return { taken: command }
    if (this.#settings.suppressed === 'record')
      return { taken: { ...command, suppressed: { reason: entry.reason, detail: entry.detail } } }
    return { refused: { code: 550, text: `5.7.1 ${suppressionText(address.text, entry)}`, harmless: true } }
  }

  async message(envelope: Envelope, content: Buffer, client: Client): Promise<Reply> {
    const { mail, recipients } = envelope
    const accepted = await this.#deps.acceptor.accept({
      reversePath: mail.reversePath,
      recipients,
      content,
      submitter: this.#submitter(client),
      smtpUtf8: mail.smtpUtf8,
      requireTls: mail.requireTls === true,
      ...(mail.envelopeId === undefined ? {} : { envelopeId: mail.envelopeId }),
      ...(mail.ret === undefined ? {} : { ret: mail.ret }),
      client: client.address === LOCAL_CLIENT ? null : { address: client.address, name: null, helo: client.helo },
      protocol: client.protocol,
      settings: {
        ...(mail.releaseMs === undefined ? {} : { sendAtMs: mail.releaseMs }),
        ...(mail.priority === undefined ? {} : { priority: mail.priority }),
      },
    })
    if (!accepted.ok) return replyOf(accepted.error)
    return { code: 250, text: `2.0.0 queued as ${accepted.value.id}` }
  }

  #submitter(client: Client): Submitter {
    if (client.login !== null) return client.login
    return {
      ...(this.#open ?? { name: `trusted:${client.address}`, allowed: this.#settings.trusted_domains }),
      defaultTags: [],
      ratePerHour: 0,
      valid: () => true,
    }
  }
}

function replyOf(refusal: Refusal): Reply {
  return {
    code: refusal.code,
    text: `${refusal.enhanced} ${refusal.message}${refusal.remedy === '' ? '' : `; ${refusal.remedy}`}`,
  }
}

function isWithin(address: string, networks: readonly [ipaddr.IPv4 | ipaddr.IPv6, number][]): boolean {
  if (!ipaddr.isValid(address)) return false
  const client = ipaddr.process(address)
  return networks.some(([network, bits]) => network.kind() === client.kind() && client.match(network, bits))
}
