import type { Config } from '#config'
import type { Database, StoreModule } from '#store'
import {
  type Claim,
  DamagedContent,
  type MessageView,
  type NewEvent,
  type NewMessage,
  type QueueCounts,
  type QueueFilter,
  type QueueRow,
  type QueueStore,
  type ScheduleRow,
  type Settlement,
  type Steer,
} from '../contract.ts'
import { canMove, STATES, stateNumber } from '../states.ts'
import { migrations } from './schema.ts'

/** The queue's part of the store, to be given to `openDatabase`. */
export function queueWorker(config: Config['queue']): StoreModule {
  return {
    name: 'queue',
    url: new URL('./worker.ts', import.meta.url),
    migrations,
    startReads: ['queue.schedule', 'queue.verify'],
    settings: {
      inlineMaxBytes: config.inline_max_bytes,
      segmentBytes: config.segment_bytes,
      keepBodies: config.keep_bodies,
    },
  }
}

/** Recipients steered in one transaction. */
const STEER_STEP = 500
const COMPACT_STEP_BYTES = 4_194_304

/** `QueueStore` on the embedded SQLite file. */
export class SqliteQueueStore implements QueueStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  accept(message: NewMessage, events: readonly NewEvent[]) {
    return this.#database.write<Awaited<ReturnType<QueueStore['accept']>>>('queue.accept', {
      message: standalone(message),
      events,
    })
  }

  lease(
    keys: readonly number[],
    owner: string,
    now: number | { readonly wallMs: number; readonly waitedMs: number },
    untilMs: number,
  ): Promise<readonly Claim[]> {
    const { wallMs, waitedMs } = typeof now === 'number' ? { wallMs: now, waitedMs: now } : now
    return this.#database.write('queue.lease', { keys, owner, nowMs: wallMs, waitedMs, untilMs })
  }

  settle(settlements: readonly Settlement[]) {
    return this.#database.write<Awaited<ReturnType<QueueStore['settle']>>>(
      'queue.settle',
      settlements.map((one) => (one.spawn === null ? one : { ...one, spawn: standalone(one.spawn) })),
    )
  }

  async content(messageId: string): Promise<Buffer> {
    const answer = await this.#database.read<{ content: Uint8Array } | { missing: string }>('queue.content', {
      messageId,
    })
    if ('missing' in answer) throw new DamagedContent(messageId)
    const { buffer, byteOffset, byteLength } = answer.content
    return Buffer.from(buffer, byteOffset, byteLength)
  }

  reclaim(owner: string | null, nowMs: number): Promise<readonly ScheduleRow[]> {
    return this.#database.write('queue.reclaim', { owner, nowMs })
  }

  verify(): Promise<void> {
    return this.#database.read('queue.verify', null)
  }

  schedule(afterKey: number, limit: number): Promise<readonly ScheduleRow[]> {
    return this.#database.read('queue.schedule', { afterKey, limit })
  }

  async steer(
    action: Steer,
    filter: QueueFilter,
    reason: string,
    nowMs: number,
    options: { readonly dryRun: boolean; readonly limit: number },
  ) {
    const { keys: wanted, more } = await this.#find(action, filter, options.limit)
    if (options.dryRun) return { count: wanted.length, due: [], gone: [], done: [], more }
    const sum = { count: 0, due: [] as ScheduleRow[], gone: [] as number[], done: [] as string[], more }
    // In steps, so that mail that comes in meanwhile waits for one of them and not for all.
    for (let at = 0; at < wanted.length; at += STEER_STEP) {
      const done = await this.#database.write<typeof sum>('queue.steer', {
        ...{ action, keys: wanted.slice(at, at + STEER_STEP), reason, nowMs },
      })
      sum.count += done.count
      sum.due.push(...done.due)
      sum.gone.push(...done.gone)
      sum.done.push(...done.done)
    }
    return sum
  }

  async #find(action: Steer, filter: QueueFilter, limit: number): Promise<{ keys: number[]; more: boolean }> {
    const keys: number[] = []
    let afterKey: number | null = 0
    while (afterKey !== null && keys.length <= limit) {
      const found: { keys: number[]; next: number | null } = await this.#database.read('queue.keys', {
        ...{ filter, states: statesFor(action), afterKey, limit: limit + 1 - keys.length },
      })
      keys.push(...found.keys)
      afterKey = found.next
    }
    return { keys: keys.slice(0, limit), more: keys.length > limit }
  }

  message(messageId: string): Promise<MessageView | null> {
    return this.#database.read('queue.message', { messageId })
  }

  deferralsBy(key: number, provider: string): Promise<number> {
    return this.#database.read('queue.deferrals-by', { key, provider })
  }

  recipient(key: number): Promise<QueueRow | null> {
    return this.#database.read('queue.recipient', { key })
  }

  async note(
    events: readonly NewEvent[],
    suppressions: Settlement['suppressions'],
    counters: Settlement['counters'],
  ): Promise<void> {
    await this.#database.write('queue.note', { events, suppressions, counters })
  }

  holdDamaged(messageId: string, nowMs: number): Promise<number> {
    return this.#database.write('queue.hold-damaged', { messageId, nowMs })
  }

  list(filter: QueueFilter, cursor: string | null, limit: number) {
    return this.#database.read<Awaited<ReturnType<QueueStore['list']>>>('queue.list', { filter, cursor, limit })
  }

  counts(): Promise<QueueCounts> {
    return this.#database.read('queue.counts', null)
  }

  async retire(settledBeforeMs: number, limit: number): Promise<{ readonly removed: number; readonly more: boolean }> {
    return this.#database.write('queue.retire', { beforeMs: settledBeforeMs, limit })
  }

  /** Idempotency keys older than a week are forgotten. */
  forgetKeys(nowMs: number, limit: number): Promise<number> {
    return this.#database.write('queue.forget-keys', { nowMs, limit })
  }

  forgetEvents(beforeMs: number, limit: number): Promise<number> {
    return this.#database.write('queue.forget-events', { beforeMs, limit })
  }

  reclaimSpace(nowMs: number): Promise<boolean> {
    return this.#database.write('queue.reclaim-space', { maxBytes: COMPACT_STEP_BYTES, nowMs })
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A view crosses to another thread with all of the buffer it looks into: a small content would take 64 KiB of Node's pool along. */
function standalone(message: NewMessage): NewMessage {
  const { content } = message
  return content.byteLength === content.buffer.byteLength ? message : { ...message, content: new Uint8Array(content) }
}

function statesFor(action: Steer): number[] {
  switch (action) {
    case 'hold':
      return STATES.filter((state) => state !== 'leased' && canMove(state, 'held')).map(stateNumber)
    case 'release':
      return [stateNumber('held')]
    case 'cancel':
      return STATES.filter((state) => canMove(state, 'cancelled')).map(stateNumber)
    case 'retry':
      return [stateNumber('deferred'), stateNumber('scheduled')]
  }
}
