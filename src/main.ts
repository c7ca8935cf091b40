import { enableCompileCache } from 'node:module'
import { join } from 'node:path'

// The cache holds code that runs: it lies in the user's own directory, never in a shared /tmp.
const cache = process.env.XDG_CACHE_HOME ?? (process.env.HOME ? join(process.env.HOME, '.cache') : '')
if (cache !== '') enableCompileCache(join(cache, 'relevo'))

const { run } = await import('./cli/run.ts')

// A reader that has seen enough (`relevo queue list | head`) ends the command quietly; a daemon goes on without its reader.
let goesOn = false
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (goesOn) return
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

const stop = new AbortController()
process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  pid: process.pid,
  monotonicNs: () => process.hrtime.bigint(),
  cwd: process.cwd(),
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  /** Only a command that can end in good order catches the signals; all others end at once, as a command should. */
  catchSignals() {
    goesOn = true
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort(name))
    return stop.signal
  },
  onHangup(listener) {
    process.on('SIGHUP', listener)
  },
})

// Lines of the log that nobody reads would keep the process alive.
if (goesOn && process.stdout.writableLength > 0) process.exit()
