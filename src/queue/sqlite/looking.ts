import type { WorkerContext } from '#store'
import { PRIORITIES, type QueueFilter } from '../contract.ts'
import { STATES, stateNumber } from '../states.ts'
import type { RecipientRow } from './rows.ts'

/** Recipients looked at in one call, where a filter says nothing that an index knows: a page then ends early. */
const WINDOW = 20_000

type Value = string | number
type Conditions = {
  /** Of the recipient alone, found by an index. */
  readonly own: string
  readonly ownValues: readonly Value[]
  /** Of its message. */
  readonly of: string
  readonly ofValues: readonly Value[]
  /** How to say the state, so that what names fewer recipients is looked up first. */
  readonly state: string
}

/** Finds recipients by what a filter says, in bounded steps. */
export class Looking {
  readonly #context: WorkerContext

  constructor(context: WorkerContext) {
    this.#context = context
  }

  /** Newest first. `next`: where to go on, also when the page is not full; null at the end. */
  before(filter: QueueFilter, before: number, limit: number): { rows: RecipientRow[]; next: number | null } {
    // One look-up a state uses the index of that state; merged by key afterwards.
    const states = filter.states?.map(stateNumber) ?? [null]
    const parts = states.map((state) => this.#part(filter, state, before, limit + 1, 'DESC'))
    const floor = Math.max(...parts.map((part) => part.reached ?? 0))
    const found = parts
      .flatMap((part) => part.rows)
      .filter((row) => row.key >= floor)
      .sort((a, b) => b.key - a.key)
    const rows = found.slice(0, limit)
    return { rows, next: found.length > limit ? rows.at(-1)!.key : floor > 0 ? floor : null }
  }

  /** Keys, oldest first, of recipients in one of the states. */
  after(
    filter: QueueFilter,
    states: readonly number[],
    after: number,
    limit: number,
  ): { keys: number[]; next: number | null } {
    const wanted =
      filter.states === undefined ? states : states.filter((state) => filter.states!.includes(STATES[state]!))
    const parts = wanted.map((state) => this.#part(filter, state, after, limit, 'ASC'))
    const ceiling = Math.min(...parts.map((part) => part.reached ?? Number.POSITIVE_INFINITY))
    const found = parts
      .flatMap((part) => part.rows.map((row) => row.key))
      .filter((key) => key <= ceiling)
      .sort((a, b) => a - b)
    const keys = found.slice(0, limit)
    if (keys.length === limit) return { keys, next: keys.at(-1)! }
    return { keys, next: Number.isFinite(ceiling) ? ceiling : null }
  }

  #part(
    filter: QueueFilter,
    state: number | null,
    from: number,
    limit: number,
    order: 'ASC' | 'DESC',
  ): { rows: RecipientRow[]; reached: number | null } {
    const { own, ownValues, of, ofValues, state: column } = conditions(filter)
    const side = order === 'DESC' ? '<' : '>'
    const where = `r.key ${side} ? ${state === null ? '' : `AND ${column} = ${state}`} ${own}`
    const values = [from, ...ownValues]
    if (of === '' || filter.messageId !== undefined) {
      const rows = this.#all(
        `SELECT r.* FROM recipients r ${of === '' ? '' : 'JOIN messages m ON m.key = r.message'} WHERE ${where} ${of} ORDER BY r.key ${order} LIMIT ?`,
        [...values, ...ofValues, limit],
      )
      return { rows, reached: null }
    }
    const window = `SELECT r.key AS key FROM recipients r WHERE ${where} ORDER BY r.key ${order} LIMIT ${WINDOW}`
    // In the order of the window: the joins look up one row each.
    const rows = this.#all(
      `SELECT r.* FROM (${window}) i CROSS JOIN recipients r ON r.key = i.key CROSS JOIN messages m ON m.key = r.message WHERE true ${of} LIMIT ?`,
      [...values, ...ofValues, limit],
    )
    if (rows.length === limit) return { rows, reached: null }
    const [last] = this.#context
      .statement(`SELECT count(*) AS n, ${order === 'DESC' ? 'min' : 'max'}(key) AS key FROM (${window})`)
      .all(...values) as { n: number; key: number }[]
    return { rows, reached: last!.n === WINDOW ? last!.key : null }
  }

  #all(sql: string, values: readonly Value[]): RecipientRow[] {
    return this.#context.statement(sql).all(...values) as RecipientRow[]
  }
}

function conditions(filter: QueueFilter): Conditions {
  const own: string[] = []
  const ownValues: Value[] = []
  const of: string[] = []
  const ofValues: Value[] = []
  const add = (parts: string[], values: Value[], sql: string, value: Value | undefined): void => {
    if (value === undefined) return
    parts.push(sql)
    values.push(value)
  }
  add(own, ownValues, 'AND r.address = ?', filter.recipient)
  add(own, ownValues, 'AND r.domain = ?', filter.domain)
  if (filter.restored === true) own.push("AND r.reason GLOB 'restored *' AND r.reason NOT GLOB '*, held before: *'")
  add(of, ofValues, 'AND m.id = ?', filter.messageId)
  add(of, ofValues, 'AND m.sending_domain = ?', filter.sendingDomain)
  const priority = filter.priority === undefined ? undefined : PRIORITIES.indexOf(filter.priority)
  add(of, ofValues, 'AND m.priority = ?', priority)
  add(of, ofValues, 'AND EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?)', filter.tag)
  add(of, ofValues, 'AND m.campaign = ?', filter.campaign)
  add(of, ofValues, 'AND m.accepted_ms < ?', filter.acceptedBeforeMs)
  add(of, ofValues, 'AND m.accepted_ms > ?', filter.acceptedAfterMs)
  const { messageId, recipient, domain } = filter
  const state = (messageId ?? recipient ?? domain) === undefined ? 'r.state' : '+r.state'
  return { own: own.join(' '), ownValues, of: of.join(' '), ofValues, state }
}
