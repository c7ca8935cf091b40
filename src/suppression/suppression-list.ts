import { type Clock, EX, Fault, isoTime } from '#base'
import { parseAddress } from '#mail'
import type { Database, Records } from '#store'
import type { CheckRequest, Suppressed } from './worker.ts'

export const REASONS = ['hard-bounce', 'soft-bounce', 'complaint', 'unsubscribe', 'manual'] as const
export type Reason = (typeof REASONS)[number]

/** Where a suppression holds: everywhere, for one sending domain, one category or one list. */
export type Purpose = {
  readonly sendingDomain: string
  readonly category?: string | null
  readonly list?: string | null
}

export type Entry = Suppressed & { readonly count: number; readonly lastMs: number }

export type NewEntry = {
  readonly address: string
  readonly scope?: string
  readonly reason?: Reason
  readonly detail?: string
  readonly smtpCode?: string
  readonly untilMs?: number | null
}

export type ImportReport = {
  readonly added: number
  /** Line number (1 = first), what was wrong; at most 1,000 are told. */
  readonly refused: readonly { readonly line: number; readonly problem: string }[]
}

const MAX_KNOWN = 100_000
const BATCH = 500

/** The one list of addresses that must not be written to again. */
export class SuppressionList {
  readonly #database: Database
  readonly #records: Records
  readonly #clock: Clock
  #waiting: { request: CheckRequest; resolve(found: Suppressed | null): void; reject(error: unknown): void }[] = []
  /** Addresses lately found to have no entry at all in their scopes; emptied of whatever is written. */
  readonly #clear = new Set<string>()
  #writes = 0

  constructor(database: Database, records: Records, clock: Clock) {
    this.#database = database
    this.#records = records
    this.#clock = clock
  }

  /**
   * The entry that forbids writing to `address` for this purpose, or null. Checks asked for in the same turn of the
   * event loop travel together; an address just found clear is not asked for again until something is written.
   */
  check(address: string, purpose: Purpose): Promise<Suppressed | null> {
    const request = { address: address.toLowerCase(), scopes: scopesOf(purpose) }
    const key = `${request.address} ${request.scopes.join(' ')}`
    if (this.#clear.has(key)) return Promise.resolve(null)
    const writes = this.#writes
    return new Promise<Suppressed | null>((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => void this.#ask())
      this.#waiting.push({
        request,
        resolve: (found) => {
          if (found === null && writes === this.#writes) this.#rememberClear(key)
          resolve(found)
        },
        reject,
      })
    })
  }

  /** To be called after suppressions were committed by another room (a settlement), before anybody is told of it. */
  wroteElsewhere(): void {
    this.#writes += 1
    this.#clear.clear()
  }

