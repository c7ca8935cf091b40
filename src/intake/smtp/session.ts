import { isUtf8 } from 'node:buffer'
import type { Socket } from 'node:net'
import type { SMTPServer } from 'smtp-server'
import { SMTPConnection, type SMTPConnectionOptions } from 'smtp-server/lib/smtp-connection.js'
import type { Clock, Log } from '#base'
import type { Submitter } from '../submitter.ts'
import { CommandReader } from './command-reader.ts'
import { type ContentBudget, DotReader } from './dot-reader.ts'
import { type MailCommand, type RcptCommand, type RequireTlsOffer, readMail, readRcpt } from './path-command.ts'
import type { Reply } from './reply.ts'

/** RFC 5321 §4.5.3.2 gives ten minutes for the end of data; slow lines with large attachments get more, but not for ever. */
const CONTENT_DEADLINE_MS = 1_800_000
export const HANDSHAKE_DEADLINE_MS = 30_000
const ENHANCED = /^[245]\.\d{1,3}\.\d{1,3} /
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/

/** The address of who comes by a unix socket, and its count at the door. */
export const LOCAL_CLIENT = 'local'

/** Who is at the other end, as far as is known. */
export type Client = {
  readonly sessionId: string
  readonly address: string
  /** What it called itself; hostile text. */
  readonly helo: string
  /** RFC 3848, RFC 6531: `ESMTPSA`, `UTF8SMTPSA` … */
  readonly protocol: string
  readonly secure: boolean
  readonly login: Submitter | null
}

export type SessionRecipient = RcptCommand & {
  readonly suppressed?: { readonly reason: string; readonly detail: string }
}

export type Envelope = { readonly mail: MailCommand; readonly recipients: readonly SessionRecipient[] }

type Maybe<T> = T | Promise<T>

/** What a listener does with a session: the part that differs between submission and inbound mail. */
export interface SessionHandler {
  /** Answers null when the log-in holds; the session waits for it. */
  login(
    username: string,
    password: string,
    client: Client,
  ): Promise<{ readonly submitter: Submitter } | { readonly refused: Reply }>
  /** Null: the sender is taken. */
  mail(command: MailCommand, client: Client): Maybe<Reply | null>
  recipient(
    command: RcptCommand,
    mail: MailCommand,
    client: Client,
  ): Maybe<{ readonly taken: SessionRecipient } | { readonly refused: Reply }>
  /** The content was read whole. The reply is sent as it is; 250 only when it is kept. */
  message(envelope: Envelope, content: Buffer, client: Client): Promise<Reply>
}

export type SessionContext = {
  readonly hostname: string
  readonly handler: SessionHandler
  readonly loginNeeded: boolean
  /** REQUIRETLS (RFC 8689) is offered once the session is over TLS. */
  readonly offersRequireTls: boolean
  /** FUTURERELEASE and MT-PRIORITY are taken (submission only). */
  readonly takesRelease: boolean
  readonly maxMessageBytes: number
  readonly maxRecipients: number
  readonly maxErrors: number
  readonly idleTimeoutMs: number
  /** `postmaster` without a domain is taken as postmaster of this host; null: not taken. */
  readonly postmasterHost: string | null
  /** Further lines of the EHLO answer (RFC 5321 §4.1.1.1); read at each. */
  readonly keywords?: () => readonly string[]
  readonly budget: ContentBudget
  readonly clock: Clock
  readonly log: Log
}

/**
 * One SMTP session. smtp-server's connection does the greeting, EHLO, TLS and AUTH; reading, MAIL, RCPT and DATA are ours.
 * What is relied on of its inside is listed and checked by the contract test on the pinned version.
 */
export class Session extends SMTPConnection {
  readonly #context: SessionContext
  login: Submitter | null = null
  /** Monotonic time at which the session is ended when nothing happened; Infinity while the client waits for us. */
  deadlineMs: number
  #mail: MailCommand | null = null
  #recipients = new Map<string, SessionRecipient>()
  #reader: DotReader | null = null
  #errors = 0
  #inEhlo = false
  /** The TLS socket whose handshake runs. */
  #handshake: Socket | null = null
  #corked: Socket | null = null
  #working = false

  constructor(server: SMTPServer, socket: Socket, options: SMTPConnectionOptions | null, context: SessionContext) {
    super(server, socket, options)
    this.#context = context
    // smtp-server counts the commands of those not logged in; ours counts what goes wrong.
    this._maxAllowedUnauthenticatedCommands = false
    this.deadlineMs = context.clock.monotonicMs() + context.idleTimeoutMs
  }

  /** True while the client has nothing under way that an end would lose. */
  get idle(): boolean {
    return !this.#working && this.#reader === null
  }

  /** The greeting at once, without smtp-server's wait for early talkers. */
  override init(): void {
    this._setListeners(() => this.connectionReady())
  }

