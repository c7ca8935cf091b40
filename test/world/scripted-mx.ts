import { createHash } from 'node:crypto'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { type Certificate, certificate } from './certificates.ts'
import { AS_USUAL, BEHAVIOURS, type Behaviour, type BehaviourName, type Script } from './mx-behaviours.ts'

/** A message this host took, whatever it said about it. */
export type Taken = {
  readonly reversePath: string
  readonly recipients: readonly string[]
  /** As it came over the wire, dots still stuffed, without the final dot. */
  readonly wire: Buffer
  readonly content: Buffer
  readonly sha256: string
  readonly tls: string
  readonly connection: number
  readonly bareLineEnds: boolean
}

export interface ScriptedMx extends AsyncDisposable {
  readonly host: string
  readonly port: number
  readonly taken: readonly Taken[]
  /** Every command line of every connection, in order. */
  readonly commands: readonly string[]
  readonly connections: number
  /** Connections open now, and the most there were at once. */
  readonly open: number
  readonly peak: number
}

export type ScriptedMxOptions = {
  readonly behaviour?: BehaviourName | Script
  readonly host?: string
  readonly port?: number
  readonly name?: string
  readonly cert?: Certificate
}

/** A mail host that does exactly what its script says, at the level of bytes. */
export async function scriptedMx(options: ScriptedMxOptions = {}): Promise<ScriptedMx> {
  const script: Script =
    typeof options.behaviour === 'object' ? options.behaviour : BEHAVIOURS[options.behaviour ?? 'good']
  const name = options.name ?? 'mx.test'
  const cert = options.cert ?? (await certificate(script.names ?? [name, '127.0.0.1'], script.certificate))
  const host = new Host(name, script, createSecureContext({ key: cert.key, cert: cert.cert }))
  const server = createServer((socket) => host.connected(socket))
  await listening(server, options.port ?? 0, options.host ?? '127.0.0.1')
  const { address, port } = server.address() as AddressInfo
  if (script.listens === false) await new Promise<void>((done) => server.close(() => done()))
  return {
    host: address,
    port,
    taken: host.taken,
    commands: host.commands,
    get connections() {
      return host.count
    },
    get open() {
      return host.sockets.size
    },
    get peak() {
      return host.peak
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((done) => (server.listening ? server.close(() => done()) : done()))
      for (const socket of host.sockets) socket.destroy()
      await closed
    },
  }
}

function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.removeListener('error', reject)
      server.on('error', () => {})
      resolve()
    })
  })
}

class Host {
  readonly name: string
  readonly script: Script
  readonly secureContext: SecureContext
  readonly taken: Taken[] = []
  readonly commands: string[] = []
  readonly sockets = new Set<Socket>()
  /** Whatever the script wants to remember between connections. */
  readonly seen = new Set<string>()
  count = 0
  peak = 0

  constructor(name: string, script: Script, secureContext: SecureContext) {
    this.name = name
    this.script = script
    this.secureContext = secureContext
  }

  connected(socket: Socket): void {
    socket.on('error', () => {})
    socket.setNoDelay(true)
    this.sockets.add(socket)
    socket.once('close', () => this.sockets.delete(socket))
    this.peak = Math.max(this.peak, this.sockets.size)
    new MxSession(this, socket, ++this.count).start()
  }
}

/** One connection to a scripted host; what a script's steps act upon. */
export class MxSession {
  readonly connection: number
  readonly #host: Host
  readonly #bare: Socket
  #socket: Socket
  #pending: Buffer = Buffer.alloc(0)
  #body: Buffer | null = null
  #deaf = false
  #secure = false
  /** Output goes through here, so a script can hold replies back or let them trickle. */
  #queue: Promise<void> = Promise.resolve()
  /** Null until MAIL was accepted. */
  reversePath: string | null = null
  recipients: string[] = []
  messages = 0

  constructor(host: Host, socket: Socket, connection: number) {
    this.#host = host
    this.#bare = socket
    this.#socket = socket
    this.connection = connection
  }

