import { randomBytes } from 'node:crypto'
import type { Clock, Result } from '#base'
import { makeReturnPath, type ReturnPathFault, type ReturnPathKey, type ReturnPathToken, readReturnPath } from '#mail'
import type { Records, Vault } from '#store'

const PURPOSE = 'return-path-key'
const DAY_MS = 86_400_000

/** Makes and reads the return paths. A key lives until the last token made with it has expired. */
export class ReturnPaths {
  readonly #keys: Map<number, ReturnPathKey>
  readonly #current: ReturnPathKey
  readonly #clock: Clock
  readonly #validMs: number
  #refused = 0

  private constructor(keys: Map<number, ReturnPathKey>, current: ReturnPathKey, clock: Clock, validDays: number) {
    this.#keys = keys
    this.#current = current
    this.#clock = clock
    this.#validMs = validDays * DAY_MS
  }

  static async open(records: Records, vault: Vault, clock: Clock, validDays: number): Promise<ReturnPaths> {
    const rows = await records.read(
      records.query.selectFrom('return_path_keys').selectAll().orderBy('created_ms', 'desc'),
    )
    const keys = new Map<number, ReturnPathKey>()
    for (const row of rows) keys.set(row.id, { id: row.id, secret: vault.open(row.sealed, PURPOSE) })
    let current = rows[0] === undefined ? undefined : keys.get(rows[0].id)
    if (current === undefined) {
      current = { id: 1, secret: randomBytes(32) }
      await records.write(
        records.query.insertInto('return_path_keys').values({
          id: current.id,
          sealed: vault.seal(current.secret, PURPOSE),
          created_ms: clock.now(),
          expires_ms: null,
        }),
      )
      keys.set(current.id, current)
    }
    return new ReturnPaths(keys, current, clock, validDays)
  }

  /** The return path on the wire for one recipient of a message accepted at `acceptedMs`. */
  make(token: ReturnPathToken, host: string, acceptedMs: number): string {
    return makeReturnPath(token, host, acceptedMs + this.#validMs, this.#current)
  }

  /** Reads a return path; what is not ours, forged or expired is counted and names nobody. */
  read(address: string): Result<ReturnPathToken, ReturnPathFault> {
    const read = readReturnPath(address, this.#clock.now(), (id) => this.#keys.get(id))
    if (!read.ok) this.#refused += 1
    return read
  }

  /** Return paths refused since start: forged, expired or not of ours. */
  get refused(): number {
    return this.#refused
  }
}
