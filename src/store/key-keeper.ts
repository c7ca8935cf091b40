import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { type Clock, EX, Fault, isoTime } from '#base'
import {
  dropNext,
  fingerprintOf,
  KEY_BYTES,
  type KeyPlace,
  nextPath,
  pathOfKey,
  readKeyFile,
  takeNext,
  writeNext,
} from './master-key.ts'
import type { Records } from './records/records.ts'
import { recoveryLines } from './recovery-form.ts'
import { FINGERPRINT, type Vault } from './vault.ts'

const SHOWN = 'recovery-shown'

/**
 * After a start: a rotation that was cut off ended when its records were committed, and never was when they were not.
 * @returns the key that the records are wrapped with, as far as it is there
 */
export async function finishRotation(records: Records, place: KeyPlace, masterKey: Buffer): Promise<Buffer> {
  const path = pathOfKey(place)
  if (path === place.credentialFile || !existsSync(nextPath(path))) return masterKey
  const { query } = records
  const kept = await records.readOne(query.selectFrom('settings').select('value').where('name', '=', FINGERPRINT))
  const next = readKeyFile(nextPath(path))
  if (kept?.value === fingerprintOf(next)) {
    takeNext(path)
    return next
  }
  if (kept === undefined || kept.value === fingerprintOf(masterKey)) dropNext(path)
  return masterKey
}

/** The master key of the running daemon: its written form, and a new one in its place. */
export class KeyKeeper {
  readonly #records: Records
  readonly #vault: Vault
  readonly #place: KeyPlace
  readonly #clock: Clock
  #masterKey: Buffer
  #busy = false

  constructor(records: Records, vault: Vault, place: KeyPlace, masterKey: Buffer, clock: Clock) {
    this.#records = records
    this.#vault = vault
    this.#place = place
    this.#masterKey = masterKey
    this.#clock = clock
  }

  /** The written form, once for each key. @throws Fault shown-before */
  async showRecovery(): Promise<{ readonly fingerprint: string; readonly lines: readonly string[] }> {
    const { query } = this.#records
    const { fingerprint } = this.#vault
    const nowMs = this.#clock.now()
    const kept = await this.#records.readOne(query.selectFrom('settings').selectAll().where('name', '=', SHOWN))
    if (kept?.value === fingerprint)
      throw new Fault(`the written form of this key was shown on ${isoTime(kept.updated_ms)}, and is shown once`, {
        code: 'conflict',
        exitCode: EX.DATAERR,
        remedy: 'If what was written down is lost, make a new key with relevo key rotate and write that down',
      })
    await this.#records.write(
      query
        .insertInto('settings')
        .values({ name: SHOWN, value: fingerprint, updated_ms: nowMs })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: fingerprint, updated_ms: nowMs })),
    )
    return { fingerprint, lines: recoveryLines(this.#masterKey) }
  }

  /**
   * Wraps the data keys with a new master key, in one commit. The new key is on the disk before, and takes the place of the
   * old one after it; wherever it is cut off, the next start has the right one.
   * @param given a key that the person puts in place himself (systemd's credentials, a file that Relevo may not write)
   */
  async rotate(given: Uint8Array | null): Promise<{ readonly fingerprint: string; readonly path: string | null }> {
    if (this.#busy) throw new Fault('the key is being rotated', { code: 'conflict' })
    this.#busy = true
    try {
      const path = pathOfKey(this.#place)
      if (given === null && path === this.#place.credentialFile)
        throw new Fault('the master key is a credential of systemd, which Relevo cannot replace', {
          code: 'bad-master-key',
          remedy:
            'Make the key yourself (head -c 32 /dev/urandom | base64), give it with relevo key rotate --new-key-file FILE, then put it in place of the credential before the next start.',
        })
      const next = Buffer.from(given ?? randomBytes(KEY_BYTES))
      if (fingerprintOf(next) === this.#vault.fingerprint)
        throw new Fault('this is the key that is in use', { code: 'conflict', remedy: 'Give another one' })
      if (given === null) writeNext(path, next)
      await this.#vault.rewrap(this.#records, next, this.#clock)
      this.#masterKey = next
      if (given === null) takeNext(path)
      return { fingerprint: this.#vault.fingerprint, path: given === null ? path : null }
    } finally {
      this.#busy = false
    }
  }
}