  /** Adds entries; one that is there already counts one more and keeps the stronger reason. */
  async add(entries: readonly NewEntry[]): Promise<void> {
    const nowMs = this.#clock.now()
    const rows = entries.map((entry) => ({
      address: addressOrPattern(entry.address),
      scope: scopeName(entry.scope ?? 'everything'),
      reason: entry.reason ?? 'manual',
      class: '',
      smtp_code: (entry.smtpCode ?? '').slice(0, 16),
      detail: (entry.detail ?? '').slice(0, 500),
      count: 1,
      first_ms: nowMs,
      last_ms: nowMs,
      until_ms: entry.untilMs ?? null,
    }))
    await this.#records.write(
      ...rows.map((row) =>
        this.#records.query
          .insertInto('suppressions')
          .values(row)
          .onConflict((conflict) =>
            conflict.columns(['address', 'scope']).doUpdateSet((eb) => ({
              count: eb('suppressions.count', '+', 1),
              last_ms: row.last_ms,
              reason: row.reason,
              detail: row.detail,
              until_ms: row.until_ms,
            })),
          ),
      ),
    )
    this.wroteElsewhere()
  }

  /** Lifts the entries of an address (of one scope, or all); returns how many there were. */
  async remove(address: string, scope?: string): Promise<number> {
    let query = this.#records.query.deleteFrom('suppressions').where('address', '=', addressOrPattern(address))
    if (scope !== undefined) query = query.where('scope', '=', scopeName(scope))
    const [outcome] = await this.#records.write(query)
    this.wroteElsewhere()
    return outcome?.changes ?? 0
  }

  /** All entries of an address, its domain pattern included: why it is not written to. */
  async of(address: string): Promise<readonly Entry[]> {
    const exact = addressOrPattern(address)
    const rows = await this.#records.read(
      this.#records.query
        .selectFrom('suppressions')
        .selectAll()
        .where('address', 'in', [exact, `*${exact.slice(exact.lastIndexOf('@'))}`])
        .orderBy('address')
        .orderBy('scope'),
    )
    return rows.map(entryOf)
  }

  /** A page in order of address; `cursor` is what the page before gave as `next`. */
  async list(options: { readonly reason?: Reason; readonly cursor?: string; readonly limit: number }): Promise<{
    readonly rows: readonly Entry[]
    readonly next: string | null
  }> {
    const [address, scope] = splitCursor(options.cursor)
    let query = this.#records.query
      .selectFrom('suppressions')
      .selectAll()
      .orderBy('address')
      .orderBy('scope')
      .limit(options.limit + 1)
    if (address !== '')
      query = query.where((eb) =>
        eb.or([eb('address', '>', address), eb.and([eb('address', '=', address), eb('scope', '>', scope)])]),
      )
    if (options.reason !== undefined) query = query.where('reason', '=', options.reason)
    const found = await this.#records.read(query)
    const rows = found.slice(0, options.limit).map(entryOf)
    const last = rows.at(-1)
    return { rows, next: found.length > options.limit && last !== undefined ? `${last.address} ${last.scope}` : null }
  }

  /** Takes lines `address[,reason[,scope[,until RFC 3339[,detail]]]]`; a head line is passed over; a bad line is told and passed over. */
  async import(lines: AsyncIterable<string> | Iterable<string>): Promise<ImportReport> {
    const refused: { line: number; problem: string }[] = []
    let batch: NewEntry[] = []
    let added = 0
    let line = 0
    for await (const text of lines) {
      line += 1
      const trimmed = text.trim()
      if (trimmed === '' || trimmed.startsWith('#') || (line === 1 && /^"?(address|email)/i.test(trimmed))) continue
      try {
        batch.push(entryFromCsv(trimmed))
      } catch (error) {
        if (refused.length < 1000)
          refused.push({ line, problem: error instanceof Fault ? error.message : String(error) })
        continue
      }
      if (batch.length < BATCH) continue
      await this.add(batch)
      added += batch.length
      batch = []
    }
    if (batch.length > 0) await this.add(batch)
    return { added: added + batch.length, refused }
  }

  /** The whole list as CSV lines, head line first, in pages. */
  async *export(): AsyncGenerator<string> {
    yield 'address,reason,scope,until,detail'
    let cursor: string | undefined
    do {
      const page = await this.list({ limit: BATCH, ...(cursor === undefined ? {} : { cursor }) })
      for (const row of page.rows)
        yield [row.address, row.reason, row.scope, row.untilMs === null ? '' : isoTime(row.untilMs), row.detail]
          .map(csvField)
          .join(',')
      cursor = page.next ?? undefined
    } while (cursor !== undefined)
  }

  async #ask(): Promise<void> {
    const asked = this.#waiting
    this.#waiting = []
    try {
      const found = await this.#database.read<(Suppressed | null)[]>('suppression.check', {
        requests: asked.map((one) => one.request),
        nowMs: this.#clock.now(),
      })
      for (const [i, one] of asked.entries()) one.resolve(found[i] ?? null)
    } catch (error) {
      for (const one of asked) one.reject(error)
    }
  }

  #rememberClear(key: string): void {
    if (this.#clear.size >= MAX_KNOWN) this.#clear.clear()
    this.#clear.add(key)
  }
}

