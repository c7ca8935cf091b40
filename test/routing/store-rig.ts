import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#base'
import { loadMasterKey, openDatabase, Records, type StoreModule, Vault } from '#store'

/** A store in a directory of its own, with records and vault; gone with the test. */
export async function openStore(
  t: { teardown(fn: () => Promise<void>): void },
  modules: readonly StoreModule[] = [],
  directory = mkdtempSync(join(tmpdir(), 'relevo-test-')),
) {
  const masterKey = loadMasterKey({ file: '', credentialFile: null, directory })
  const database = await openDatabase({ directory, modules })
  const records = new Records(database)
  const vault = await Vault.open(records, masterKey, systemClock)
  let closed = false
  const close = async (): Promise<void> => {
    if (!closed) await database[Symbol.asyncDispose]()
    closed = true
  }
  t.teardown(async () => {
    await close()
    rmSync(directory, { recursive: true, force: true })
  })
  return { directory, database, records, vault, close }
}
