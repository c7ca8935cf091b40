import type { FinalState, RecipientState } from './contract.ts'

/**
 * Where a recipient may go from where it stands. Each state's crash argument: what the next start finds and does.
 *
 * scheduled  on disk with its time; the schedule is rebuilt from it.
 * ready      on disk, due; claimed again.
 * leased     an attempt was written down before its connection was used. Whether the peer took the message cannot be
 *            known, so it goes back to ready flagged maybeDuplicate; a copy is possible only if the final dot was sent.
 * deferred   on disk with its time and its reason.
 * held       on disk, with the time it was scheduled for if that is still to come; only a person (or the finding that held
 *            it) moves it on.
 * the others are final: written together with their event and what follows from them, and never left.
 */
export const NEXT = {
  scheduled: ['ready', 'leased', 'held', 'cancelled'],
  ready: ['leased', 'held', 'cancelled'],
  leased: ['ready', 'deferred', 'held', 'sent', 'bounced', 'uncertain', 'suppressed', 'expired'],
  deferred: ['ready', 'leased', 'held', 'cancelled'],
  held: ['ready', 'scheduled', 'cancelled'],
  sent: [],
  bounced: [],
  uncertain: [],
  suppressed: [],
  expired: [],
  cancelled: [],
} as const satisfies Record<RecipientState, readonly RecipientState[]>

/** In the order of their numbers in the store; only ever appended to. */
export const STATES = [
  'scheduled',
  'ready',
  'leased',
  'deferred',
  'held',
  'sent',
  'bounced',
  'uncertain',
  'suppressed',
  'expired',
  'cancelled',
] as const satisfies readonly RecipientState[]

const FINAL: ReadonlySet<RecipientState> = new Set<FinalState>([
  'sent',
  'bounced',
  'uncertain',
  'suppressed',
  'expired',
  'cancelled',
])

export function isFinal(state: RecipientState): state is FinalState {
  return FINAL.has(state)
}

/** The one way from state to state. A move that is not in the table is a bug and throws. */
export function move(from: RecipientState, to: RecipientState): RecipientState {
  if ((NEXT[from] as readonly RecipientState[]).includes(to)) return to
  throw new Error(`a recipient cannot go from ${from} to ${to}`)
}

export function canMove(from: RecipientState, to: RecipientState): boolean {
  return (NEXT[from] as readonly RecipientState[]).includes(to)
}

export function stateNumber(state: RecipientState): number {
  return STATES.indexOf(state)
}

export function stateOf(number: number): RecipientState {
  return STATES[number]!
}
