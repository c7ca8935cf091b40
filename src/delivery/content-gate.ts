/** Contents up to this size never wait: as many as there are connections fit beside the rest. */
const SMALL_BYTES = 262_144

type Waiting = { readonly bytes: number; readonly enter: () => void }

/** Bounds what large contents under way hold of the memory, first come, first in. One is always let in, however large. */
export class ContentGate {
  readonly #maxBytes: number
  readonly #waiting: Waiting[] = []
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Resolves when there is room, or at once when `signal` is aborted. What it resolves with gives the room back. */
  async enter(bytes: number, signal: AbortSignal): Promise<() => void> {
    if (bytes <= SMALL_BYTES || signal.aborted) return () => {}
    if (this.#waiting.length > 0 || !this.#fits(bytes)) {
      const { promise, resolve } = Promise.withResolvers<boolean>()
      const waiting = { bytes, enter: () => resolve(true) }
      this.#waiting.push(waiting)
      const leave = (): void => resolve(false)
      signal.addEventListener('abort', leave, { once: true })
      const entered = await promise
      signal.removeEventListener('abort', leave)
      if (!entered) {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        return () => {}
      }
    } else this.#bytes += bytes
    return () => {
      this.#bytes -= bytes
      this.#next()
    }
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes
  }

  #next(): void {
    for (let first = this.#waiting[0]; first !== undefined && this.#fits(first.bytes); first = this.#waiting[0]) {
      this.#waiting.shift()
      this.#bytes += first.bytes
      first.enter()
    }
  }
}
