import type { Ledger } from './ledger.ts'
import type { MessageRow } from './rows.ts'
import { type Place, readRecord } from './segments.ts'
import type { Steering } from './steering.ts'

const IDEMPOTENCY_MS = 7 * 86_400_000
/** Recipients removed in one step of the retention. */
const RETIRED_RECIPIENTS = 2000

/** What is over goes, in small steps. */
export class Clearing {
  readonly #ledger: Ledger
  readonly #steering: Steering

  constructor(ledger: Ledger, steering: Steering) {
    this.#ledger = ledger
    this.#steering = steering
  }

  /** A message of many recipients goes in several steps, itself with the last of them. */
  retire({ beforeMs, limit }: { beforeMs: number; limit: number }): { removed: number; more: boolean } {
    const messages = this.#ledger
      .sql('SELECT * FROM messages WHERE settled_ms < ? AND open_recipients = 0 LIMIT ?')
      .all(beforeMs, limit) as MessageRow[]
    let room = RETIRED_RECIPIENTS
    let removed = 0
    for (const message of messages) {
      this.#ledger.dropContent(message)
      const recipients = this.#ledger
        .sql('SELECT key, state FROM recipients WHERE message = ? LIMIT ?')
        .all(message.key, room + 1) as { key: number; state: number }[]
      const taken = recipients.slice(0, room)
      for (const { key, state } of taken) {
        this.#ledger.count(state, -1)
        this.#ledger.sql('DELETE FROM attempts WHERE recipient = ?').run(key)
        this.#ledger.sql('DELETE FROM recipients WHERE key = ?').run(key)
      }
      room -= taken.length
      if (recipients.length > taken.length) return { removed, more: true }
      this.#ledger.sql('DELETE FROM messages WHERE key = ?').run(message.key)
      removed += 1
    }
    return { removed, more: messages.length === limit }
  }

  forgetKeys({ nowMs, limit }: { nowMs: number; limit: number }): number {
    return this.#ledger
      .sql('DELETE FROM idempotency WHERE (scope, key) IN (SELECT scope, key FROM idempotency WHERE at_ms < ? LIMIT ?)')
      .run(nowMs - IDEMPOTENCY_MS, limit).changes
  }

  /** By sequence, which is by time but for a clock that was set: no more is looked at than goes. */
  forgetEvents({ beforeMs, limit }: { beforeMs: number; limit: number }): number {
    const events = this.#ledger
      .sql('DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?) AND at_ms < ?')
      .run(limit, beforeMs).changes
    const inbound = this.#ledger
      .sql(
        `DELETE FROM inbound_mail WHERE seq IN (SELECT seq FROM inbound_mail ORDER BY seq LIMIT ?)
           AND received_ms < ? AND processed_ms IS NOT NULL`,
      )
      .run(limit, beforeMs).changes
    return Math.max(events, inbound)
  }

  /** A small step of giving space back; true when there is more to do. */
  reclaimSpace({ maxBytes, nowMs }: { maxBytes: number; nowMs: number }): boolean {
    const { segments, context } = this.#ledger
    const segment = segments.mostlyDead()
    let moved = 0
    if (segment !== null) {
      const rows = this.#ledger
        .sql('SELECT * FROM messages WHERE segment = ? AND has_content = 1')
        .all(segment) as MessageRow[]
      for (const message of rows) {
        if (moved > maxBytes) break
        const place = { segment, offset: message.segment_offset! }
        const content = this.#recordOf(message, place)
        if (content === null) {
          this.#steering.holdDamaged({ messageId: message.id, nowMs })
          segments.leave(segment)
          break
        }
        const to = segments.append(message.key, content, message.checksum)
        this.#ledger
          .sql('UPDATE messages SET segment = ?, segment_offset = ? WHERE key = ?')
          .run(to.segment, to.offset, message.key)
        segments.drop(place, message.size)
        moved += message.size
      }
    }
    context.db.pragma('incremental_vacuum(64)')
    const free = context.db.pragma('freelist_count', { simple: true }) as number
    return free > 64 || segments.mostlyDead() !== null
  }

  #recordOf(message: MessageRow, place: Place): Buffer | null {
    try {
      return readRecord(this.#ledger.context.directory, place, message.size, message.checksum)
    } catch {
      // A place of the disk that cannot be read says nothing of the rest of it.
      return null
    }
  }
}