function scopesOf(purpose: Purpose): string[] {
  const scopes = ['everything', `domain:${purpose.sendingDomain}`]
  if (purpose.category) scopes.push(`category:${purpose.category.toLowerCase()}`)
  if (purpose.list) scopes.push(`list:${purpose.list.toLowerCase()}`)
  return scopes
}

function addressOrPattern(text: string): string {
  const trimmed = text.trim()
  const pattern = trimmed.startsWith('*@')
  const parsed = parseAddress(pattern ? `any${trimmed.slice(1)}` : trimmed)
  if (!parsed.ok)
    throw new Fault(`${JSON.stringify(trimmed)} is not an address: ${parsed.error.reason}`, {
      code: 'invalid-address',
      field: 'address',
      remedy: 'Give an address such as user@example.com, or *@example.com for a whole domain.',
      exitCode: EX.DATAERR,
    })
  return pattern ? `*@${parsed.value.domain}` : parsed.value.text.toLowerCase()
}

function scopeName(text: string): string {
  const scope = text.trim().toLowerCase()
  if (scope === 'everything' || /^(domain|category|list):[^\s,]{1,200}$/.test(scope)) return scope
  throw new Fault(`${JSON.stringify(text)} is not a scope`, {
    code: 'invalid-scope',
    field: 'scope',
    remedy: 'Use everything, domain:<sending domain>, category:<name> or list:<name>.',
    exitCode: EX.DATAERR,
  })
}

function entryFromCsv(line: string): NewEntry {
  const [address = '', reason = '', scope = '', until = '', detail = ''] = csvFields(line)
  if (reason !== '' && !REASONS.includes(reason as Reason))
    throw new Fault(`${JSON.stringify(reason)} is not a reason (${REASONS.join(', ')})`, { field: 'reason' })
  const untilMs = until === '' ? null : Date.parse(until)
  if (Number.isNaN(untilMs)) throw new Fault(`${JSON.stringify(until)} is not an RFC 3339 time`, { field: 'until' })
  return {
    address: addressOrPattern(address),
    reason: (reason || 'manual') as Reason,
    scope: scopeName(scope || 'everything'),
    untilMs,
    detail,
  }
}

/** RFC 4180 fields of one line. */
function csvFields(line: string): string[] {
  const fields: string[] = []
  let at = 0
  while (at <= line.length) {
    if (line[at] !== '"') {
      const comma = line.indexOf(',', at)
      const end = comma < 0 ? line.length : comma
      fields.push(line.slice(at, end).trim())
      at = end + 1
      continue
    }
    let field = ''
    at += 1
    for (;;) {
      const quote = line.indexOf('"', at)
      const end = quote < 0 ? line.length : quote
      field += line.slice(at, end)
      at = end + 1
      if (line[at] !== '"') break
      field += '"'
      at += 1
    }
    fields.push(field)
    at += 1
  }
  return fields
}

/** Quoted where needed; a leading = + - @ would be a formula to a spreadsheet and gets an apostrophe. */
function csvField(text: string): string {
  const safe = /^[=+\-@]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""').replace(/[\r\n]+/g, ' ')}"` : safe
}

function splitCursor(cursor: string | undefined): [string, string] {
  if (cursor === undefined) return ['', '']
  const space = cursor.lastIndexOf(' ')
  return [cursor.slice(0, space), cursor.slice(space + 1)]
}

function entryOf(row: {
  address: string
  scope: string
  reason: string
  class: string
  smtp_code: string
  detail: string
  count: number
  first_ms: number
  last_ms: number
  until_ms: number | null
}): Entry {
  return {
    address: row.address,
    scope: row.scope,
    reason: row.reason,
    class: row.class,
    smtpCode: row.smtp_code,
    detail: row.detail,
    count: row.count,
    firstMs: row.first_ms,
    lastMs: row.last_ms,
    untilMs: row.until_ms,
  }
}
