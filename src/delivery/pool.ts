import type { Clock } from '#base'
import type { Opened } from './carry.ts'

type Idle = { readonly opened: Opened; readonly sinceMs: number }

const SWEEP_MS = 1000

/** Connections that wait for the next message to the same peers. One sweep a second for all of them, no timer each. */
export class Pool {
  readonly #idle = new Map<string, Idle[]>()
  /** Connections of each group: being opened, in use, waiting, and saying QUIT. */
  readonly #ofGroup = new Map<string, number>()
  readonly #ending = new Map<string, Map<Opened, Promise<void>>>()
  readonly #clock: Clock
  readonly #idleMs: number
  #open = 0
  #sweeping: (() => void) | null = null

  constructor(clock: Clock, idleMs: number) {
    this.#clock = clock
    this.#idleMs = idleMs
  }

  /** Connections open, in use or waiting or ending. */
  get open(): number {
    return this.#open
  }

  /** One that was counted by `reserve` is closed, or did not come about. */
  closed(group: string): void {
    this.#open -= 1
    const left = (this.#ofGroup.get(group) ?? 0) - 1
    if (left > 0) this.#ofGroup.set(group, left)
    else this.#ofGroup.delete(group)
  }

  /** The connection used last, which the peer is least likely to have given up. */
  take(key: string): Opened | null {
    const waiting = this.#idle.get(key)
    for (let idle = waiting?.pop(); idle !== undefined; idle = waiting?.pop()) {
      if (waiting!.length === 0) this.#idle.delete(key)
      if (idle.opened.connection.usable) return idle.opened
      this.closed(idle.opened.group)
    }
    return null
  }

  give(opened: Opened): void {
    if (!opened.connection.usable) {
      this.closed(opened.group)
      opened.connection.destroy()
      return
    }
    const waiting = this.#idle.get(opened.key)
    const idle = { opened, sinceMs: this.#clock.monotonicMs() }
    if (waiting === undefined) this.#idle.set(opened.key, [idle])
    else waiting.push(idle)
    this.#sweeping ??= this.#clock.after(SWEEP_MS, () => this.#sweep())
  }

  /** Says QUIT; the connection counts until it is closed. */
  async end(opened: Opened): Promise<void> {
    const { connection, group } = opened
    const ended = connection.quit()
    const ending = this.#ending.get(group) ?? new Map<Opened, Promise<void>>()
    this.#ending.set(group, ending.set(opened, ended))
    await ended
    ending.delete(opened)
    if (ending.size === 0) this.#ending.delete(group)
    this.closed(group)
  }

  /**
   * Counts one more, which is to be opened now. Ends connections that wait, those that were given first, until there is
   * room: among all, and in this group. Waits until those of the group are closed, so that its peers never see more than they should.
   */
  async reserve(max: number, group: string, groupMax: number): Promise<void> {
    if (this.#open >= max) this.#endOldest(() => true, this.#open - max + 1)
    while ((this.#ofGroup.get(group) ?? 0) >= groupMax) {
      if (!this.#ending.has(group) && this.#endOldest((idle) => idle.opened.group === group, 1) === 0) break
      await Promise.race(this.#ending.get(group)!.values())
    }
    this.#open += 1
    this.#ofGroup.set(group, (this.#ofGroup.get(group) ?? 0) + 1)
  }

  #endOldest(of: (idle: Idle) => boolean, count: number): number {
    let ended = 0
    for (const [key, waiting] of this.#idle) {
      for (let i = 0; i < waiting.length && ended < count; ) {
        if (!of(waiting[i]!)) i++
        else {
          void this.end(waiting.splice(i, 1)[0]!.opened)
          ended += 1
        }
      }
      if (waiting.length === 0) this.#idle.delete(key)
      if (ended === count) break
    }
    return ended
  }

  /** Says QUIT to all that wait; what has not answered within the time is cut off. */
  async close(withinMs: number): Promise<void> {
    this.#sweeping?.()
    this.#sweeping = null
    for (const { opened } of [...this.#idle.values()].flat()) void this.end(opened)
    this.#idle.clear()
    const ending = [...this.#ending.values()]
    const cancel = this.#clock.after(withinMs, () => {
      for (const opened of ending.flatMap((some) => [...some.keys()])) opened.connection.destroy()
    })
    await Promise.all(ending.flatMap((some) => [...some.values()]))
    cancel()
  }

  #sweep(): void {
    this.#sweeping = null
    const oldestMs = this.#clock.monotonicMs() - this.#idleMs
    for (const [key, waiting] of this.#idle) {
      const stay: Idle[] = []
      for (const idle of waiting) {
        if (idle.opened.connection.usable && idle.sinceMs > oldestMs) stay.push(idle)
        else void this.end(idle.opened)
      }
      if (stay.length === 0) this.#idle.delete(key)
      else this.#idle.set(key, stay)
    }
    if (this.#idle.size > 0) this.#sweeping = this.#clock.after(SWEEP_MS, () => this.#sweep())
  }
}
