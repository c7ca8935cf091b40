import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'
import type { Clock } from '#base'
import { ContentIn } from './content-in.ts'
import type { KeptMail, KeptRecipient } from './kept-mail.ts'
import { type Rule, ruleFor } from './local-part.ts'

export type SessionOptions = {
  readonly door: 'mx' | 'relay'
  readonly hostname: string
  readonly clock: Clock
  readonly secureContext: SecureContext | null
  readonly auth: { readonly username: string; readonly password: string } | null
  readonly maxBytes: number
  /** True when this sender and recipient were seen before. */
  readonly seenBefore: (reversePath: string, recipient: string) => boolean
  readonly onMail: (mail: Omit<KeptMail, 'id'>, rules: readonly Rule[]) => string
}

const MAX_LINE_BYTES = 4096
const MAX_RECIPIENTS = 1000
const IDLE_MS = 300_000
const NOTHING = Buffer.alloc(0)
const PATH = /^(?:MAIL FROM|RCPT TO):\s*<([^<>\r\n]*)>(?:\s+(.*))?$/i

/** One client of the sink (RFC 5321), read in order, whatever is pipelined. */
export class Session {
  readonly #o: SessionOptions
  readonly #bare: Socket
  #socket: Socket
  #pending: Buffer = NOTHING
  #content: ContentIn | null = null
  /** Nothing further is read until a late answer was given. */
  #waiting = false
  #cancelTimer: (() => void) | null = null
  #answerAuth: ((line: string) => undefined) | null = null
  #helo = ''
  #tls = ''
  #user = ''
  #mail: { path: string; parameters: string } | null = null
  #recipients: { kept: KeptRecipient; rule: Rule }[] = []

  constructor(socket: Socket, options: SessionOptions) {
    this.#o = options
    this.#bare = socket
    this.#socket = socket
    socket.on('error', () => {})
    socket.once('close', () => this.#cancelTimer?.())
    socket.setNoDelay(true)
    socket.on('data', this.#onData)
    this.#idle()
    this.#say(`220 ${options.hostname} ESMTP sandbox sink`)
  }

  destroy(): void {
    this.#cancelTimer?.()
    this.#socket.destroy()
    this.#bare.destroy()
  }

  #say(...lines: string[]): undefined {
    if (!this.#socket.destroyed) this.#socket.write(`${lines.join('\r\n')}\r\n`)
  }

  #close(line: string): undefined {
    this.#say(line)
    this.#waiting = true
    this.#pending = NOTHING
    this.#socket.end()
    this.#later(2000, () => this.destroy())
  }

  #reset(): undefined {
    // Resetting the handle under a TLS socket leaks it (Node 26); that one is closed from above.
    if (this.#socket === this.#bare) this.#bare.resetAndDestroy()
    else this.destroy()
  }

  #later(ms: number, then: () => void): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.#o.clock.after(ms, then)
  }

