import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { EX, Fault } from '#base'

export type LocalReply = { readonly code: number; readonly lines: readonly string[] }

const ANSWER_WITHIN_MS = 130_000

/** SMTP to the daemon on this machine, over its unix socket: one command at a time, no TLS, no log-in. */
export class LocalSmtp implements Disposable {
  readonly #socket: Socket
  readonly #lines: AsyncIterator<string>
  /** Keywords of the EHLO answer that are Relevo's own: `XORIGIN`, `XBARE`. */
  readonly keywords: ReadonlyMap<string, string>

  private constructor(socket: Socket, lines: AsyncIterator<string>, keywords: ReadonlyMap<string, string>) {
    this.#socket = socket
    this.#lines = lines
    this.keywords = keywords
  }

  /** @throws Fault EX.TEMPFAIL (75) when nobody answers there: the caller keeps the mail and tries again */
  static async open(path: string): Promise<LocalSmtp> {
    const socket = await connectLocal(path)
    const lines = createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]()
    const client = new LocalSmtp(socket, lines, new Map())
    expect(await client.#reply(), 'greeting')
    const hello = expect(await client.ask('EHLO localhost'), 'EHLO')
    const keywords = new Map(
      hello.lines.slice(1).map((line) => {
        const [name = '', ...rest] = line.split(' ')
        return [name.toUpperCase(), rest.join(' ')] as const
      }),
    )
    return new LocalSmtp(socket, lines, keywords)
  }

  async ask(command: string): Promise<LocalReply> {
    this.#socket.write(`${command}\r\n`)
    return await this.#reply()
  }

  /** The content with CRLF line ends, dots doubled here. */
  async content(content: Buffer): Promise<LocalReply> {
    let from = 0
    // A dot at the start of a line is doubled (RFC 5321 §4.5.2).
    for (let at = content[0] === 0x2e ? 0 : nextDot(content, 0); at >= 0; at = nextDot(content, at)) {
      this.#socket.write(content.subarray(from, at))
      this.#socket.write('.')
      from = at
    }
    this.#socket.write(content.subarray(from))
    this.#socket.write(content.subarray(-2).toString('latin1') === '\r\n' ? '.\r\n' : '\r\n.\r\n')
    return await this.#reply()
  }

  async #reply(): Promise<LocalReply> {
    const lines: string[] = []
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw lost()
      const match = /^(\d{3})([ -]?)(.*)$/.exec(value)
      if (match === null) throw lost()
      lines.push(match[3]!)
      if (match[2] !== '-') return { code: Number(match[1]), lines }
    }
  }

  [Symbol.dispose](): void {
    this.#socket.end('QUIT\r\n')
    this.#socket.unref()
  }
}

export async function connectLocal(path: string): Promise<Socket> {
  const socket = createConnection({ path })
  try {
    await once(socket, 'connect')
  } catch (error) {
    throw new Fault(`Relevo cannot be reached at ${path}: ${(error as NodeJS.ErrnoException).code}`, {
      code: 'daemon-down',
      exitCode: EX.TEMPFAIL,
      remedy: 'The message was not taken: start Relevo (relevo serve), or give --socket or RELEVO_SUBMIT_SOCKET',
      cause: error,
    })
  }
  socket.setTimeout(ANSWER_WITHIN_MS, () => socket.destroy())
  socket.on('error', () => {})
  return socket
}

/** A refusal of the whole, with sendmail's exit codes. */
export function expect(reply: LocalReply, what: string): LocalReply {
  if (reply.code < 400) return reply
  throw new Fault(`${what} was refused: ${reply.code} ${reply.lines.join(' ')}`, {
    code: 'refused',
    exitCode: reply.code < 500 ? EX.TEMPFAIL : EX.UNAVAILABLE,
    remedy: reply.code < 500 ? 'The message was not taken: try again later' : 'The message was not taken',
  })
}

function lost(): Fault {
  return new Fault('the daemon broke off before it said whether the message was taken', {
    code: 'daemon-lost',
    exitCode: EX.TEMPFAIL,
    remedy: 'Try again later; a second copy is possible',
  })
}

/** The next dot that starts a line, behind `from`; -1: none. */
function nextDot(content: Buffer, from: number): number {
  const at = content.indexOf('\n.', from, 'latin1')
  return at < 0 ? -1 : at + 1
}
