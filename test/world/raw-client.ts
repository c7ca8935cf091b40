import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** One reply as its lines stand, without CRLF; null when the peer closed instead. */
export type RawReply = { readonly code: number; readonly lines: readonly string[] }

/** A client that says exactly what it is told, byte by byte, and believes nothing. */
export class RawClient {
  #socket: Socket
  #text = ''
  #closed = false
  #wake: (() => void) | null = null

  constructor(socket: Socket) {
    this.#socket = socket
    this.#attach(socket)
  }

  static open(port: number, host = '127.0.0.1', implicitTls = false): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = implicitTls ? connectTls({ port, host, rejectUnauthorized: false }) : connect({ port, host })
      socket.setNoDelay(true)
      socket.once('error', reject)
      socket.once(implicitTls ? 'secureConnect' : 'connect', () => {
        socket.removeListener('error', reject)
        resolve(new RawClient(socket))
      })
    })
  }

  get closed(): boolean {
    return this.#closed
  }

  #attach(socket: Socket): void {
    socket.on('error', this.#onClose)
    socket.on('end', this.#onClose)
    socket.on('close', this.#onClose)
    socket.on('data', this.#onData)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#text += chunk.toString('latin1')
    this.#rouse()
  }

  readonly #onClose = (): void => {
    this.#closed = true
    this.#rouse()
  }

  #rouse(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }

  write(bytes: string | Uint8Array): void {
    if (!this.#closed) this.#socket.write(bytes)
  }

  /** Waits for the next reply; null when the connection ended first. Rejects after `withinMs`. */
  async reply(withinMs = 10_000): Promise<RawReply | null> {
    let late = false
    const timer = setTimeout(() => {
      late = true
      this.#rouse()
    }, withinMs)
    try {
      for (;;) {
        const whole = /^(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\r?\n/.exec(this.#text)
        if (whole) {
          this.#text = this.#text.slice(whole[0].length)
          const lines = whole[0].trimEnd().split(/\r?\n/)
          return { code: Number(lines[0]!.slice(0, 3)), lines }
        }
        if (this.#closed) return null
        if (late) throw new Error(`no reply within ${withinMs} ms; so far: ${JSON.stringify(this.#text.slice(0, 200))}`)
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    } finally {
      clearTimeout(timer)
    }
  }

  async ask(line: string): Promise<RawReply> {
    this.write(`${line}\r\n`)
    const reply = await this.reply()
    if (!reply) throw new Error(`connection closed in answer to ${line.slice(0, 60)}`)
    return reply
  }

  /** The handshake, after the 220; certificates are not looked at. */
  startTls(servername = 'localhost'): Promise<void> {
    const bare = this.#socket
    for (const [event, listener] of [
      ['error', this.#onClose],
      ['end', this.#onClose],
      ['close', this.#onClose],
      ['data', this.#onData],
    ] as const) {
      bare.removeListener(event, listener as () => void)
    }
    bare.on('error', () => {})
    return new Promise((resolve, reject) => {
      const secure = connectTls({ socket: bare, rejectUnauthorized: false, servername })
      secure.once('error', reject)
      secure.once('secureConnect', () => {
        secure.removeListener('error', reject)
        this.#socket = secure
        this.#attach(secure)
        resolve()
      })
    })
  }

  /** Reads until the peer closes; what it said, as one string. */
  async drain(): Promise<string> {
    while (!this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#text
  }

  reset(): void {
    this.#socket.resetAndDestroy()
  }

  close(): void {
    this.#socket.destroy()
  }
}
