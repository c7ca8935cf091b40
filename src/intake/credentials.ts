import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { type Clock, EX, Fault, newId } from '#base'
import type { Records, RecordsTables } from '#store'
import { oddText, type Submitter } from './submitter.ts'
import { WorkQueue } from './work-queue.ts'

const N = 32_768
const R = 8
const P = 1
const HASH_BYTES = 32
/** 128·N·r bytes and a little (RFC 7914 §2). */
const MAX_MEMORY = 128 * N * R + 1_048_576
const CACHE_MS = 60_000
const MAX_CACHED = 1000
const LAST_USED_EVERY_MS = 3_600_000
const AT_ONCE = 2
const MAX_WAITING = 32
const MAX_PASSWORD_CHARACTERS = 1024

const derive = promisify<string, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(scrypt)

/** A credential as people see it: never the hash. */
export type Credential = {
  readonly id: string
  readonly username: string
  readonly name: string
  readonly allowed: readonly string[]
  readonly ratePerHour: number
  readonly expiresMs: number | null
  readonly defaultTags: readonly string[]
  readonly active: boolean
  readonly createdMs: number
  readonly lastUsedMs: number | null
}

export type NewCredential = {
  readonly username: string
  /** Absent: one is made. */
  readonly password?: string
  readonly name?: string
  /** See `Submitter.allowed`. */
  readonly allowed: readonly string[]
  readonly ratePerHour?: number
  readonly expiresMs?: number | null
  readonly defaultTags?: readonly string[]
}

export type LoginAnswer =
  | { readonly kind: 'ok'; readonly submitter: Submitter }
  | { readonly kind: 'wrong' }
  /** More log-ins wait than there may; try again. */
  | { readonly kind: 'busy' }

/** The user names and passwords of submission. Hashed with scrypt; at most two hashes run at one time. */
export class Credentials {
  readonly #records: Records
  readonly #clock: Clock
  readonly #work = new WorkQueue(AT_ONCE, MAX_WAITING)
  readonly #cache = new Map<string, { mac: Buffer; submitter: Submitter; untilMs: number }>()
  readonly #cacheKey = randomBytes(32)
  /** Checks under way by user and password: the pool of connections an app opens at once costs one hash. */
  readonly #underWay = new Map<string, Promise<LoginAnswer>>()
  readonly #revoked = new Set<string>()
  readonly #lastUsed = new Map<string, number>()

  constructor(records: Records, clock: Clock) {
    this.#records = records
    this.#clock = clock
  }

