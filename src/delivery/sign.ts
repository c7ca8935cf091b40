import { type Log, messageOf } from '#base'
import { type DkimKey, signMessage } from '#mail'

const MAX_KEPT = 20_000
/** Signatures of messages of which a recipient was settled: the others are mostly tried at the same time. */
const MAX_SPENT = 512

/** What is signed, and as whom. */
export type Signable = { readonly id: string; readonly sendingDomain: string; readonly content: Uint8Array }

export type SignerOptions = {
  readonly enabled: boolean
  keysFor(sendingDomain: string): Promise<readonly DkimKey[]>
  readonly now: () => number
  readonly log: Log
}

const NOTHING = Buffer.alloc(0)

/**
 * Signs each message once, however often it is tried: the signature starts while the commit of the message runs, and is
 * kept until the message is settled or pushed out by newer ones (then, and after a restart, it is made again over the
 * same content).
 */
export class Signer {
  readonly #options: SignerOptions
  readonly #kept = new Map<string, Promise<Buffer>>()
  readonly #spent = new Map<string, Promise<Buffer>>()

  constructor(options: SignerOptions) {
    this.#options = options
  }

  /** Starts signing. The content must not change afterwards. */
  presign(message: Signable): void {
    this.signatureOf(message).catch(() => {})
  }

  /** The signature fields to put in front; empty when the sending domain has no keys. */
  signatureOf(message: Signable): Promise<Buffer> {
    if (!this.#options.enabled) return Promise.resolve(NOTHING)
    let signature = this.#kept.get(message.id) ?? this.#spent.get(message.id)
    if (signature !== undefined) return signature
    signature = this.#sign(message)
    if (this.#kept.size >= MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value!)
    this.#kept.set(message.id, signature)
    signature.catch((error: unknown) => {
      this.#options.log.error({ message_id: message.id, error: messageOf(error) }, 'a message could not be signed')
      this.#kept.delete(message.id)
    })
    return signature
  }

  /** A recipient of the message was settled: its signature may go first. */
  forget(messageId: string): void {
    const signature = this.#kept.get(messageId)
    if (signature === undefined) return
    this.#kept.delete(messageId)
    if (this.#spent.size >= MAX_SPENT) this.#spent.delete(this.#spent.keys().next().value!)
    this.#spent.set(messageId, signature)
  }

  async #sign({ sendingDomain, content }: Signable): Promise<Buffer> {
    const keys = await this.#options.keysFor(sendingDomain)
    return keys.length === 0 ? NOTHING : signMessage(content, keys, { nowMs: this.#options.now() })
  }
}
