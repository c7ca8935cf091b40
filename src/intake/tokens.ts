import { createHash, randomBytes } from 'node:crypto'
import { type Clock, EX, Fault, newId } from '#base'
import type { Records, RecordsTables } from '#store'
import { oddText } from './submitter.ts'

const PREFIX = 'rlv_'
const SECRET_BYTES = 32
const SHOWN_CHARACTERS = 10
const FORM = /^rlv_[A-Za-z0-9_-]{43}$/
const CACHE_MS = 30_000
const MAX_CACHED = 10_000
const LAST_USED_EVERY_MS = 3_600_000

/** A bearer token as people see it. */
export type Token = {
  readonly id: string
  readonly name: string
  /** Its first characters, to tell tokens apart. */
  readonly prefix: string
  readonly permissions: readonly string[]
  /** Sending domains or full addresses; see `Submitter.allowed`. */
  readonly allowed: readonly string[]
  readonly expiresMs: number | null
  readonly active: boolean
  readonly createdMs: number
  readonly lastUsedMs: number | null
}

export type NewToken = {
  readonly name: string
  readonly permissions: readonly string[]
  readonly allowed: readonly string[]
  readonly expiresMs?: number | null
}

/** The bearer tokens of the HTTP API. Kept as SHA-256: 256 random bits need no slow hash. */
export class Tokens {
  readonly #records: Records
  readonly #clock: Clock
  readonly #cache = new Map<string, { token: Token | null; untilMs: number }>()
  readonly #lastUsed = new Map<string, number>()

  constructor(records: Records, clock: Clock) {
    this.#records = records
    this.#clock = clock
  }

  /** The secret is answered here once and never again. */
  async create(wanted: NewToken): Promise<{ readonly token: Token; readonly secret: string }> {
    if (!/^[^\u0000-\u001f\u007f]{1,200}$/.test(wanted.name))
      throw new Fault('a token has a name of 1 to 200 characters', {
        code: 'invalid',
        field: 'name',
        remedy: 'Name it after the program that will use it.',
        exitCode: EX.DATAERR,
      })
    const odd = oddText(wanted.allowed)
    if (odd !== null)
      throw new Fault(`${JSON.stringify(odd)} is empty, too long or has a line end`, {
        code: 'invalid',
        field: 'allowed',
        remedy: 'Give a sending domain, an address, * or <>.',
        exitCode: EX.DATAERR,
      })
    if (wanted.permissions.length === 0)
      throw new Fault('a token without permissions is good for nothing', {
        code: 'invalid',
        field: 'permissions',
        remedy: 'Give at least one, such as send.',
        exitCode: EX.DATAERR,
      })
    const secret = PREFIX + randomBytes(SECRET_BYTES).toString('base64url')
    const nowMs = this.#clock.now()
    const row = {
      id: newId(nowMs),
      name: wanted.name,
      prefix: secret.slice(0, SHOWN_CHARACTERS),
      hash: hashOf(secret),
      permissions: JSON.stringify(wanted.permissions),
      allowed: JSON.stringify(wanted.allowed),
      expires_ms: wanted.expiresMs ?? null,
      active: 1,
      created_ms: nowMs,
      last_used_ms: null,
    }
    await this.#records.write(this.#records.query.insertInto('tokens').values(row))
    this.#cache.delete(row.hash)
    return { token: tokenOf(row), secret }
  }

  async list(): Promise<readonly Token[]> {
    const rows = await this.#records.read(this.#records.query.selectFrom('tokens').selectAll().orderBy('id'))
    return rows.map(tokenOf)
  }

  /** Ends it at once. False when there is none with this id. */
  async revoke(id: string): Promise<boolean> {
    const { query } = this.#records
    const rows = await this.#records.read(query.selectFrom('tokens').selectAll().where('id', '=', id))
    if (rows[0] === undefined) return false
    await this.#records.write(query.deleteFrom('tokens').where('id', '=', id))
    this.#cache.delete(rows[0].hash)
    return true
  }

  /** The token this secret belongs to, or null: unknown, revoked or expired. */
  async verify(secret: string): Promise<Token | null> {
    if (!FORM.test(secret)) return null
    const hash = hashOf(secret)
    const token = await this.#find(hash)
    if (token === null || !token.active) return null
    if (token.expiresMs !== null && this.#clock.now() >= token.expiresMs) return null
    this.#used(token)
    return token
  }

  async #find(hash: string): Promise<Token | null> {
    const cached = this.#cache.get(hash)
    if (cached !== undefined && this.#clock.monotonicMs() < cached.untilMs) return cached.token
    const rows = await this.#records.read(this.#records.query.selectFrom('tokens').selectAll().where('hash', '=', hash))
    const token = rows[0] === undefined ? null : tokenOf(rows[0])
    if (token === null) return null
    if (this.#cache.size >= MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value!)
    this.#cache.set(hash, { token, untilMs: this.#clock.monotonicMs() + CACHE_MS })
    return token
  }

  #used(token: Token): void {
    const nowMs = this.#clock.now()
    if (nowMs - (this.#lastUsed.get(token.id) ?? token.lastUsedMs ?? 0) < LAST_USED_EVERY_MS) return
    this.#lastUsed.set(token.id, nowMs)
    this.#records
      .write(this.#records.query.updateTable('tokens').set({ last_used_ms: nowMs }).where('id', '=', token.id))
      .catch(() => this.#lastUsed.delete(token.id))
  }
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

function tokenOf(row: RecordsTables['tokens']): Token {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    permissions: JSON.parse(row.permissions) as string[],
    allowed: JSON.parse(row.allowed) as string[],
    expiresMs: row.expires_ms,
    active: row.active === 1,
    createdMs: row.created_ms,
    lastUsedMs: row.last_used_ms,
  }
}
