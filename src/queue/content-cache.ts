/** Contents of messages under way, so that the hot path never reads them back; bounded by bytes, oldest first out. */
export class ContentCache {
  readonly #maxBytes: number
  readonly #contents = new Map<string, Buffer>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get(messageId: string): Buffer | undefined {
    return this.#contents.get(messageId)
  }

  put(messageId: string, content: Uint8Array): void {
    if (content.byteLength > this.#maxBytes / 4 || this.#contents.has(messageId)) return
    this.#contents.set(messageId, Buffer.from(content.buffer, content.byteOffset, content.byteLength))
    this.#bytes += content.byteLength
    for (const [oldest, held] of this.#contents) {
      if (this.#bytes <= this.#maxBytes) return
      this.#contents.delete(oldest)
      this.#bytes -= held.byteLength
    }
  }

  drop(messageId: string): void {
    const held = this.#contents.get(messageId)
    if (held === undefined) return
    this.#contents.delete(messageId)
    this.#bytes -= held.byteLength
  }
}
