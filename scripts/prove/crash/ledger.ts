import { createHash } from 'node:crypto'
import { OUTCOME_EVENTS } from '#events'
import type { MxSession, Script } from '#world'
import type { DaemonRig } from '../../../test/daemon/daemon-rig.ts'

const WAITING = 'scheduled,ready,leased,deferred,held'

type Copies = { count: number; readonly part: string; readonly messageIds: Set<string>; readonly bodies: Set<string> }

export type Verdict = {
  readonly acked: number
  readonly taken: number
  /** Answered 250 or 202, and neither taken nor ended nor waiting. */
  readonly lost: readonly string[]
  /** Taken, but not handed in by anybody. */
  readonly strangers: readonly string[]
  readonly copies: number
  readonly copiesByPart: Readonly<Record<string, number>>
  /** Taken twice, and not flagged as a possible duplicate on its event. */
  readonly unflagged: readonly string[]
  readonly flagged: number
  /** Recipients by how they ended. */
  readonly outcomes: Readonly<Record<string, number>>
  /** Recipients with more than one outcome, or with none although nothing waits. */
  readonly wrongOutcomes: readonly string[]
  /** Taken under two Message-IDs, or with different content. */
  readonly twoMessages: readonly string[]
  readonly waiting: number
}

/** What was handed in, what was acknowledged, what a mail host took: each recipient is used once, and is its own name here. */
export class Ledger {
  readonly acked = new Set<string>()
  /** Handed in, whatever was answered. */
  readonly tried = new Set<string>()
  readonly taken = new Map<string, Copies>()
  /** The part of the run under way; a copy counts for the part in which the first was taken. */
  part = ''

  /** A good host that remembers what it took. `afterReply` is called just after its 250 was written. */
  host(afterReply?: (session: MxSession, recipient: string) => void): Script {
    return {
      dot: (session) => {
        const recipient = (session.recipients[0] ?? '').replace(/[<>]/g, '')
        this.#take(recipient, session.body)
        session.say('250 2.0.0 taken')
        afterReply?.(session, recipient)
        return undefined
      },
    }
  }

  #take(recipient: string, wire: Buffer): void {
    const end = wire.indexOf('\r\n\r\n')
    const messageId = /^message-id: *(\S+)/im.exec(wire.toString('latin1', 0, end))?.[1] ?? ''
    const body = createHash('sha256').update(wire.subarray(end)).digest('base64')
    const seen = this.taken.get(recipient)
    if (seen === undefined) {
      const [messageIds, bodies] = [new Set([messageId]), new Set([body])]
      this.taken.set(recipient, { count: 1, part: this.part, messageIds, bodies })
      return
    }
    seen.count += 1
    seen.messageIds.add(messageId)
    seen.bodies.add(body)
  }

  copies(): number {
    let copies = 0
    for (const { count } of this.taken.values()) copies += count - 1
    return copies
  }

  /** Reads all outcomes of the daemon and compares. Call it when the queue has run empty. */
  async judge(rig: DaemonRig): Promise<Verdict> {
    const outcomes = new Map<string, number>()
    const flagged = new Set<string>()
    const byType: Record<string, number> = {}
    for (const type of OUTCOME_EVENTS)
      for (let after = 0; ; ) {
        const page = await rig.api.get<{
          events: { message_id: string; recipient: string; detail: { maybeDuplicate?: boolean } }[]
          next_after: number | null
        }>(`/events?type=${type}&limit=1000&after=${after}`)
        for (const { recipient, detail } of page.events) {
          outcomes.set(recipient, (outcomes.get(recipient) ?? 0) + 1)
          byType[type] = (byType[type] ?? 0) + 1
          if (detail.maybeDuplicate) flagged.add(recipient)
        }
        if (page.next_after === null) break
        after = page.next_after
      }
    const waiting = await inQueue(rig)
    const copied = [...this.taken].filter(([, { count }]) => count > 1)
    const copiesByPart: Record<string, number> = {}
    for (const [, { count, part }] of copied) copiesByPart[part] = (copiesByPart[part] ?? 0) + count - 1
    const ended = (name: string): boolean => outcomes.has(name) || waiting.has(name)
    return {
      acked: this.acked.size,
      taken: this.taken.size,
      lost: [...this.acked].filter((name) => !this.taken.has(name) && !ended(name)),
      strangers: [...this.taken.keys()].filter((name) => !this.tried.has(name)),
      copies: this.copies(),
      copiesByPart,
      unflagged: copied.map(([name]) => name).filter((name) => !flagged.has(name)),
      flagged: flagged.size,
      outcomes: byType,
      wrongOutcomes: [
        ...[...outcomes].filter(([, count]) => count !== 1).map(([name]) => name),
        ...[...this.acked].filter((name) => !ended(name)),
        ...[...this.taken.keys()].filter((name) => !ended(name)),
      ],
      twoMessages: [...this.taken]
        .filter(([, { messageIds, bodies }]) => messageIds.size > 1 || bodies.size > 1)
        .map(([name]) => name),
      waiting: waiting.size,
    }
  }
}

export function holds(verdict: Verdict): boolean {
  const { lost, strangers, unflagged, wrongOutcomes, twoMessages } = verdict
  return [lost, strangers, unflagged, wrongOutcomes, twoMessages].every((list) => list.length === 0)
}

/** The figures with lists shortened to their length and a few examples. */
export function shortened(verdict: Verdict): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(verdict).map(([name, value]) => [
      name,
      Array.isArray(value) && value.length > 0
        ? { count: value.length, some: value.slice(0, 5) }
        : Array.isArray(value)
          ? 0
          : value,
    ]),
  )
}

/** Recipients that have no outcome yet. */
async function inQueue(rig: DaemonRig): Promise<Set<string>> {
  const names = new Set<string>()
  for (let cursor = ''; ; ) {
    const page: { messages: { recipient: { address: string } }[]; next_cursor: string | null } = await rig.api.get(
      `/queue?status=${WAITING}&limit=500${cursor}`,
    )
    for (const { recipient } of page.messages) names.add(recipient.address)
    if (page.next_cursor === null) return names
    cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`
  }
}
