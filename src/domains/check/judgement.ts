import type { Said } from '../lookup/contract.ts'
import type { SpfLook } from '../policy/spf-walk.ts'
import type { DnsFacts, WantedRecord } from '../records/wanted.ts'
import type { Action, Finding, Verdict } from './finding.ts'

/** What somebody answered: failures are dealt with before. */
export type Answered = Exclude<Said, { kind: 'failed' }>

/** What one answer means for one wanted record. */
export type Judgement = {
  readonly verdict: Exclude<Verdict, 'waiting' | 'unchecked'>
  readonly action: Action
  readonly value: string
  readonly replaces: readonly string[]
  readonly besides: readonly string[]
  readonly findings: readonly Finding[]
}

/** What the judges know besides the answer. */
export type JudgeContext = {
  readonly facts: DnsFacts
  /** Host name → its addresses: those known here, else those in the DNS. */
  readonly addresses: ReadonlyMap<string, readonly string[]>
  /** Our own names as they stand at their servers, others as the resolver has them. */
  readonly look: SpfLook
}

export type Judge = (wanted: WantedRecord, said: Answered, context: JudgeContext) => Promise<Judgement> | Judgement

export function valuesIn(said: Answered): readonly string[] {
  return said.kind === 'records' ? said.values : []
}

/** As it must be. */
export function asItIs(value: string, besides: readonly string[] = [], findings: readonly Finding[] = []): Judgement {
  return { verdict: 'ok', action: 'keep', value, replaces: [], besides, findings }
}

export function notThere(wanted: WantedRecord, besides: readonly string[], findings: readonly Finding[]): Judgement {
  const action = wanted.by === 'hoster' ? 'ask' : 'add'
  return {
    verdict: wanted.need === 'optional' ? 'absent' : 'missing',
    action,
    value: wanted.value,
    replaces: [],
    besides,
    findings: wanted.need === 'optional' ? [] : findings,
  }
}

export function toChange(
  value: string,
  replaces: readonly string[],
  besides: readonly string[],
  findings: readonly Finding[],
): Judgement {
  return { verdict: 'wrong', action: 'change', value, replaces, besides, findings }
}
