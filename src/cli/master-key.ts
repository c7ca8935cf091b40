import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '#config'
import type { KeyPlace } from '#store'
import type { Invocation } from './verb.ts'

const CREDENTIAL = 'relevo-master-key'

/** The file of systemd's credential, where the command runs with it. */
export function credentialFile(directory: string | undefined): string | null {
  const path = join(directory ?? '', CREDENTIAL)
  return directory !== undefined && existsSync(path) ? path : null
}

/** Where this command finds the master key: --key-file, else where the daemon would. */
export function keyPlaceOf({ args, io }: Invocation, config: Config): KeyPlace {
  const given = args.text('key-file')
  return {
    file: given ?? config.secrets.master_key_file,
    credentialFile: credentialFile(io.env.CREDENTIALS_DIRECTORY),
    directory: config.data_dir,
  }
}
