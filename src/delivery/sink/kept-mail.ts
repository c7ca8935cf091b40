export type KeptRecipient = {
  readonly address: string
  /** The parameters of RCPT as they came: `NOTIFY=FAILURE ORCPT=rfc822;a@example`. */
  readonly parameters: string
}

/** One message the sink took, whatever it told the client. */
export type KeptMail = {
  readonly id: string
  readonly door: 'mx' | 'relay'
  readonly atMs: number
  readonly clientAddress: string
  readonly helo: string
  /** `TLSv1.3 TLS_AES_256_GCM_SHA384`, empty in clear text. */
  readonly tls: string
  /** Who authenticated (relay door), or empty. */
  readonly user: string
  readonly reversePath: string
  readonly parameters: string
  readonly recipients: readonly KeptRecipient[]
  /** As the sender meant it: dots unstuffed, without the final dot. */
  readonly content: Buffer
  /** A bare CR or LF came over the wire. */
  readonly bareLineEnds: boolean
  /** False when the answer was kept back on purpose. */
  readonly answered: boolean
}

export type KeepLimit = { readonly messages: number; readonly bytes: number }

/** The last messages, bounded in number and bytes; the oldest go first. */
export class MailKeep {
  readonly #limit: KeepLimit
  readonly #kept = new Map<string, KeptMail>()
  #bytes = 0
  #taken = 0

  constructor(limit: KeepLimit) {
    this.#limit = limit
  }

  /** How many were taken since the start, kept or not. */
  get taken(): number {
    return this.#taken
  }

  add(mail: KeptMail): void {
    this.#taken++
    this.#kept.set(mail.id, mail)
    this.#bytes += mail.content.length
    for (const [id, oldest] of this.#kept) {
      if (this.#kept.size <= this.#limit.messages && this.#bytes <= this.#limit.bytes) break
      this.#kept.delete(id)
      this.#bytes -= oldest.content.length
    }
  }

  /** Oldest first. */
  list(): readonly KeptMail[] {
    return [...this.#kept.values()]
  }

  find(id: string): KeptMail | undefined {
    return this.#kept.get(id)
  }

  clear(): void {
    this.#kept.clear()
    this.#bytes = 0
  }
}