  get name(): string {
    return this.#host.name
  }

  get seen(): Set<string> {
    return this.#host.seen
  }

  get openConnections(): number {
    return this.#host.sockets.size
  }

  get closed(): boolean {
    return this.#bare.destroyed
  }

  /** The address that was connected to: a host that listens on all of 127.0.0.0/8 can be many. */
  get localAddress(): string {
    return this.#bare.localAddress ?? ''
  }

  /** It speaks TLS by now. */
  get secure(): boolean {
    return this.#secure
  }

  get backlogBytes(): number {
    return this.#socket.writableLength
  }

  get body(): Buffer {
    return this.#body ?? Buffer.alloc(0)
  }

  start(): void {
    if (this.#host.script.implicitTls) this.#wrap()
    else this.#bare.on('data', this.#onData)
    this.#do(this.#host.script.connect, () => this.say(`220 ${this.name} ESMTP`))
  }

  /** Replies, CRLF added; `paceMs` of the script decides how fast. */
  say(...lines: readonly string[]): undefined {
    const text = `${lines.join('\r\n')}\r\n`
    const pace = this.#host.script.paceMs
    if (pace === undefined) return this.raw(text)
    for (const character of text) {
      this.#queue = this.#queue.then(() => (this.closed ? undefined : pause(pace))).then(() => this.#write(character))
    }
  }

  /** These bytes and nothing else, after what was said before. */
  raw(bytes: string | Buffer): undefined {
    this.#queue = this.#queue.then(() => this.#write(bytes))
  }

  #write(bytes: string | Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes)
  }

  /** Nothing is said before `ms` have passed. */
  hold(ms: number): void {
    this.#queue = this.#queue.then(() => pause(ms))
  }