  #idle(): void {
    this.#later(IDLE_MS, () => this.#close('421 4.4.2 Idle for too long'))
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#pending.length + chunk.length > this.#o.maxBytes + 1_048_576) {
      this.destroy()
      return
    }
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    this.#pump()
  }

  #pump(): void {
    while (!this.#waiting && this.#pending.length > 0) {
      if (this.#content) {
        const end = this.#content.push(this.#pending)
        this.#pending = end < 0 ? NOTHING : this.#pending.subarray(end)
        if (end < 0) return
        this.#endOfContent()
        continue
      }
      const lf = this.#pending.indexOf(0x0a)
      if (lf < 0 || lf > MAX_LINE_BYTES) {
        if (this.#pending.length > MAX_LINE_BYTES) this.#close('500 5.5.2 Line too long')
        return
      }
      const line = this.#pending.toString('utf8', 0, lf).replace(/\r$/, '')
      this.#pending = this.#pending.subarray(lf + 1)
      this.#idle()
      const answer = this.#answerAuth
      this.#answerAuth = null
      if (answer) answer(line)
      else this.#command(line)
    }
  }

  #command(line: string): undefined {
    const verb = /^[A-Za-z]{1,12}/.exec(line)?.[0].toUpperCase() ?? ''
    if (verb === 'EHLO') return this.#ehlo(line.slice(5).trim())
    if (verb === 'HELO') {
      this.#helo = line.slice(5).trim()
      return this.#say(`250 ${this.#o.hostname}`)
    }
    if (verb === 'STARTTLS') return this.#startTls()
    if (verb === 'AUTH') return this.#auth(line)
    if (verb === 'MAIL') return this.#mailFrom(line)
    if (verb === 'RCPT') return this.#rcptTo(line)
    if (verb === 'DATA') return this.#data()
    if (verb === 'RSET') {
      this.#forget()
      return this.#say('250 2.0.0 Forgotten')
    }
    if (verb === 'NOOP') return this.#say('250 2.0.0 Here')
    if (verb === 'VRFY') return this.#say('252 2.1.5 Try it and see')
    if (verb === 'QUIT') return this.#close('221 2.0.0 Goodbye')
    this.#say('500 5.5.2 Not a command known here')
  }

  #forget(): void {
    this.#mail = null
    this.#recipients = []
  }

  #ehlo(name: string): undefined {
    this.#helo = name
    this.#forget()
    const lines = [
      this.#o.hostname,
      'PIPELINING',
      `SIZE ${this.#o.maxBytes}`,
      '8BITMIME',
      'SMTPUTF8',
      'DSN',
      'ENHANCEDSTATUSCODES',
    ]
    if (this.#o.secureContext && this.#tls === '') lines.push('STARTTLS')
    if (this.#o.auth && this.#user === '') lines.push('AUTH PLAIN LOGIN')
    this.#say(...lines.map((line, i) => `250${i < lines.length - 1 ? '-' : ' '}${line}`))
  }

  #startTls(): undefined {
    if (!this.#o.secureContext || this.#tls !== '') return this.#say('502 5.5.1 No TLS here')
    this.#say('220 2.0.0 Begin')
    // What was pipelined behind STARTTLS came in clear from nobody knows whom (RFC 3207 §6).
    this.#pending = NOTHING
    this.#forget()
    this.#helo = ''
    this.#waiting = true
    this.#bare.removeListener('data', this.#onData)
    const secure = new TLSSocket(this.#bare, {
      isServer: true,
      secureContext: this.#o.secureContext,
    })
    this.#socket = secure
    secure.on('error', () => this.destroy())
    secure.on('data', this.#onData)
    secure.once('secure', () => {
      this.#tls = `${secure.getProtocol() ?? ''} ${secure.getCipher().standardName ?? ''}`.trim()
      this.#waiting = false
      this.#pump()
    })
  }

  #auth(line: string): undefined {
    const expected = this.#o.auth
    if (!expected) return this.#say('502 5.5.1 No authentication here')
    const [, mechanism = '', initial] = line.trim().split(/ +/)
    const decoded = (text: string): string => Buffer.from(text, 'base64').toString('utf8')
    const judge = (username: string, password: string): undefined => {
      if (username !== expected.username || password !== expected.password) {
        return this.#say('535 5.7.8 Wrong username or password')
      }
      this.#user = username
      this.#say('235 2.7.0 Welcome')
    }
    const plain = (text: string): undefined => {
      const [, username = '', password = ''] = decoded(text).split('\0')
      judge(username, password)
    }
    if (mechanism.toUpperCase() === 'PLAIN') {
      if (initial !== undefined) return plain(initial)
      this.#answerAuth = plain
      return this.#say('334 ')
    }
    if (mechanism.toUpperCase() !== 'LOGIN') return this.#say('504 5.5.4 Not a mechanism known here')
    this.#answerAuth = (username) => {
      this.#answerAuth = (password) => judge(decoded(username), decoded(password))
      this.#say('334 UGFzc3dvcmQ6')
    }
    this.#say('334 VXNlcm5hbWU6')
  }

  #mailFrom(line: string): undefined {
    const path = PATH.exec(line)
    if (!path) return this.#say('501 5.5.4 MAIL FROM:<address>')
    if (this.#helo === '') return this.#say('503 5.5.1 EHLO first')
    if (this.#mail) return this.#say('503 5.5.1 A transaction is open already')
    if (this.#o.auth && this.#user === '') return this.#say('530 5.7.0 Authentication is needed')
    const size = Number(/(?:^| )SIZE=(\d{1,15})(?: |$)/i.exec(path[2] ?? '')?.[1] ?? 0)
    if (size > this.#o.maxBytes) return this.#say('552 5.3.4 Message larger than allowed')
    this.#mail = { path: path[1]!, parameters: path[2]?.trim() ?? '' }
    this.#say('250 2.1.0 Sender fine')
  }

  #rcptTo(line: string): undefined {
    const path = PATH.exec(line)
    if (!this.#mail) return this.#say('503 5.5.1 MAIL first')
    if (!path || path[1] === '') return this.#say('501 5.5.4 RCPT TO:<address>')
    if (this.#recipients.length >= MAX_RECIPIENTS) return this.#say('452 4.5.3 Too many recipients')
    const address = path[1]!
    const rule = ruleFor(address, this.#o.door)
    const take = (): undefined => {
      this.#recipients.push({ kept: { address, parameters: path[2]?.trim() ?? '' }, rule })
      this.#say('250 2.1.5 Recipient fine')
    }
    if (rule.kind === 'drop-at-rcpt') {
      return this.#reset()
    }
    if (rule.kind === 'greylist' && !this.#o.seenBefore(this.#mail.path, address)) {
      return this.#say('450 4.7.1 Greylisted, try again later')
    }
    if (rule.kind === 'refuse' && rule.at === 'rcpt') {
      return rule.close ? this.#close(rule.reply) : this.#say(rule.reply)
    }
    if (rule.kind !== 'slow') return take()
    this.#waiting = true
    this.#later(rule.delayMs, () => {
      this.#waiting = false
      take()
      this.#idle()
      this.#pump()
    })
  }

  #data(): undefined {
    if (!this.#mail) return this.#say('503 5.5.1 MAIL first')
    if (this.#recipients.length === 0) return this.#say('554 5.5.1 No valid recipients')
    this.#content = new ContentIn(this.#o.maxBytes)
    this.#say('354 Go ahead')
  }

  #endOfContent(): undefined {
    const taken = this.#content!.take()
    const mail = this.#mail!
    const recipients = this.#recipients
    this.#content = null
    this.#forget()
    this.#idle()
    if (taken.tooLarge) return this.#say('552 5.3.4 Message larger than allowed')
    const rules = recipients.map((recipient) => recipient.rule)
    for (const rule of rules) {
      if (rule.kind !== 'refuse' || rule.at !== 'dot') continue
      return rule.close ? this.#close(rule.reply) : this.#say(rule.reply)
    }
    const silent = rules.find((rule) => rule.kind === 'drop-after-dot' || rule.kind === 'stall-after-dot')
    const id = this.#o.onMail(
      {
        door: this.#o.door,
        atMs: this.#o.clock.now(),
        clientAddress: this.#bare.remoteAddress ?? '',
        helo: this.#helo,
        tls: this.#tls,
        user: this.#user,
        reversePath: mail.path,
        parameters: mail.parameters,
        recipients: recipients.map((recipient) => recipient.kept),
        content: taken.content,
        bareLineEnds: taken.bareLineEnds,
        answered: silent === undefined,
      },
      rules,
    )
    if (silent === undefined) return this.#say(`250 2.0.0 Taken as ${id}`)
    this.#waiting = true
    if (silent.kind === 'drop-after-dot') this.#reset()
  }
}
