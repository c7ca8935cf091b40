/** Numbers by a time each, the earliest first. */
export class TimeHeap {
  readonly #times: number[] = []
  readonly #items: number[] = []

  get size(): number {
    return this.#items.length
  }

  /** The earliest time; infinite when there is nothing. */
  get nextMs(): number {
    return this.#times[0] ?? Number.POSITIVE_INFINITY
  }

  push(timeMs: number, item: number): void {
    let at = this.#items.length
    this.#times.push(timeMs)
    this.#items.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#times[parent]! <= timeMs) break
      this.#set(at, this.#times[parent]!, this.#items[parent]!)
      at = parent
    }
    this.#set(at, timeMs, item)
  }

  /** The item with the earliest time. Only when there is one. */
  pop(): number {
    const top = this.#items[0]!
    const timeMs = this.#times.pop()!
    const item = this.#items.pop()!
    const size = this.#items.length
    if (size === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      if (child + 1 < size && this.#times[child + 1]! < this.#times[child]!) child += 1
      if (this.#times[child]! >= timeMs) break
      this.#set(at, this.#times[child]!, this.#items[child]!)
      at = child
    }
    this.#set(at, timeMs, item)
    return top
  }

  #set(at: number, timeMs: number, item: number): void {
    this.#times[at] = timeMs
    this.#items[at] = item
  }
}
