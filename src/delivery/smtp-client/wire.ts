import type { Socket } from 'node:net'
import type { Clock } from '#base'
import { ReplyParser, type WireReply } from './reply-parser.ts'
import type { Transcript } from './transcript.ts'

/** How a connection ended; nothing is read from it or written to it afterwards. */
export type End = {
  readonly reason:
    | 'connection-closed'
    | 'connection-reset'
    | 'connection-error'
    | 'timeout'
    | 'protocol-error'
    | 'unexpected-reply'
    | 'service-closing'
    | 'aborted'
    | 'done'
  readonly detail: string
  /** With `unexpected-reply`: what was said out of turn, when it was a whole reply. */
  readonly reply: WireReply | null
}

/**
 * A socket on which it is always known how many replies are due. A byte that comes when none is due ends the
 * connection: it can be no answer to anything we said. Replies that were due and complete before that still count.
 */
export class Wire {
  transcript: Transcript
  readonly #clock: Clock
  #socket: Socket
  #parser = new ReplyParser()
  #due = 0
  #replies: WireReply[] = []
  #waiting: ((reply: WireReply | null) => void) | null = null
  #writing: ((flushed: boolean) => void) | null = null
  /** The end of the content is with the socket, and not yet known to have left. */
  #leaving = false
  /** What came over TLS meanwhile; see `#onData`. */
  #early: Buffer[] = []
  /** One acceptance said between 354 and the end of the content may be passed over; see `forgiveOneEarly`. */
  #forgives = false
  #lastCode = 0
  #forgiven: WireReply | null = null
  #cancelDeadline: (() => void) | null = null
  #ended: End | null = null

  constructor(socket: Socket, clock: Clock, transcript: Transcript) {
    this.#socket = socket
    this.#clock = clock
    this.transcript = transcript
    this.#attach(socket)
  }

  get ended(): End | null {
    return this.#ended
  }

  /** Bytes of a reply that is not complete are there. */
  get midReply(): boolean {
    return this.#parser.midway
  }

  /** Begins a phase: the connection ends when the next `phase` or `rest` does not come within `ms`. */
  phase(ms: number): void {
    this.#cancelDeadline?.()
    this.#cancelDeadline = this.#ended
      ? null
      : this.#clock.after(ms, () => this.end('timeout', `nothing complete within ${ms} ms`))
  }

  rest(): void {
    this.#cancelDeadline?.()
    this.#cancelDeadline = null
  }

  /**
   * A connection that carried nothing yet has no reply left over from before. If a 2yz comes between its 354 and the end of
   * the content, the host answers too soon: that reply is passed over, and the one after the content is the answer.
   */
  forgiveOneEarly(may: boolean): void {
    this.#forgives = may
  }

  /** The reply that was passed over. */
  get forgiven(): WireReply | null {
    return this.#forgiven
  }

  /** The greeting is the one reply that is due without a command. */
  expectGreeting(): void {
    this.#due = 1
  }

  /** Writes commands that `replies` replies are due to. */
  command(lines: string, replies: number): void {
    if (this.#ended) return
    this.#due += replies
    this.#socket.write(lines)
  }

  /** The next reply, or null when the connection ended before it was complete. */
  reply(): Promise<WireReply | null> {
    const ready = this.#replies.shift()
    if (ready) return Promise.resolve(ready)
    if (this.#ended) return Promise.resolve(null)
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  /** Writes content that no reply is due to; false when the connection ended. Waits while the peer is slow to read. */
  content(chunks: readonly Buffer[]): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false)
    const socket = this.#socket
    socket.cork()
    for (const chunk of chunks) socket.write(chunk)
    socket.uncork()
    if (!socket.writableNeedDrain) return Promise.resolve(true)
    return new Promise((resolve) => {
      this.#writing = resolve
      socket.once('drain', () => this.#written(true))
    })
  }

  /** Writes the end of the content; a reply is due only from when the last byte has left this process. */
  lastContent(chunks: readonly Buffer[]): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#writing = resolve
      this.#leaving = true
      const socket = this.#socket
      socket.cork()
      for (let i = 0; i < chunks.length - 1; i++) socket.write(chunks[i]!)
      socket.write(chunks[chunks.length - 1]!, (error) => {
        this.#leaving = false
        if (error || this.#ended) return
        this.#due = 1
        this.#written(true)
        this.#readEarly()
      })
      socket.uncork()
    })
  }