  /** Costs the same whether the user exists or not. */
  async check(username: string, password: string): Promise<LoginAnswer> {
    if (username === '' || password === '' || password.length > MAX_PASSWORD_CHARACTERS) return { kind: 'wrong' }
    const mac = createHmac('sha256', this.#cacheKey).update(`${username}\0${password}`).digest()
    const cached = this.#cache.get(username)
    if (cached !== undefined && this.#clock.monotonicMs() < cached.untilMs && timingSafeEqual(cached.mac, mac))
      return cached.submitter.valid() ? { kind: 'ok', submitter: cached.submitter } : { kind: 'wrong' }
    const key = mac.toString('base64')
    let check = this.#underWay.get(key)
    if (check === undefined) {
      check = this.#check(username, password, mac).finally(() => this.#underWay.delete(key))
      this.#underWay.set(key, check)
    }
    return check
  }

  async #check(username: string, password: string, mac: Buffer): Promise<LoginAnswer> {
    const row = await this.#find(username)
    const matches = await this.#work.run(() => verify(password, row?.password_hash ?? DUMMY))
    if (matches === null) return { kind: 'busy' }
    if (row === undefined || !matches || row.active !== 1) return { kind: 'wrong' }
    const submitter = this.#submitterOf(row)
    if (!submitter.valid()) return { kind: 'wrong' }
    this.#remember(username, mac, submitter)
    this.#used(row)
    return { kind: 'ok', submitter }
  }

  /** The password is answered here once and never again. */
  async create(wanted: NewCredential): Promise<{ readonly credential: Credential; readonly password: string }> {
    if (!/^[^\s\u0000-\u001f\u007f]{1,254}$/.test(wanted.username))
      throw new Fault('a user name has 1 to 254 characters without spaces', {
        code: 'invalid',
        field: 'username',
        exitCode: EX.DATAERR,
      })
    for (const [field, texts] of [
      ['name', wanted.name === undefined || wanted.name === '' ? [] : [wanted.name]],
      ['allowed', wanted.allowed],
      ['default_tags', wanted.defaultTags ?? []],
    ] as const) {
      const odd = oddText(texts)
      if (odd !== null)
        throw new Fault(`${JSON.stringify(odd)} is empty, too long or has a line end`, {
          code: 'invalid',
          field,
          remedy: 'Write it on one line.',
          exitCode: EX.DATAERR,
        })
    }
    if ((await this.#find(wanted.username)) !== undefined)
      throw new Fault(`the user name ${wanted.username} is taken`, {
        code: 'exists',
        field: 'username',
        remedy: `Revoke it first: relevo credential remove ${wanted.username}`,
        exitCode: EX.DATAERR,
      })
    const password = wanted.password ?? randomBytes(24).toString('base64url')
    if (password.length < 12 || password.length > MAX_PASSWORD_CHARACTERS)
      throw new Fault('a password has at least 12 characters', {
        code: 'invalid',
        field: 'password',
        remedy: 'Leave it out and one is made.',
        exitCode: EX.DATAERR,
      })
    const nowMs = this.#clock.now()
    const row = {
      id: newId(nowMs),
      username: wanted.username,
      password_hash: await hashPassword(password),
      name: wanted.name ?? '',
      allowed: JSON.stringify(wanted.allowed),
      rate_per_hour: wanted.ratePerHour ?? 0,
      expires_ms: wanted.expiresMs ?? null,
      default_tags: JSON.stringify(wanted.defaultTags ?? []),
      active: 1,
      created_ms: nowMs,
      last_used_ms: null,
    }
    await this.#records.write(this.#records.query.insertInto('credentials').values(row))
    return { credential: credentialOf(row), password }
  }

  async list(): Promise<readonly Credential[]> {
    const rows = await this.#records.read(this.#records.query.selectFrom('credentials').selectAll().orderBy('username'))
    return rows.map(credentialOf)
  }

  /** Ends it at once, for standing sessions as well. False when there is none of this user name. */
  async revoke(username: string): Promise<boolean> {
    const row = await this.#find(username)
    if (row === undefined) return false
    await this.#records.write(this.#records.query.deleteFrom('credentials').where('username', '=', username))
    this.#revoked.add(row.id)
    this.#cache.delete(username)
    return true
  }

  async #find(username: string): Promise<RecordsTables['credentials'] | undefined> {
    const rows = await this.#records.read(
      this.#records.query.selectFrom('credentials').selectAll().where('username', '=', username),
    )
    return rows[0]
  }

  #submitterOf(row: RecordsTables['credentials']): Submitter {
    const credential = credentialOf(row)
    return {
      name: `smtp:${row.username}`,
      allowed: credential.allowed,
      defaultTags: credential.defaultTags,
      ratePerHour: row.rate_per_hour,
      valid: () => !this.#revoked.has(row.id) && (row.expires_ms === null || this.#clock.now() < row.expires_ms),
    }
  }

  #remember(username: string, mac: Buffer, submitter: Submitter): void {
    if (this.#cache.size >= MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value!)
    this.#cache.set(username, { mac, submitter, untilMs: this.#clock.monotonicMs() + CACHE_MS })
  }

  /** When it was last used is worth a write an hour, and no log-in waits for it. */
  #used(row: RecordsTables['credentials']): void {
    const nowMs = this.#clock.now()
    if (nowMs - (this.#lastUsed.get(row.id) ?? row.last_used_ms ?? 0) < LAST_USED_EVERY_MS) return
    this.#lastUsed.set(row.id, nowMs)
    this.#records
      .write(this.#records.query.updateTable('credentials').set({ last_used_ms: nowMs }).where('id', '=', row.id))
      .catch(() => this.#lastUsed.delete(row.id))
  }
}

/** `scrypt$N$r$p$salt$hash`, base64. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await derive(password.normalize('NFC'), salt, HASH_BYTES, { N, r: R, p: P, maxmem: MAX_MEMORY })
  return `scrypt$${N}$${R}$${P}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/** Hashed when the user is unknown, so that the time says nothing; no password gives this hash. */
const DUMMY = `scrypt$${N}$${R}$${P}$${Buffer.alloc(16).toString('base64')}$${Buffer.alloc(HASH_BYTES).toString('base64')}`

async function verify(password: string, stored: string): Promise<boolean> {
  const [scheme, n, r, p, salt, hash] = stored.split('$')
  if (scheme !== 'scrypt' || hash === undefined || salt === undefined) return false
  const expected = Buffer.from(hash, 'base64')
  const cost = { N: Number(n), r: Number(r), p: Number(p) }
  const maxmem = 128 * cost.N * cost.r + 1_048_576
  const actual = await derive(password.normalize('NFC'), Buffer.from(salt, 'base64'), expected.length, {
    ...cost,
    maxmem,
  })
  return timingSafeEqual(expected, actual)
}

function credentialOf(row: RecordsTables['credentials']): Credential {
  return {
    id: row.id,
    username: row.username,
    name: row.name,
    allowed: JSON.parse(row.allowed) as string[],
    ratePerHour: row.rate_per_hour,
    expiresMs: row.expires_ms,
    defaultTags: JSON.parse(row.default_tags) as string[],
    active: row.active === 1,
    createdMs: row.created_ms,
    lastUsedMs: row.last_used_ms,
  }
}
