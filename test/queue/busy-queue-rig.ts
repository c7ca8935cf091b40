import { silentLog, systemClock } from '#base'
import { Queue, type QueueStore } from '#queue'
import { body } from '../contract/queue-messages.ts'
import type { OpenStore } from '../contract/queue-store.ts'
import { openSqlite, queueDefaults } from '../contract/sqlite-driver.ts'

export const DOMAINS = ['a.example', 'b.example']

export interface BusyQueue extends AsyncDisposable {
  readonly queue: Queue
  readonly store: QueueStore
  readonly opened: OpenStore
}

/** A queue on the machine's clock, with segments so small that there are many. */
export async function openBusyQueue(directory: string): Promise<BusyQueue> {
  const settings = { segment_bytes: 1_048_576, min_free_bytes: 0 }
  const opened = await openSqlite(directory, settings)
  const { store } = opened
  const config = { ...queueDefaults, ...settings }
  const queue = await Queue.open({ store, config, directory, owner: 'busy', clock: systemClock, log: silentLog })
  return {
    ...{ queue, store, opened },
    async [Symbol.asyncDispose]() {
      await queue[Symbol.asyncDispose]()
      await opened[Symbol.asyncDispose]()
    },
  }
}

/** The one content that belongs to this id: every third is so large that it goes to a segment. */
export function contentFor(id: string): Uint8Array {
  return body(id, Number(id.slice(id.lastIndexOf('-') + 1)) % 3 === 0 ? 40_000 : 600)
}
