import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Case, LOGIN, recipientDomain, SENDER } from './contract.ts'

// The load, in a process of its own: raw sockets, one message under way a session. Prints one line of JSON when all was acknowledged.

const [where = '{}'] = process.argv.slice(2)
const { port, host, load } = JSON.parse(where) as { port: number; host: string; load: Case }
const body = Buffer.from(
  `${`${'The quick brown fox jumps over the lazy dog. '.repeat(2).slice(0, 74)}\r\n`.repeat(Math.ceil(load.bytes / 76))}`,
)
const plain = Buffer.from(`\0${LOGIN.user}\0${LOGIN.password}`).toString('base64')

let next = 0
let acked = 0
async function session(): Promise<void> {
  while (next < load.messages) {
    const peer = await Peer.open()
    try {
      do {
        const n = next++
        if (n >= load.messages) break
        await peer.send(n)
        acked += 1
      } while (!load.onePerConnection)
      await peer.ask('QUIT\r\n', 221)
    } finally {
      peer.end()
    }
  }
}

class Peer {
  #socket: Socket
  #buffer = ''
  #wake: (() => void) | null = null
  #ended: Error | null = null

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#listen(socket)
  }

  static async open(): Promise<Peer> {
    const socket = connect({ host, port, noDelay: true })
    const peer = new Peer(socket)
    await peer.reply(220)
    await peer.ask('EHLO load.test\r\n', 250)
    if (!load.onePerConnection) return peer
    await peer.ask('STARTTLS\r\n', 220)
    await peer.#secure()
    await peer.ask('EHLO load.test\r\n', 250)
    await peer.ask(`AUTH PLAIN ${plain}\r\n`, 235)
    return peer
  }

  async #secure(): Promise<void> {
    this.#socket.removeAllListeners('data')
    const secure = connectTls({ socket: this.#socket, rejectUnauthorized: false, minVersion: 'TLSv1.2' })
    await new Promise((resolve, reject) => secure.once('secureConnect', resolve).once('error', reject))
    this.#socket = secure
    this.#listen(secure)
  }

  #listen(socket: Socket): void {
    socket.on('data', (data: Buffer) => {
      this.#buffer += data.toString('latin1')
      this.#wake?.()
    })
    const failed = (error?: Error): void => {
      this.#ended ??= error ?? new Error('the server closed the connection')
      this.#wake?.()
    }
    socket.on('error', failed)
    socket.on('close', () => failed())
  }

  async send(n: number): Promise<void> {
    const to = `u${n}@${recipientDomain(n % load.domains)}`
    this.#socket.write(`MAIL FROM:<app@${SENDER}>\r\nRCPT TO:<${to}>\r\nDATA\r\n`)
    await this.reply(250)
    await this.reply(250)
    await this.reply(354)
    this.#socket.cork()
    this.#socket.write(
      `From: App <app@${SENDER}>\r\nTo: <${to}>\r\nSubject: message ${n}\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <bench-${n}@${SENDER}>\r\nX-Bench: ${n}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n`,
    )
    this.#socket.write(body)
    this.#socket.write('.\r\n')
    this.#socket.uncork()
    await this.reply(250)
  }

  async ask(command: string, code: number): Promise<void> {
    this.#socket.write(command)
    await this.reply(code)
  }

  async reply(code: number): Promise<void> {
    for (;;) {
      const end = /^(?:\d{3}-[^\r\n]*\r\n)*\d{3}(?: [^\r\n]*)?\r\n/.exec(this.#buffer)
      if (end !== null) {
        const text = end[0]
        this.#buffer = this.#buffer.slice(text.length)
        if (text.startsWith(String(code))) return
        throw new Error(`expected ${code}, got ${text.trim()}`)
      }
      if (this.#ended !== null) throw this.#ended
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  end(): void {
    this.#socket.destroy()
  }
}

const began = performance.now()
await Promise.all(Array.from({ length: load.sessions }, () => session()))
process.stdout.write(`${JSON.stringify({ acked, ms: performance.now() - began })}\n`)
