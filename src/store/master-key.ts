import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { EX, Fault, messageOf } from '#base'
import { syncDirectory } from './sqlite/commit-counter.ts'

export const KEY_BYTES = 32

/** Where the master key is looked for: the given file, else systemd's credential, else `master.key` in the data directory. */
export type KeyPlace = {
  readonly file: string
  readonly credentialFile: string | null
  readonly directory: string
}

export function pathOfKey({ file, credentialFile, directory }: KeyPlace): string {
  return file !== '' ? file : (credentialFile ?? join(directory, 'master.key'))
}

/** Says which key it is, and nothing of it. */
export function fingerprintOf(masterKey: Uint8Array): string {
  return createHash('sha256').update('relevo master key').update(masterKey).digest('hex').slice(0, 16)
}

/** The master key; one in the data directory is made at the first start. @throws Fault bad-master-key */
export function loadMasterKey(place: KeyPlace): Buffer {
  const own = join(place.directory, 'master.key')
  if (pathOfKey(place) === own && !existsSync(own)) {
    if (existsSync(join(place.directory, 'relevo.db')))
      throw keyFault(
        `${own} is missing`,
        'Put the master key back (relevo key recover reads its written form): what is sealed with it, DKIM keys and passwords, cannot be read without it.',
      )
    writeKey(own, randomBytes(KEY_BYTES))
  }
  return readMasterKey(place)
}

/** The master key that is there. @throws Fault bad-master-key */
export function readMasterKey(place: KeyPlace): Buffer {
  const path = pathOfKey(place)
  return readKeyFile(path, path === place.credentialFile)
}

/** @param guarded systemd sees to it that nobody else reads it */
export function readKeyFile(path: string, guarded = false): Buffer {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw keyFault(`${path} cannot be read: ${messageOf(error)}`, 'It must be a file that the user of Relevo can read.')
  }
  if (!guarded && (statSync(path).mode & 0o077) !== 0)
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
export function writeKey(path: string, key: Uint8Array): void {
  writeNew(`${path}.new`, key)
  renameSync(`${path}.new`, path)
  syncDirectory(dirname(path))
}

/** The key that is to follow, beside the one in use until the records are wrapped with it. */
export function nextPath(path: string): string {
  return `${path}.next`
}

export function writeNext(path: string, key: Uint8Array): void {
  try {
    writeKey(nextPath(path), key)
  } catch (error) {
    throw keyFault(
      `the next key cannot be written beside ${path}: ${messageOf(error)}`,
      'Make the key yourself (head -c 32 /dev/urandom | base64), give it with relevo key rotate --new-key-file FILE, and put it where Relevo reads its key before the next start.',
    )
  }
}

export function takeNext(path: string): void {
  renameSync(nextPath(path), path)
  syncDirectory(dirname(path))
}

export function dropNext(path: string): void {
  rmSync(nextPath(path), { force: true })
}

function writeNew(path: string, key: Uint8Array): void {
  rmSync(path, { force: true })
  const fd = openSync(path, 'wx', 0o600)
  try {
    writeSync(fd, `${Buffer.from(key).toString('base64')}\n`)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

export function keyFault(message: string, remedy: string): Fault {
  return new Fault(message, { code: 'bad-master-key', field: 'secrets.master_key_file', remedy, exitCode: EX.CONFIG })
}
