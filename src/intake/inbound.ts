import type { AddressInfo } from 'node:net'
import { type Clock, type Log, messageOf, newId } from '#base'
import type { Config } from '#config'
import type { Limiter } from '#limits'
import type { Records, RecordsTables } from '#store'
import { addressKey, ClientGate } from './smtp/client-gate.ts'
import { ContentBudget } from './smtp/dot-reader.ts'
import type { MailCommand, RcptCommand } from './smtp/path-command.ts'
import type { Reply } from './smtp/reply.ts'
import type { Client, Envelope, SessionHandler, SessionRecipient } from './smtp/session.ts'
import { SessionServer, type TlsMaterial } from './smtp/session-server.ts'

export type InboundKind = RecordsTables['inbound_mail']['kind']

export type InboundDeps = {
  /** What unfinished messages may take of the memory, all sessions together. Bytes, default 64 MiB. */
  readonly contentBudgetBytes?: number
  /** What one of them may take at most: what is larger is answered 452. Default: no limit of its own. */
  readonly largestContentBytes?: number
  readonly records: Records
  readonly limiter: Pick<Limiter, 'take'>
  readonly clock: Clock
  readonly log: Log
  /** What one of our own addresses stands for; null: none of ours, or a token that is forged or has expired. */
  recognise(address: string): { readonly kind: InboundKind } | null
  /** Whether mail for this domain is ours to judge; everything else is an attempt to relay. */
  isOurDomain(domain: string): boolean
  /** Mail was stored: it can be worked on. */
  onInbound(): void
  /** A recipient was refused: `relay`, or `unknown` for addresses and tokens that name nobody. */
  onRefused(why: 'relay' | 'unknown'): void
}

type Settings = Config['inbound']
/** Whoever brings bounces opens a handful of connections. */
const MAX_CONNECTIONS_PER_ADDRESS = 20
const MAX_ERRORS = 10
/** A bounce has one recipient. */
const MAX_RECIPIENTS = 10
const MESSAGES_A_MINUTE = 300
const BUDGET_BYTES = 67_108_864
const FULL = new Set(['ENOSPC', 'EDQUOT', 'SQLITE_FULL', 'insufficient-storage'])

/**
 * The listener on port 25 for what comes back. It takes mail for our own addresses only, and relays never.
 *
 * A return path that is forged or has expired is refused at RCPT with 550 5.1.1 instead of being taken and dropped: the
 * remote learns it at once, nothing is stored, and no bounce of a bounce can come of it, since DSNs have the null sender.
 */
export class InboundServer implements AsyncDisposable {
  readonly #servers: SessionServer[] = []
  readonly #addresses: AddressInfo[] = []
  readonly #gate: ClientGate

  private constructor(gate: ClientGate) {
    this.#gate = gate
  }

  /** Opens all listeners; none stays open when one cannot. @param tls null: STARTTLS is not offered */
  static async open(
    hostname: string,
    settings: Settings,
    tls: TlsMaterial | null,
    deps: InboundDeps,
  ): Promise<InboundServer> {
    const gate = new ClientGate(
      {
        maxConnections: settings.max_connections,
        maxConnectionsPerAddress: Math.min(settings.max_connections, MAX_CONNECTIONS_PER_ADDRESS),
        maxFailedLogins: 1,
      },
      deps.clock,
    )
    const server = new InboundServer(gate)
    const budget = new ContentBudget(deps.contentBudgetBytes ?? BUDGET_BYTES, deps.largestContentBytes)
    const handler = new InboundHandler(deps)
    try {
      for (const address of settings.listen) {
        const listener = new SessionServer({
          security: 'starttls',
          tls,
          gate,
          budget,
          hostname,
          handler,
          loginNeeded: false,
          offersRequireTls: false,
          takesRelease: false,
          maxMessageBytes: settings.max_message_bytes,
          maxRecipients: MAX_RECIPIENTS,
          maxErrors: MAX_ERRORS,
          idleTimeoutMs: settings.idle_timeout * 1000,
          postmasterHost: hostname,
          clock: deps.clock,
          log: deps.log,
        })
        server.#servers.push(listener)
        server.#addresses.push(await listener.listenOn(address))
      }
    } catch (error) {
      await server.stop(0)
      throw error
    }
    return server
  }

  get addresses(): readonly AddressInfo[] {
    return this.#addresses
  }

  get connections(): number {
    return this.#gate.connections
  }

  reloadTls(tls: TlsMaterial): void {
    for (const server of this.#servers) server.reloadTls(tls)
  }

  async stop(deadlineMs: number): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop(deadlineMs)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(10_000)
  }
}

class InboundHandler implements SessionHandler {
  readonly #deps: InboundDeps

  constructor(deps: InboundDeps) {
    this.#deps = deps
  }

  async login(): Promise<{ readonly refused: Reply }> {
    return { refused: { code: 535, text: '5.7.8 nobody logs in here' } }
  }

  async mail(_command: MailCommand, client: Client): Promise<Reply | null> {
    const rate = { limit: MESSAGES_A_MINUTE, perMs: 60_000, burst: MESSAGES_A_MINUTE }
    const answer = await this.#deps.limiter.take(`inbound:${addressKey(client.address)}`, rate)
    return answer.granted ? null : { code: 450, text: '4.7.0 too much mail from your address, try again later' }
  }

  recipient(command: RcptCommand): { readonly taken: SessionRecipient } | { readonly refused: Reply } {
    const { address } = command
    if (this.#deps.recognise(address.text) !== null) return { taken: command }
    if (!this.#deps.isOurDomain(address.domain)) {
      this.#deps.onRefused('relay')
      return { refused: { code: 550, text: '5.7.1 relaying denied' } }
    }
    this.#deps.onRefused('unknown')
    return { refused: { code: 550, text: '5.1.1 no such address here' } }
  }

  async message(envelope: Envelope, content: Buffer, client: Client): Promise<Reply> {
    const { records, clock, log } = this.#deps
    const nowMs = clock.now()
    const id = newId(nowMs)
    const rows = envelope.recipients.map(({ address }, index) => ({
      id: index === 0 ? id : newId(nowMs),
      received_ms: nowMs,
      // Known since RCPT; a token that expired in between is worked on as what it was, and found expired there.
      kind: this.#deps.recognise(address.text)?.kind ?? ('bounce' as const),
      mail_from: envelope.mail.reversePath?.text ?? '',
      rcpt_to: address.text,
      client_address: client.address,
      content,
      processed_ms: null,
      result: null,
    }))
    try {
      await records.write(...rows.map((row) => records.query.insertInto('inbound_mail').values(row)))
    } catch (error) {
      log.error({ error: messageOf(error) }, 'inbound mail could not be stored')
      if (FULL.has(String((error as { code?: unknown }).code)))
        return { code: 452, text: '4.3.1 not enough disk space, try again later' }
      return { code: 451, text: '4.3.0 the message could not be kept, try again later' }
    }
    this.#deps.onInbound()
    return { code: 250, text: `2.0.0 taken as ${id}` }
  }
}