  #written(flushed: boolean): void {
    const resolve = this.#writing
    this.#writing = null
    resolve?.(flushed)
  }

  /** Gives the bare socket away for a TLS handshake; `take` goes on with what came of it. */
  release(): Socket {
    this.#socket.removeListener('data', this.#onData)
    this.#socket.removeListener('end', this.#onEnd)
    this.#socket.removeListener('close', this.#onClose)
    return this.#socket
  }

  take(socket: Socket): void {
    this.#socket = socket
    this.#parser = new ReplyParser()
    this.#attach(socket)
  }

  /** Ends the connection. The first reason stays. */
  end(reason: End['reason'], detail = '', reply: WireReply | null = null): void {
    if (this.#ended) return
    this.#ended = { reason, detail, reply }
    this.rest()
    if (reason !== 'done') this.transcript.note(detail === '' ? reason : `${reason}: ${detail}`)
    this.#socket.destroy()
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.(null)
    this.#written(false)
  }

  #attach(socket: Socket): void {
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('error', this.#onError)
    socket.on('close', this.#onClose)
    if (socket.destroyed) this.end('connection-closed')
  }

  readonly #onEnd = (): void => this.#afterEarly(() => this.end('connection-closed', 'the peer closed the connection'))
  readonly #onClose = (): void => this.#afterEarly(() => this.end('connection-closed'))
  readonly #onError = (error: NodeJS.ErrnoException): void => {
    const reset = error.code === 'ECONNRESET' || error.code === 'EPIPE'
    this.end(reset ? 'connection-reset' : 'connection-error', error.code ?? error.message.slice(0, 200))
  }

  readonly #onData = (chunk: Buffer): void => {
    // Node tells of a write over TLS a turn of the event loop after the bytes left, so an honest answer can be read before
    // that. It waits for that turn; if the end of the content has not left even then, it was no answer to it.
    if (this.#early.length > 0 || (this.#due === 0 && this.#leaving && 'encrypted' in this.#socket)) {
      this.#early.push(chunk)
      if (this.#early.length === 1) setImmediate(() => setImmediate(() => this.#readEarly()))
      return
    }
    this.#read(chunk)
  }

  #readEarly(): void {
    const chunks = this.#early
    this.#early = []
    for (const chunk of chunks) this.#read(chunk)
  }

  /** Runs at once, or after what came early was read. */
  #afterEarly(then: () => void): void {
    if (this.#early.length === 0) then()
    else setImmediate(() => setImmediate(() => setImmediate(then)))
  }

  #read(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length && !this.#ended) {
      const step = this.#parser.read(chunk, at)
      if (this.#due === 0) {
        const early = step.kind === 'reply' ? step.reply : null
        if (early) this.#record(early)
        if (step.kind === 'reply' && this.#forgives && this.#lastCode === 354 && isAcceptance(step.reply)) {
          this.#forgives = false
          this.#forgiven = step.reply
          this.transcript.note('that came before it was due: it does not count')
          at = step.next
          continue
        }
        this.end('unexpected-reply', 'the peer spoke when no reply was due', early)
        return
      }
      if (step.kind === 'more') return
      if (step.kind === 'broken') {
        this.end('protocol-error', step.why)
        return
      }
      at = step.next
      this.#due--
      this.#lastCode = step.reply.code
      this.#record(step.reply)
      const waiting = this.#waiting
      this.#waiting = null
      if (waiting) waiting(step.reply)
      else this.#replies.push(step.reply)
    }
  }

  #record(reply: WireReply): void {
    const last = reply.lines.length - 1
    for (let i = 0; i <= last; i++) this.transcript.received(`${reply.code}${i < last ? '-' : ' '}${reply.lines[i]!}`)
  }
}

function isAcceptance({ code }: WireReply): boolean {
  return code >= 200 && code < 300
}
