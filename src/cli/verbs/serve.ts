import {
  type ClockSet,
  EX,
  Fault,
  type Log,
  messageOf,
  openLog,
  type ServiceManager,
  serviceManager,
  steadyClock,
  systemClock,
} from '#base'
import { ConfigFault } from '#config'
import { loadFor } from '../load-config.ts'
import { credentialFile } from '../master-key.ts'
import type { Command, Invocation } from '../verb.ts'
import { versionOfPackage } from '../version-of-package.ts'

/** How long the end waits for whoever reads the log. */
const LAST_LINES_MS = 1000

export const serve: Command = {
  summary: 'Runs the mail server in the foreground.',
  help: 'TERM and INT stop it in good order: sessions and attempts under way may end first. HUP reads the configuration and the certificates again; a bad file leaves the old one running. Without a configuration file it runs in sandbox mode.',
  async run(invocation) {
    const { args, io } = invocation
    const { config, files } = await loadFor(args, io, true)
    const log = await openLog(config.log.level, io.stdout)
    const asked = io.catchSignals()
    await using manager = serviceManager(io, log)
    const { Daemon } = await import('../../daemon.ts')
    const ended = Promise.withResolvers<Fault | null>()
    asked.addEventListener('abort', () => ended.resolve(null))
    if (asked.aborted) ended.resolve(null)
    log.info({ mode: config.mode, files }, 'relevo starts')
    {
      await using daemon = await Daemon.start({
        config,
        clock: steadyClock((set) => tellClockSet(set, log)),
        wallNow: systemClock.now,
        log,
        credentialFile: credentialFile(io.env.CREDENTIALS_DIRECTORY),
        version: versionOfPackage(),
        onFatal: (fault) => ended.resolve(fault),
      }).catch((error: unknown) => {
        throw cannotListen(error) ?? error
      })
      io.onHangup(() => void reload(invocation, (next) => daemon.reload(next), log, manager))
      manager.ready(`${config.mode}: takes mail`)
      manager.watch(() => daemon.answers())
      const fault = await ended.promise
      if (fault !== null) {
        log.error({ error: fault.message, remedy: fault.remedy }, 'relevo cannot go on')
        manager.stopping(fault.message)
        throw fault
      }
      manager.stopping('ends what is under way')
      log.info({ signal: String(asked.reason) }, 'relevo stops')
    }
    log.info({}, 'relevo has stopped')
    await log.end(LAST_LINES_MS)
    return EX.OK
  },
}

/** A clock that was set is an administrator's matter: what goes by it is said, and what it changes here. */
function tellClockSet({ byMs, kind }: ClockSet, log: Log): void {
  const by = { seconds: Math.round(byMs / 1000) }
  if (kind === 'held')
    log.error(by, 'the clock of this machine was set; relevo goes on by its own time, see docs/guide.md, "The clock"')
  else if (kind === 'followed') log.warn(by, 'relevo now follows the time that was set')
  else log.info(by, 'the clock of this machine is right again')
}

/** HUP. Whatever is wrong with the new configuration is told, and the old one goes on. */
async function reload(
  { args, io }: Invocation,
  apply: (next: Awaited<ReturnType<typeof loadFor>>['config']) => readonly string[],
  log: Log,
  manager: ServiceManager,
): Promise<void> {
  manager.reloading()
  try {
    const { config, files } = await loadFor(args, io, true)
    const restart = apply(config)
    log.info({ files }, 'the configuration and the certificates were read again')
    if (restart.length > 0) log.warn({ keys: restart }, 'these changes wait for the next start')
    manager.ready(restart.length > 0 ? `waits for the next start: ${restart.join(', ')}` : `${config.mode}: takes mail`)
  } catch (error) {
    const problems = error instanceof ConfigFault ? error.problems : [{ message: messageOf(error) }]
    log.error({ problems }, 'the new configuration is not used; the old one goes on')
    manager.ready('the new configuration is not used: see the log')
  }
}

/** A port that is taken or forbidden is the operator's matter, not a bug. */
function cannotListen(error: unknown): Fault | null {
  if (!(error instanceof Error) || !('syscall' in error) || !['listen', 'bind'].includes(String(error.syscall)))
    return null
  const { code, address, port } = error as { code?: string; address?: string; port?: number }
  const where = port === undefined ? String(address) : `${address?.includes(':') ? `[${address}]` : address}:${port}`
  if (code === 'EADDRINUSE')
    return new Fault(`cannot listen on ${where}: another program has it`, {
      code: 'address-in-use',
      exitCode: EX.UNAVAILABLE,
      remedy: `See which with: ss -ltnp 'sport = :${port}'; stop it, or give Relevo another address`,
    })
  if (code === 'EACCES')
    return new Fault(`cannot listen on ${where}: ports under 1024 need a privilege`, {
      code: 'forbidden',
      exitCode: EX.NOPERM,
      remedy: 'Start it by systemd, give it CAP_NET_BIND_SERVICE, or set higher ports',
    })
  return new Fault(`cannot listen on ${where}: ${error.message}`, {
    code: 'cannot-listen',
    exitCode: EX.UNAVAILABLE,
    remedy: 'Give addresses that this host has',
  })
}
