import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const MEMORY = '/dev/shm'

export interface TempDir extends AsyncDisposable {
  readonly path: string
  /** A path inside it. */
  join(...parts: readonly string[]): string
}

/** A directory of the test's own; gone when it is disposed of. `in memory`: where a sync costs nothing, if there is such a place. */
export async function tempDir(where: 'on disk' | 'in memory' = 'on disk'): Promise<TempDir> {
  const base = where === 'in memory' && existsSync(MEMORY) ? MEMORY : tmpdir()
  const path = await mkdtemp(join(base, 'relevo-test-'))
  return {
    path,
    join: (...parts) => join(path, ...parts),
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}
