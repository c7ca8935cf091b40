import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EX, Fault, messageOf } from '#base'

export const MANIFEST = 'manifest.json'
const FORMAT = 1

export type BackupFile = { readonly name: string; readonly bytes: number; readonly sha256: string }

/** What a backup holds. The master key is not in it, only by which one its secrets can be read. */
export type Manifest = {
  readonly format: number
  /** Version of Relevo that made it. */
  readonly relevo: string
  /** RFC 3339. */
  readonly created_at: string
  readonly master_key_fingerprint: string | null
  /** Version of each room's tables. */
  readonly schema: Readonly<Record<string, number>>
  readonly commits: number
  readonly counts: Readonly<Record<string, number>>
  readonly files: readonly BackupFile[]
}

/** Only these may be named: a manifest comes from outside. */
const FILE_NAME = /^(relevo\.db|relevo\.commits|segments\/\d{8}\.seg)$/

export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify({ ...manifest, sha256: digest(manifest) }, null, 2)}\n`
}

/** @throws Fault not-a-backup, damaged-backup, newer-backup */
export function readManifest(source: string): Manifest {
  const path = join(source, MANIFEST)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new Fault(`${source} is not a finished backup: ${messageOf(error)}`, {
      code: 'not-a-backup',
      exitCode: EX.NOINPUT,
      remedy: 'Name the directory that relevo db backup wrote; one without a manifest was broken off',
    })
  }
  try {
    const { sha256, ...manifest } = JSON.parse(text) as Manifest & { readonly sha256: string }
    if (typeof manifest.format === 'number' && manifest.format > FORMAT)
      throw new Fault(`${path} is of format ${manifest.format}, this Relevo knows ${FORMAT}`, {
        code: 'newer-backup',
        exitCode: EX.DATAERR,
        remedy: 'Restore it with the newer Relevo that made it',
      })
    if (sha256 !== digest(manifest) || !manifest.files.every(({ name }) => FILE_NAME.test(name)))
      throw damagedBackup(path, 'it does not match its own checksum')
    return manifest
  } catch (error) {
    if (error instanceof Fault) throw error
    throw damagedBackup(path, messageOf(error))
  }
}

export function damagedBackup(path: string, why: string): Fault {
  return new Fault(`the backup is damaged at ${path}: ${why}`, {
    code: 'damaged-backup',
    exitCode: EX.DATAERR,
    remedy: 'Nothing was restored; take another copy of this backup, or an earlier one',
  })
}

function digest(manifest: Manifest): string {
  return createHash('sha256').update(JSON.stringify(manifest)).digest('hex')
}
