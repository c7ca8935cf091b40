import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, EX, Fault, newId } from '#base'
import type { Records } from './records/records.ts'
import { syncDirectory } from './sqlite/commit-counter.ts'

const KEY_BYTES = 32
const IV_BYTES = 12
const TAG_BYTES = 16
const FINGERPRINT = 'master-key-fingerprint'

/**
 * Reads the master key: the given file, else the file that systemd passes as a credential, else `master.key` in the data
 * directory, which is made at the first start.
 */
export function loadMasterKey(options: {
  readonly file: string
  readonly credentialFile: string | null
  readonly directory: string
}): Buffer {
  const own = join(options.directory, 'master.key')
  const path = options.file !== '' ? options.file : (options.credentialFile ?? own)
  if (path === own && !existsSync(own)) {
    if (existsSync(join(options.directory, 'relevo.db')))
      throw keyFault(
        `${own} is missing`,
        'Put the master key back: what is sealed with it (DKIM keys, passwords) cannot be read without it.',
      )
    makeKey(own, options.directory)
  }
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw keyFault(
      `${path} cannot be read: ${(error as Error).message}`,
      'It must be a file that the user of Relevo can read.',
    )
  }
  if (path !== options.credentialFile && (statSync(path).mode & 0o077) !== 0)
    throw keyFault(`${path} can be read by others`, `Run: chmod 600 ${path}`)
  const key = Buffer.from(text, 'base64')
  if (key.length !== KEY_BYTES)
    throw keyFault(
      `${path} does not hold ${KEY_BYTES} bytes in base64`,
      'Make one with: head -c 32 /dev/urandom | base64',
    )
  return key
}

/** Whole or not at all, and on the disk before anything is sealed with it: without it, what it sealed is lost. */
function makeKey(path: string, directory: string): void {
  const fd = openSync(`${path}.new`, 'w', 0o600)
  try {
    writeSync(fd, `${randomBytes(KEY_BYTES).toString('base64')}\n`)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(`${path}.new`, path)
  syncDirectory(directory)
}

/** Seals what is secret at rest: the master key wraps data keys, a data key seals values (AES-256-GCM). */
export class Vault {
  readonly #keys: ReadonlyMap<string, Buffer>
  readonly #current: string
  readonly fingerprint: string

  private constructor(keys: ReadonlyMap<string, Buffer>, current: string, fingerprint: string) {
    this.#keys = keys
    this.#current = current
    this.fingerprint = fingerprint
  }

  /** @throws Fault wrong-master-key when the records were sealed under another */
  static async open(records: Records, masterKey: Buffer, clock: Clock): Promise<Vault> {
    const { query } = records
    const fingerprint = createHash('sha256').update('relevo master key').update(masterKey).digest('hex').slice(0, 16)
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
    const wrapping = Buffer.from(hkdfSync('sha256', masterKey, '', 'relevo data keys', KEY_BYTES))
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

function keyFault(message: string, remedy: string): Fault {
  return new Fault(message, { code: 'bad-master-key', field: 'secrets.master_key_file', remedy, exitCode: EX.CONFIG })
}
