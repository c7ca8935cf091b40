import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LocalApi } from '../../scripts/quickstart/local-api.ts'

/** Where scripts/test.sh gathers what all daemons of the suite printed, and the secrets they had; unset when a test runs alone. */
const directory = process.env.RELEVO_SUITE_OUTPUT ?? ''

/** A secret that no output may have: scripts/test.sh looks for it in all there is. */
export function plant(secret: unknown): void {
  if (directory !== '' && typeof secret === 'string' && secret.length >= 12)
    appendFileSync(join(directory, 'secrets'), `${secret}\n`)
}

/** What a daemon printed while it ran, and its master key. */
export function gather(output: string, dataDirectory: string): void {
  if (directory === '') return
  appendFileSync(join(directory, 'output'), output)
  try {
    plant(readFileSync(join(dataDirectory, 'master.key'), 'utf8').trim())
  } catch {
    // It never had one.
  }
}

/** The local API; passwords and tokens that pass are planted. */
export class PlantingApi extends LocalApi {
  override async post<T>(path: string, body?: unknown): Promise<T> {
    const answer = await super.post<T>(path, body)
    for (const from of [body, answer] as readonly unknown[])
      if (typeof from === 'object' && from !== null)
        for (const name of ['password', 'token'] as const) plant((from as Record<string, unknown>)[name])
    return answer
  }
}
