import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** A connection from another loopback address, as one of many hosts; its text so far, and its end. */
export class Stranger {
  readonly #socket: Socket
  text = ''
  closed = false

  constructor(port: number, number: number, implicitTls = false) {
    // 127.1.0.1 and on: all of 127/8 is this machine.
    const localAddress = `127.1.${Math.floor(number / 250)}.${1 + (number % 250)}`
    const raw = connect({ port, host: '127.0.0.1', localAddress })
    raw.on('error', () => {})
    this.#socket = implicitTls ? connectTls({ socket: raw, rejectUnauthorized: false }) : raw
    this.#socket.on('data', (data: Buffer) => {
      this.text += data.toString('latin1')
    })
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => {
      this.closed = true
    })
  }

  write(text: string): void {
    this.#socket.write(text)
  }

  async end(withinMs: number): Promise<boolean> {
    if (this.closed) return true
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, withinMs)
      this.#socket.once('close', () => {
        clearTimeout(timer)
        resolve()
      })
    })
    return this.closed
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
