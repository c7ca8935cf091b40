import { join, resolve } from 'node:path'
import { type Loaded, load } from '#config'
import type { Args } from './args.ts'
import { LocalApi } from './local-api.ts'
import type { Io } from './verb.ts'

/**
 * The configuration that --config, RELEVO_CONFIG, RELEVO__… and --set name.
 * @param withFiles whether the files named in it are opened and checked too
 */
export async function loadFor(args: Args, io: Io, withFiles: boolean): Promise<Loaded> {
  const file = args.text('config') ?? io.env.RELEVO_CONFIG
  return load({
    ...(file === undefined || file === '' ? {} : { file: resolve(io.cwd, file) }),
    env: io.env,
    flags: args.texts('set'),
    directory: io.cwd,
    withFiles,
  })
}

/** The daemon's local API: --socket, else RELEVO_SOCKET, else where the configuration says. */
export async function connect(args: Args, io: Io): Promise<LocalApi> {
  const given = args.text('socket') ?? io.env.RELEVO_SOCKET
  if (given !== undefined && given !== '') return new LocalApi(resolve(io.cwd, given))
  const { config } = await loadFor(args, io, false)
  return new LocalApi(config.control.socket === '' ? join(config.data_dir, 'control.sock') : config.control.socket)
}
