import type { WantedRecord } from '../records/wanted.ts'

/** `error`: mail suffers or will. `warning`: it should be put right. `note`: nothing needs to be done. */
export type Level = 'error' | 'warning' | 'note'

/** One thing that was found, for people (`message`, `remedy`) and programs (`code`, stable). */
export type Finding = {
  readonly code: string
  readonly level: Level
  /** The name it is about. */
  readonly name: string
  readonly message: string
  /** What to do, as one sentence; empty for notes. */
  readonly remedy: string
}

/**
 * `ok`; `missing`: not in the DNS; `wrong`: there, but not as it must be; `waiting`: right at the authoritative servers,
 * not everywhere yet; `unchecked`: nobody answered; `absent`: optional and not there.
 */
export type Verdict = 'ok' | 'missing' | 'wrong' | 'waiting' | 'unchecked' | 'absent'

/** What is to be done in the zone: `ask` someone else for it, `remove` it, or nothing (`keep`). */
export type Action = 'add' | 'change' | 'keep' | 'remove' | 'ask'

export type InspectedRecord = Omit<WantedRecord, 'value'> & {
  readonly verdict: Verdict
  readonly action: Action
  /** What to publish: the wanted value, merged into what stands there. */
  readonly value: string
  /** Values of the record set that the value takes the place of, as they stand. */
  readonly replaces: readonly string[]
  /** Other values of the same record set, which stay. */
  readonly besides: readonly string[]
  readonly ttlS: number
  /** The zone it is in; empty: not known. */
  readonly zone: string
  readonly findings: readonly Finding[]
}

export type Inspection = {
  readonly domain: string
  readonly zone: string
  /** Every required record is as it must be, everywhere, and nothing is wrong with the zone. */
  readonly ready: boolean
  readonly records: readonly InspectedRecord[]
  /** About zones and their servers. */
  readonly findings: readonly Finding[]
}

/** What others publish stands in messages: of a long list, or a long text, only the beginning. */
const MAX_MESSAGE = 400

export function finding(level: Level, code: string, name: string, message: string, remedy = ''): Finding {
  const cut = message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE)}…`
  return { code, level, name, message: cut, remedy }
}

export function hasError(findings: readonly Finding[]): boolean {
  return findings.some(({ level }) => level === 'error')
}