  override _createParser(): CommandReader {
    return new CommandReader({
      command: (line, done) => this._onCommand(line, done),
      lineTooLong: () => {
        this.send(500, '5.5.6 line too long')
        this.close()
      },
      content: (reader, complete) => void this.#content(reader, complete),
      begin: () => {
        this.#hold()
        if (this.#reader !== null) this.#touch()
      },
    })
  }

  /** One timer of the server watches all sessions; a timer a socket would be reset by every byte that trickles in. */
  override _armTimeout(socket?: Socket): void {
    if (socket !== undefined) this.#handshake = socket
  }

  /** Called by the server's sweep once the deadline is over. */
  expire(): void {
    this.send(421, '4.4.2 timeout, closing the connection')
    if (this._upgrading) this.destroy()
  }

  /** Ends the connection now; during a handshake from above, since the raw socket must not go from under its TLS socket. */
  destroy(): void {
    const socket = this._upgrading ? (this.#handshake ?? this._socket) : this._socket
    socket.destroy()
  }

  override _onCommand(command: Buffer, callback?: () => void): void {
    this.#working = true
    this.deadlineMs = Number.POSITIVE_INFINITY
    const done = (): void => {
      this.#working = false
      this.#touch()
      callback?.()
    }
    if (!this._upgrading && (CONTROL.test(command.toString('latin1')) || !isUtf8(command))) {
      this._nextHandler = false
      this.send(500, '5.5.2 the command has control characters or is not UTF-8')
      done()
      return
    }
    this._unrecognizedCommands = 0 // max_errors counts instead, over all that goes wrong
    super._onCommand(command, done)
  }

  /** Who does not read the answers is asked nothing more, and has as long to read as to say something. */
  override _whenWritable(next: () => void): void {
    if (this._socket.writableNeedDrain) this.#touch()
    super._whenWritable(next)
  }

  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    const lines = this.#inEhlo && Array.isArray(data) ? [...data, ...(this.#context.keywords?.() ?? [])] : data
    super.send(code, lines, typeof data === 'string' && ENHANCED.test(data) ? false : context)
    if (code >= 500) this.#countError()
  }

  override handler_EHLO(command: Buffer, callback: () => void): void {
    this.#inEhlo = true
    super.handler_EHLO(command, callback)
    this.#inEhlo = false
  }

  /** AUTH is not offered before TLS, but is known there, so that it can be refused with its reason. */
  override _isSupported(command: string): boolean {
    if (this.#inEhlo && command === 'AUTH' && !this.secure) return false
    return super._isSupported(command)
  }

  override handler_STARTTLS(command: Buffer, callback: () => void): void {
    // What came behind STARTTLS in clear text would be taken for a command within TLS (CVE-2011-0411 and its kin).
    if ((this._parser as CommandReader).hasMore) {
      this.#answer({ code: 554, text: '5.5.1 nothing may follow STARTTLS before the handshake', close: true })
      callback()
      return
    }
    super.handler_STARTTLS(command, callback)
  }

  override upgrade(callback: () => void, secureCallback?: () => void): void {
    this.#flush()
    super.upgrade(callback, secureCallback)
    this.deadlineMs = this.#context.clock.monotonicMs() + Math.min(HANDSHAKE_DEADLINE_MS, this.#context.idleTimeoutMs)
  }

  override handler_AUTH(command: Buffer, callback: () => void): void {
    if (!this.secure) this.send(538, '5.7.11 encryption is needed to log in: STARTTLS first')
    else if (this.#mail !== null) this.send(503, '5.5.1 no log-in within a mail transaction (RFC 4954 4)')
    else {
      super.handler_AUTH(command, callback)
      return
    }
    callback()
  }

  override _resetSession(): void {
    super._resetSession()
    this.#mail = null
    this.#recipients = new Map()
  }

  override handler_MAIL(command: Buffer, callback: () => void): void {
    if (this.#context.loginNeeded && this.login === null) {
      this.send(530, this.secure ? '5.7.0 log in first' : '5.7.0 STARTTLS and log in first')
      callback()
      return
    }
    if (this.#mail !== null) {
      this.send(503, '5.5.1 a mail transaction is open already')
      callback()
      return
    }
    const nowMs = this.#context.takesRelease ? this.#context.clock.now() : null
    const read = readMail(command.toString(), this.#context.maxMessageBytes, this.#requireTlsOffer(), nowMs)
    if (!read.ok) {
      this.#answer(read.reply)
      callback()
      return
    }
    this.#when(this.#context.handler.mail(read.value, this.client()), callback, (refused) => {
      if (refused !== null) this.#answer(refused)
      else {
        this.#mail = read.value
        this.send(250, '2.1.0 sender ok')
      }
    })
  }

  #requireTlsOffer(): RequireTlsOffer {
    if (!this.#context.offersRequireTls) return 'unknown'
    return this.secure ? 'offered' : 'over-tls-only'
  }

  override handler_RCPT(command: Buffer, callback: () => void): void {
    const mail = this.#mail
    if (mail === null) {
      this.send(503, '5.5.1 MAIL first')
      callback()
      return
    }
    const read = readRcpt(command.toString(), mail.smtpUtf8, this.#context.postmasterHost)
    if (!read.ok) {
      this.#answer(read.reply)
      callback()
      return
    }
    const key = read.value.address.text
    if (this.#recipients.size >= this.#context.maxRecipients && !this.#recipients.has(key)) {
      this.send(452, `4.5.3 too many recipients: at most ${this.#context.maxRecipients} in one transaction`)
      callback()
      return
    }
    this.#when(this.#context.handler.recipient(read.value, mail, this.client()), callback, (answer) => {
      if ('refused' in answer) this.#answer(answer.refused)
      else {
        this.#recipients.set(key, answer.taken)
        this.send(250, '2.1.5 recipient ok')
      }
    })
  }

  override handler_DATA(command: Buffer, callback: () => void): void {
    const parser = this._parser as CommandReader
    const wrong =
      command.length > 4 && command.toString().trim().length > 4
        ? { code: 501, text: '5.5.4 DATA takes no parameter' }
        : this.#mail === null
          ? { code: 503, text: '5.5.1 MAIL first' }
          : this.#recipients.size === 0
            ? { code: 554, text: '5.5.1 no recipient was taken' }
            : null
    if (wrong !== null) {
      // Content sent without waiting for 354 would now be read as commands.
      this.#answer(parser.hasMore ? { ...wrong, close: true } : wrong)
      callback()
      return
    }
    this.#reader = new DotReader(this.#context.maxMessageBytes, this.#context.budget)
    parser.startContent(this.#reader, this.#context.maxMessageBytes)
    this.#contentDeadlineMs = this.#context.clock.monotonicMs() + CONTENT_DEADLINE_MS
    this.send(354, 'End data with <CR><LF>.<CR><LF>')
    callback()
  }

  override _onClose(): void {
    this.#reader?.release()
    this.#reader = null
    super._onClose()
  }

  client(): Client {
    const type = this._transmissionType()
    return {
      sessionId: this.id,
      address: this.remoteAddress || LOCAL_CLIENT,
      helo: this.hostNameAppearsAs || '',
      protocol: this.#mail?.smtpUtf8 ? type.replace(/^ESMTP/, 'UTF8SMTP') : type,
      secure: this.secure,
      login: this.login,
    }
  }

  #contentDeadlineMs = 0

  async #content(reader: DotReader, complete: boolean): Promise<void> {
    this.#working = true
    this.deadlineMs = Number.POSITIVE_INFINITY
    const reply = await this.#judge(reader, complete)
    reader.release()
    this.#reader = null
    this.#working = false
    if (this._closed) return
    this.#answer(complete ? reply : { ...reply, close: true })
    if (reply.code < 400) this.#errors = 0
    this._resetSession()
    this.#touch()
    if (this._parser) (this._parser as CommandReader).contentAnswered()
  }

  async #judge(reader: DotReader, complete: boolean): Promise<Reply> {
    const received = reader.received()
    if (received.kind === 'no-room') return { code: 452, text: '4.3.1 out of memory for now, try again later' }
    if (received.kind === 'too-large' || !complete)
      return {
        code: 552,
        text: `5.3.4 the message is larger than the ${this.#context.maxMessageBytes} bytes taken here`,
      }
    try {
      const envelope = { mail: this.#mail!, recipients: [...this.#recipients.values()] }
      return await this.#context.handler.message(envelope, received.content, this.client())
    } catch (error) {
      this.#context.log.error({ error, session: this.id }, 'a message could not be taken')
      return { code: 451, text: '4.3.0 internal error, try again later' }
    }
  }

  #when<T>(answer: Maybe<T>, callback: () => void, then: (value: T) => void): void {
    if (!(answer instanceof Promise)) {
      then(answer)
      callback()
      return
    }
    answer
      .then(then, (error: unknown) => {
        this.#context.log.error({ error, session: this.id }, 'a command could not be answered')
        this.send(451, '4.3.0 internal error, try again later')
      })
      .finally(callback)
  }

  #answer(reply: Reply): void {
    if (reply.harmless === true && reply.code >= 500) this.#errors -= 1
    this.send(reply.code, reply.text)
    if (reply.close === true) this.close()
  }

  #countError(): void {
    this.#errors += 1
    if (this.#errors >= this.#context.maxErrors && !this._closing)
      super.send(421, '4.7.0 too many errors, closing the connection', false)
  }

  /** The replies of this turn of the event loop go out in one write, also those that had to wait for a promise. */
  #hold(): void {
    if (this.#corked !== null) return
    this.#corked = this._socket
    this.#corked.cork()
    setImmediate(() => this.#flush())
  }

  #flush(): void {
    const socket = this.#corked
    this.#corked = null
    if (socket !== null && socket.writableCorked > 0) socket.uncork()
  }

  #touch(): void {
    const idle = this.#context.clock.monotonicMs() + this.#context.idleTimeoutMs
    this.deadlineMs = this.#reader === null ? idle : Math.min(idle, this.#contentDeadlineMs)
  }
}
