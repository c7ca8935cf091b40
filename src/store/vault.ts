import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { type Clock, EX, Fault, newId } from '#base'
import { fingerprintOf, KEY_BYTES } from './master-key.ts'
import type { Records } from './records/records.ts'

const IV_BYTES = 12
const TAG_BYTES = 16
export const FINGERPRINT = 'master-key-fingerprint'

/** Seals what is secret at rest: the master key wraps data keys, a data key seals values (AES-256-GCM). */
export class Vault {
  readonly #keys: ReadonlyMap<string, Buffer>
  readonly #current: string
  #fingerprint: string

  private constructor(keys: ReadonlyMap<string, Buffer>, current: string, fingerprint: string) {
    this.#keys = keys
    this.#current = current
    this.#fingerprint = fingerprint
  }

  /** Of the master key that the data keys are wrapped with. */
  get fingerprint(): string {
    return this.#fingerprint
  }

  /** @throws Fault wrong-master-key when the records were sealed under another */
  static async open(records: Records, masterKey: Buffer, clock: Clock): Promise<Vault> {
    const { query } = records
    const fingerprint = fingerprintOf(masterKey)
    const kept = await records.readOne(query.selectFrom('settings').select('value').where('name', '=', FINGERPRINT))
    if (kept !== undefined && kept.value !== fingerprint)
      throw new Fault(
        `the master key is not the one these records were sealed with (this one ${fingerprint}, theirs ${kept.value})`,
        {
          code: 'wrong-master-key',
          field: 'secrets.master_key_file',
          remedy: 'Give the master key that belongs to this data_dir, or restore its master.key from the backup.',
          exitCode: EX.CONFIG,
        },
      )
    const wrapping = wrappingOf(masterKey)
    const rows = await records.read(query.selectFrom('data_keys').selectAll())
    const keys = new Map(rows.map((row) => [row.id, unwrap(wrapping, row)]))
    const active = rows.find((row) => row.active === 1)
    if (active !== undefined) return new Vault(keys, active.id, fingerprint)
    const nowMs = clock.now()
    const id = newId(nowMs)
    const key = randomBytes(KEY_BYTES)
    await records.write(
      query.insertInto('settings').values({ name: FINGERPRINT, value: fingerprint, updated_ms: nowMs }),
      query.insertInto('data_keys').values({ id, sealed: encrypt(wrapping, key, id), created_ms: nowMs, active: 1 }),
    )
    return new Vault(new Map([[id, key]]), id, fingerprint)
  }

  /** Wraps every data key with another master key, in one commit. What they sealed stays as it is. */
  async rewrap(records: Records, masterKey: Buffer, clock: Clock): Promise<void> {
    const { query } = records
    const wrapping = wrappingOf(masterKey)
    const fingerprint = fingerprintOf(masterKey)
    await records.write(
      query
        .updateTable('settings')
        .set({ value: fingerprint, updated_ms: clock.now() })
        .where('name', '=', FINGERPRINT),
      ...[...this.#keys].map(([id, key]) =>
        query
          .updateTable('data_keys')
          .set({ sealed: encrypt(wrapping, key, id) })
          .where('id', '=', id),
      ),
    )
    this.#fingerprint = fingerprint
  }

  /** @param purpose what it is for; it must be said again to open */
  seal(plain: string | Uint8Array, purpose: string): string {
    const bytes = typeof plain === 'string' ? Buffer.from(plain, 'utf8') : plain
    return `${this.#current}:${encrypt(this.#keys.get(this.#current)!, bytes, purpose)}`
  }

  /** @throws Fault unreadable-secret when it was sealed for another purpose, or altered */
  open(sealed: string, purpose: string): Buffer {
    const colon = sealed.indexOf(':')
    const key = this.#keys.get(sealed.slice(0, colon))
    try {
      if (key !== undefined) return decrypt(key, sealed.slice(colon + 1), purpose)
    } catch {
      // Told below without what it holds.
    }
    throw new Fault(`a sealed ${purpose} cannot be opened`, {
      code: 'unreadable-secret',
      remedy: 'It was altered, or belongs to another installation: set it again.',
      exitCode: EX.DATAERR,
    })
  }
}

function wrappingOf(masterKey: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', masterKey, '', 'relevo data keys', KEY_BYTES))
}

/** Whether the data keys of a store open with this master key: their ids, and those that do not. */
export function tryDataKeys(
  masterKey: Uint8Array,
  rows: readonly { readonly id: string; readonly sealed: string }[],
): { readonly opened: readonly string[]; readonly damaged: readonly string[] } {
  const wrapping = wrappingOf(masterKey)
  const opened: string[] = []
  const damaged: string[] = []
  for (const row of rows)
    try {
      decrypt(wrapping, row.sealed, row.id)
      opened.push(row.id)
    } catch {
      damaged.push(row.id)
    }
  return { opened, damaged }
}

function unwrap(wrapping: Uint8Array, { id, sealed }: { readonly id: string; readonly sealed: string }): Buffer {
  try {
    return decrypt(wrapping, sealed, id)
  } catch (error) {
    throw new Fault(`data key ${id} is damaged`, {
      code: 'damaged-store',
      remedy: 'Restore the whole data_dir from a backup; relevo db check tells more.',
      exitCode: EX.DATAERR,
      cause: error,
    })
  }
}

function encrypt(key: Uint8Array, plain: Uint8Array, purpose: string): string {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(purpose))
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([iv, sealed, cipher.getAuthTag()]).toString('base64')
}

function decrypt(key: Uint8Array, text: string, purpose: string): Buffer {
  const bytes = Buffer.from(text, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
    .setAAD(Buffer.from(purpose))
    .setAuthTag(bytes.subarray(-TAG_BYTES))
  return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()])
}
