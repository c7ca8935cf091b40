import type { ConnectOptions, SmtpConnection, Transaction, TransactionResult, Verdict } from './contract.ts'
import { runTransaction } from './transaction.ts'
import { Transcript } from './transcript.ts'
import type { Wire } from './wire.ts'

type Opened = {
  readonly source: string
  readonly tls: string
  readonly certificate: Verdict | null
  readonly keywords: ReadonlySet<string>
  readonly sizeLimit: number
}

/** QUIT is a courtesy (RFC 5321 §4.1.1.10): nothing waits long for its answer. */
const QUIT_MS = 3000

export class Connection implements SmtpConnection {
  readonly host: string
  readonly address: string
  readonly source: string
  readonly tls: string
  readonly certificate: Verdict | null
  readonly capabilities: ReadonlySet<string>
  readonly #wire: Wire
  readonly #options: ConnectOptions
  readonly #sizeLimit: number
  #messagesSent = 0
  #began = false
  #busy = false

  constructor(wire: Wire, options: ConnectOptions, opened: Opened) {
    this.host = options.host
    this.address = options.address
    this.source = opened.source
    this.tls = opened.tls
    this.certificate = opened.certificate
    this.capabilities = opened.keywords
    this.#wire = wire
    this.#options = options
    this.#sizeLimit = opened.sizeLimit
  }

  get usable(): boolean {
    return this.#wire.ended === null && !this.#busy
  }

  get messagesSent(): number {
    return this.#messagesSent
  }

  async send(transaction: Transaction): Promise<TransactionResult> {
    if (this.#busy) throw new Error('two transactions on one connection at once')
    this.#busy = true
    const transcript = new Transcript()
    const over = this.tls === '' ? 'clear text' : this.tls
    transcript.note(`message ${this.#messagesSent + 1} to ${this.host} [${this.address}] over ${over}`)
    this.#wire.transcript = transcript
    this.#wire.forgiveOneEarly(!this.#began)
    this.#began = true
    try {
      const results = await runTransaction(this.#wire, transaction, {
        offered: this.capabilities,
        sizeLimit: this.#sizeLimit,
        secure: this.tls !== '',
        deadlines: this.#options.deadlines,
      })
      this.#wire.rest()
      if (results.some((result) => result.kind === 'delivered')) this.#messagesSent++
      return {
        results,
        reusable: this.#wire.ended === null,
        get transcript() {
          return transcript.toString()
        },
      }
    } finally {
      this.#busy = false
    }
  }

  async quit(): Promise<void> {
    if (this.#wire.ended || this.#busy) {
      this.destroy()
      return
    }
    this.#busy = true
    this.#wire.phase(QUIT_MS)
    this.#wire.transcript.sent('QUIT')
    this.#wire.command('QUIT\r\n', 1)
    await this.#wire.reply()
    this.destroy()
  }

  destroy(): void {
    this.#wire.end('done')
  }
}
