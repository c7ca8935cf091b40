import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import type { Finding } from './check.ts'
import { fingerprintOf } from './master-key.ts'
import { DATABASE } from './sqlite/open-file.ts'
import { FINGERPRINT, tryDataKeys } from './vault.ts'

/** Whether a master key is the one that a store was sealed with, and opens its data keys. May run beside the daemon. */
export function checkKey(directory: string, masterKey: Uint8Array): readonly Finding[] {
  const fingerprint = fingerprintOf(masterKey)
  const path = join(directory, DATABASE)
  if (!existsSync(path)) return [{ check: 'key', ok: true, detail: `${fingerprint}; there is no store yet` }]
  const db = new Sqlite(path, { readonly: true, fileMustExist: true })
  try {
    const row = db.prepare('SELECT value FROM settings WHERE name = ?').get(FINGERPRINT) as
      | { value: string }
      | undefined
    if (row !== undefined && row.value !== fingerprint)
      return [
        {
          check: 'key',
          ok: false,
          detail: `this key is ${fingerprint}, the store was sealed with ${row.value}`,
          remedy: `Give the key ${row.value}; relevo key recover reads its written form`,
        },
      ]
    const keys = db.prepare('SELECT id, sealed FROM data_keys').all() as { id: string; sealed: string }[]
    const { opened, damaged } = tryDataKeys(masterKey, keys)
    return [
      { check: 'key', ok: true, detail: fingerprint },
      damaged.length === 0
        ? { check: 'data keys', ok: true, detail: `${opened.length} opened` }
        : {
            check: 'data keys',
            ok: false,
            detail: `${damaged.length} of ${keys.length} cannot be opened: ${damaged.join(', ')}`,
            remedy: 'Restore the whole data_dir from a backup',
          },
    ]
  } finally {
    db.close()
  }
}