  close(): undefined {
    this.#deaf = true
    this.#queue = this.#queue.then(() => {
      this.#socket.end()
    })
  }

  reset(): void {
    this.#deaf = true
    this.#queue = this.#queue.then(() => {
      // Resetting the handle under a TLS socket leaks it (Node 26); that one is closed from above.
      if (this.#socket === this.#bare) this.#bare.resetAndDestroy()
      else {
        this.#socket.destroy()
        this.#bare.destroy()
      }
    })
  }

  /** Reads on and says nothing any more. */
  hang(): void {
    this.#deaf = true
  }

  /** Reads nothing any more, so the kernel's buffers fill. */
  stopReading(): void {
    this.#deaf = true
    this.#bare.pause()
  }

  /** Answers as a well-behaved host would. */
  take(): undefined {
    this.record()
    this.say('250 2.0.0 taken')
  }

  /** Counts the message as taken, without a word. */
  record(): undefined {
    const wire = this.body
    const content = Buffer.from(wire.toString('latin1').replace(/(^|\r\n)\./g, '$1'), 'latin1')
    this.messages++
    this.#host.taken.push({
      reversePath: this.reversePath ?? '',
      recipients: this.recipients,
      wire,
      content,
      sha256: createHash('sha256').update(content).digest('hex'),
      tls: this.#secure ? ((this.#socket as TLSSocket).getProtocol() ?? 'TLS') : '',
      connection: this.connection,
      bareLineEnds: /(?:^|[^\r])\n|\r(?!\n)/.test(wire.toString('latin1')),
    })
  }

  #do(step: Behaviour | undefined, otherwise: () => undefined, argument = ''): undefined {
    if (step === undefined) return otherwise()
    const reply = step(this, argument)
    if (reply === AS_USUAL) otherwise()
    else if (typeof reply === 'string') this.say(reply)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#host.script.onChunk?.(chunk.length)
    if (this.#deaf) return
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    while (!this.#deaf && this.#pending.length > 0) {
      if (this.#body !== null) {
        if (!this.#readBody()) return
        continue
      }
      const lf = this.#pending.indexOf(0x0a)
      if (lf < 0) return
      const line = this.#pending.toString('utf8', 0, lf).replace(/\r$/, '')
      this.#pending = this.#pending.subarray(lf + 1)
      this.#host.commands.push(line)
      this.#command(line)
    }
  }

  #readBody(): boolean {
    const { script } = this.#host
    this.#body = Buffer.concat([this.#body!, this.#pending])
    this.#pending = Buffer.alloc(0)
    const during = script.body?.(this, '')
    if (this.#deaf) return false
    if (typeof during === 'string') this.say(during)
    const end = this.#body.subarray(0, 3).equals(LONE_DOT) ? 0 : this.#body.indexOf(END) + 2
    if (end === 1) return false
    this.#pending = this.#body.subarray(end + 3)
    this.#body = this.#body.subarray(0, end)
    this.#do(script.dot, () => this.take())
    this.#body = null
    this.reversePath = null
    this.recipients = []
    return true
  }

  #command(line: string): undefined {
    const { script } = this.#host
    const verb = /^[a-z]+/i.exec(line)?.[0].toUpperCase() ?? ''
    const path = /<(.*?)>/.exec(line)?.[1] ?? ''
    switch (verb) {
      case 'EHLO':
        return this.#do(script.ehlo, () => this.#ehlo(), line)
      case 'HELO':
        return this.#do(script.helo, () => this.say(`250 ${this.name}`), line)
      case 'STARTTLS':
        return this.#do(script.starttls, () => this.startTls('220 2.0.0 go'), line)
      case 'MAIL':
        return this.#do(script.mail, () => this.acceptSender(path), line)
      case 'RCPT':
        return this.reversePath === null
          ? this.say('503 5.5.1 MAIL first')
          : this.#do(script.rcpt, () => this.acceptRecipient(path), path)
      case 'DATA':
        return this.#do(script.data, () => this.askForContent(), line)
      case 'RSET':
        this.reversePath = null
        this.recipients = []
        return this.#do(script.rset, () => this.say('250 2.0.0 reset'), line)
      case 'QUIT':
        return this.#do(
          script.quit,
          () => {
            this.say('221 2.0.0 bye')
            this.close()
          },
          line,
        )
      default:
        return this.#do(script.other, () => this.say('500 5.5.2 what'), line)
    }
  }

  #ehlo(): undefined {
    const { script } = this.#host
    const offers = script.offers ?? [
      'PIPELINING',
      'SIZE 52428800',
      '8BITMIME',
      'SMTPUTF8',
      'DSN',
      'ENHANCEDSTATUSCODES',
    ]
    const lines = [this.name, ...offers]
    if (script.tls !== false && this.#socket === this.#bare) lines.push('STARTTLS')
    this.say(...lines.map((line, i) => `250${i < lines.length - 1 ? '-' : ' '}${line}`))
  }

  acceptSender(path: string): undefined {
    this.reversePath = path
    this.recipients = []
    this.say('250 2.1.0 fine')
  }

  acceptRecipient(path: string): undefined {
    this.recipients.push(path)
    this.say('250 2.1.5 fine')
  }

  askForContent(reply = '354 go on'): undefined {
    if (this.recipients.length === 0) return this.say('554 5.5.1 no valid recipients')
    this.expectContent()
    this.say(reply)
  }

  expectContent(): undefined {
    this.#body = Buffer.alloc(0)
  }

  startTls(reply: string): undefined {
    this.#write(`${reply}\r\n`)
    this.#pending = Buffer.alloc(0)
    this.#bare.removeListener('data', this.#onData)
    this.#wrap()
  }

  #wrap(): void {
    const secure = new TLSSocket(this.#bare, { isServer: true, secureContext: this.#host.secureContext })
    this.#socket = secure
    secure.on('error', () => {})
    secure.on('data', this.#onData)
    secure.once('secure', () => {
      this.#secure = true
    })
  }
}

const LONE_DOT = Buffer.from('.\r\n')
const END = Buffer.from('\r\n.\r\n')

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
