import { NEXT, PRIORITIES, type Priority, type RecipientState, type Settlement, type Steer } from '#queue'

export type ModelRecipient = {
  readonly messageId: string
  readonly address: string
  readonly domain: string
  readonly priority: Priority
  state: RecipientState
  dueMs: number | null
  attempts: number
  uncertain: number
  crashes: number
  loneCrashes: number
  maybeDuplicate: boolean
  fence: number
}

/** What the queue should hold: plain lists, and the rules of the contract in a few lines each. */
export class QueueModel {
  readonly recipients: ModelRecipient[] = []
  readonly keys = new Map<string, string>()

  accept(
    messageId: string,
    to: readonly { readonly address: string; readonly domain: string; readonly suppressed: boolean }[],
    priority: Priority,
    nowMs: number,
    notBeforeMs: number,
  ): void {
    for (const { address, domain, suppressed } of to) {
      const state = suppressed ? 'suppressed' : notBeforeMs > nowMs ? 'scheduled' : 'ready'
      this.recipients.push({
        ...{ messageId, address, domain, priority, state, dueMs: suppressed ? null : notBeforeMs },
        ...{ attempts: 0, uncertain: 0, crashes: 0, loneCrashes: 0, maybeDuplicate: false, fence: 0 },
      })
    }
  }

  /** Those that may be claimed for this destination now. */
  due(domain: string, nowMs: number): ModelRecipient[] {
    return this.recipients.filter(
      (one) =>
        one.domain === domain &&
        (NEXT[one.state] as readonly RecipientState[]).includes('leased') &&
        (one.dueMs ?? 0) <= nowMs,
    )
  }

  find(messageId: string, address: string): ModelRecipient {
    const found = this.recipients.find((one) => one.messageId === messageId && one.address === address)
    if (found === undefined) throw new Error(`${address} of ${messageId} was never accepted`)
    return found
  }

  claim(one: ModelRecipient): void {
    go(one, 'leased')
    one.fence += 1
  }

  settle(one: ModelRecipient, { to, dueMs, atMs, countsAsAttempt, ambiguous }: Settlement): void {
    go(one, to)
    one.dueMs = to === 'deferred' || to === 'ready' ? (dueMs ?? atMs) : null
    one.crashes = 0
    one.loneCrashes = 0
    if (countsAsAttempt) one.attempts += 1
    if (ambiguous) {
      one.uncertain += 1
      one.maybeDuplicate = true
    }
  }

  crash(nowMs: number): void {
    const leased = this.recipients.filter(({ state }) => state === 'leased')
    const suspects = leased.filter(({ crashes }) => crashes >= 2)
    const lone = leased.length === 1 ? leased[0] : suspects.length === 1 ? suspects[0] : undefined
    for (const one of leased) {
      one.crashes += 1
      if (one === lone) one.loneCrashes += 1
      one.maybeDuplicate = true
      go(one, one.loneCrashes >= 2 ? 'held' : 'ready')
      if (one.state === 'held') {
        one.crashes = 0
        one.loneCrashes = 0
      }
      one.dueMs = one.state === 'held' ? null : nowMs
    }
  }

  steer(action: Steer, means: (one: ModelRecipient) => boolean, nowMs: number): number {
    const from: Record<Steer, readonly RecipientState[]> = {
      hold: ['scheduled', 'ready', 'deferred'],
      release: ['held'],
      cancel: ['scheduled', 'ready', 'deferred', 'held'],
      retry: ['scheduled', 'deferred'],
    }
    const moved = this.recipients.filter((one) => from[action].includes(one.state) && means(one))
    for (const one of moved) {
      const waits = one.dueMs !== null && one.dueMs > nowMs
      switch (action) {
        case 'hold':
          one.dueMs = one.state === 'scheduled' ? one.dueMs : null
          go(one, 'held')
          break
        case 'release':
          go(one, waits ? 'scheduled' : 'ready')
          one.dueMs = waits ? one.dueMs : nowMs
          break
        case 'retry':
          go(one, 'ready')
          one.dueMs = nowMs
          break
        case 'cancel':
          go(one, 'cancelled')
          one.dueMs = null
          break
      }
    }
    return moved.length
  }

  counts(): Partial<Record<RecipientState, number>> {
    const counts: Partial<Record<RecipientState, number>> = {}
    for (const { state } of this.recipients) counts[state] = (counts[state] ?? 0) + 1
    return counts
  }

  /** Every recipient as one line, sorted, to be compared. */
  lines(): string[] {
    return this.recipients.map((one) => line(one.messageId, one)).sort()
  }
}

export function line(
  messageId: string,
  one: Omit<ModelRecipient, 'messageId' | 'priority' | 'crashes' | 'loneCrashes' | 'fence'>,
) {
  const { address, state, dueMs, attempts, uncertain, maybeDuplicate } = one
  const due = ['ready', 'scheduled', 'deferred'].includes(state) ? dueMs : '-'
  return `${messageId} ${address} ${state} due ${due} attempts ${attempts} uncertain ${uncertain} ${maybeDuplicate}`
}

export function level(priority: Priority): number {
  return PRIORITIES.indexOf(priority)
}

function go(one: ModelRecipient, to: RecipientState): void {
  if (!(NEXT[one.state] as readonly RecipientState[]).includes(to))
    throw new Error(`${one.address} of ${one.messageId} went from ${one.state} to ${to}`)
  one.state = to
}
