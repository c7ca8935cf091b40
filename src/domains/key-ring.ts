import { createPrivateKey } from 'node:crypto'
import { type Clock, EX, Fault, isoTime, newId } from '#base'
import { type DkimKey, dkimRecordValue, generateDkimKey } from '#mail'
import type { Records, RecordsTables, Vault } from '#store'

/**
 * `next` is published and signs from a time on, `signing` signs, `retiring` signed mail that may still be on its way,
 * `retired` may leave the DNS.
 */
export type KeyState = RecordsTables['dkim_keys']['state']

/** A DKIM key as people see it: what to publish, never the private part. */
export type PublishedKey = {
  readonly selector: string
  readonly algorithm: DkimKey['algorithm']
  /** Name of the TXT record. */
  readonly host: string
  /** Value of the TXT record. */
  readonly value: string
  readonly state: KeyState
  /** When it began or will begin to sign; null: with the domain. */
  readonly signsFromMs: number | null
  /** When it stopped signing; null: not yet. */
  readonly signedUntilMs: number | null
}

type Row = {
  readonly selector: string
  readonly algorithm: DkimKey['algorithm']
  readonly private_key: string
  readonly public_key: string
  readonly state: KeyState
  readonly signs_from_ms: number | null
  readonly signed_until_ms: number | null
}

const PURPOSE = 'dkim-private-key'
/** RFC 8463 §3: both, while verifiers that know only RSA exist. */
const ALGORITHMS = ['rsa-sha256', 'ed25519-sha256'] as const
const COLUMNS = [
  'selector',
  'algorithm',
  'private_key',
  'public_key',
  'state',
  'signs_from_ms',
  'signed_until_ms',
] as const

/** Key rows of a domain, the newest pair first, RSA before Ed25519. */
export function keyRows(query: Records['query'], domain: string) {
  return query
    .selectFrom('dkim_keys')
    .select(COLUMNS)
    .where('domain', '=', domain)
    .orderBy('created_ms', 'desc')
    .orderBy('algorithm', 'desc')
}

export function publishedKey(domain: string, row: Omit<Row, 'private_key'>): PublishedKey {
  return {
    selector: row.selector,
    algorithm: row.algorithm,
    host: `${row.selector}._domainkey.${domain}`,
    value: dkimRecordValue(row.algorithm, row.public_key),
    state: row.state,
    signsFromMs: row.signs_from_ms,
    signedUntilMs: row.signed_until_ms,
  }
}

/** The DKIM keys of all sending domains, sealed at rest: those that sign are parsed once and kept. */
export class KeyRing {
  readonly #records: Records
  readonly #vault: Vault
  readonly #clock: Clock
  readonly #signing = new Map<string, Promise<readonly DkimKey[]>>()

  constructor(records: Records, vault: Vault, clock: Clock) {
    this.#records = records
    this.#vault = vault
    this.#clock = clock
  }

  /** The keys that sign now; empty when the domain is not known. */
  keysFor(domain: string): Promise<readonly DkimKey[]> {
    let keys = this.#signing.get(domain)
    if (keys === undefined) {
      keys = this.#load(domain)
      this.#signing.set(domain, keys)
      keys.catch(() => this.#signing.delete(domain))
    }
    return keys
  }

  async published(domain: string): Promise<readonly PublishedKey[]> {
    const rows = await this.#rows(domain)
    return rows.map((row) => publishedKey(domain, row))
  }

  /** Queries that put a new pair; selectors that were ever used for the domain are not used again. */
  async insertPair(domain: string, state: 'signing' | 'next', signsFromMs: number | null) {
    const nowMs = this.#clock.now()
    const used = new Set((await this.#rows(domain)).map((row) => row.selector))
    const stamp = isoTime(nowMs).slice(0, 10).replaceAll('-', '')
    return Promise.all(
      ALGORITHMS.map(async (algorithm) => {
        const made = await generateDkimKey(algorithm)
        const base = `rlv${stamp}${algorithm === 'rsa-sha256' ? 'r' : 'e'}`
        let selector = base
        for (let n = 2; used.has(selector); n++) selector = `${base}${n}`
        return this.#records.query.insertInto('dkim_keys').values({
          id: newId(nowMs),
          domain,
          selector,
          algorithm,
          private_key: this.#vault.seal(made.privateKeyDer, PURPOSE),
          public_key: made.publicKey,
          created_ms: nowMs,
          state,
          signs_from_ms: signsFromMs,
          signed_until_ms: null,
        })
      }),
    )
  }

  /**
   * Makes the next pair, which signs from a time on.
   * @throws Fault `rotation-pending` while an earlier pair waits
   */
  async rotate(domain: string, signsFromMs: number): Promise<readonly PublishedKey[]> {
    const waiting = (await this.#rows(domain)).find((row) => row.state === 'next')
    if (waiting !== undefined)
      throw new Fault(`the keys of ${domain} are being changed already: ${waiting.selector} waits to sign`, {
        code: 'rotation-pending',
        field: 'domain',
        remedy: `Publish it (relevo dns records ${domain}), or let it sign at once: relevo dkim rotate ${domain} --now`,
        exitCode: EX.DATAERR,
      })
    await this.#records.write(...(await this.insertPair(domain, 'next', signsFromMs)))
    return (await this.published(domain)).filter((key) => key.state === 'next')
  }

  /** The next pair signs from now on, the last one retires: in one step, so that there is always one that signs. */
  async changeOver(domain: string): Promise<void> {
    const nowMs = this.#clock.now()
    const { query } = this.#records
    const of = (state: KeyState) =>
      query.updateTable('dkim_keys').where('domain', '=', domain).where('state', '=', state)
    await this.#records.write(
      of('signing').set({ state: 'retiring', signed_until_ms: nowMs }),
      of('next').set({ state: 'signing', signs_from_ms: nowMs }),
    )
    this.#signing.delete(domain)
  }

  /** What the retiring keys signed was still here at this time. */
  async signedUntil(domain: string, atMs: number): Promise<void> {
    await this.#records.write(
      this.#records.query
        .updateTable('dkim_keys')
        .set({ signed_until_ms: atMs })
        .where('domain', '=', domain)
        .where('state', '=', 'retiring'),
    )
  }

  /** Keys that stopped signing before a time are no longer needed: their private parts are forgotten. */
  async retire(domain: string, signedBeforeMs: number): Promise<void> {
    await this.#records.write(
      this.#records.query
        .updateTable('dkim_keys')
        .set({ state: 'retired', private_key: '' })
        .where('domain', '=', domain)
        .where('state', '=', 'retiring')
        .where('signed_until_ms', '<=', signedBeforeMs),
    )
  }

  /** The query that forgets all keys of a domain. */
  deleteAll(domain: string) {
    this.#signing.delete(domain)
    return this.#records.query.deleteFrom('dkim_keys').where('domain', '=', domain)
  }

  /** Called after a domain came or went. */
  forget(domain: string): void {
    this.#signing.delete(domain)
  }

  async #load(domain: string): Promise<readonly DkimKey[]> {
    return (await this.#rows(domain))
      .filter((row) => row.state === 'signing')
      .map((row) => ({
        domain,
        selector: row.selector,
        algorithm: row.algorithm,
        key: createPrivateKey({
          key: Buffer.from(this.#vault.open(row.private_key, PURPOSE)),
          format: 'der',
          type: 'pkcs8',
        }),
      }))
  }

  #rows(domain: string): Promise<readonly Row[]> {
    return this.#records.read(keyRows(this.#records.query, domain))
  }
}
