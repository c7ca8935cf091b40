import type { NewEvent } from '#queue'

export type EventListener = (events: readonly NewEvent[]) => void

/** Tells those who listen (metrics, live views, webhooks) what was committed; a listener that throws hurts nobody. */
export class EventHub {
  readonly #listeners = new Set<EventListener>()
  readonly #onError: (error: unknown) => void

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  /** The returned function ends the subscription. */
  listen(listener: EventListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Called after the commit only: what is told here is on disk. */
  publish(events: readonly NewEvent[]): void {
    for (const listener of this.#listeners)
      try {
        listener(events)
      } catch (error) {
        this.#onError(error)
      }
  }
}
