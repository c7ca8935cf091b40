import { messageOf } from './fault.ts'
import type { Log } from './log.ts'

/** The process as the service manager knows it. */
export type ManagedProcess = {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly pid: number
  /** CLOCK_MONOTONIC, nanoseconds. */
  monotonicNs(): bigint
}

/** What a daemon tells whoever started it: sd_notify(3). Without NOTIFY_SOCKET nobody is told, and nothing is run. */
export interface ServiceManager extends AsyncDisposable {
  /** Mail is taken. */
  ready(status: string): void
  /** A reload has begun; `ready` ends it. */
  reloading(): void
  /** Ends the watch as well. */
  stopping(status: string): void
  /**
   * Where a watchdog is asked for: tells of life each time `answers` resolves, with the line it resolves to, and asks again a
   * third of the allowed time later. While it does not answer, or this thread does not run, nothing is told.
   */
  watch(answers: () => Promise<string>): void
}

/** Node has no datagram sockets of the unix kind. A helper that does not come to its end is ended. */
const HELPER = 'systemd-notify'
const HELPER_MS = 5000
const LAST_WORDS_MS = 1000
const ASKED_IN_TIME = 3

const nobody: ServiceManager = {
  ready() {},
  reloading() {},
  stopping() {},
  watch() {},
  async [Symbol.asyncDispose]() {},
}

/** @param helper the program that sends; another one in tests of its failure */
export function serviceManager(managed: ManagedProcess, log: Log, helper: string = HELPER): ServiceManager {
  const socket = managed.env.NOTIFY_SOCKET ?? ''
  if (socket === '') return nobody
  // The helper is given nothing but what it needs: the environment may hold secrets.
  const env = { NOTIFY_SOCKET: socket, PATH: managed.env.PATH ?? '/usr/bin:/bin' }
  let last: Promise<void> = Promise.resolve()
  let failing = false

  const send = async (state: readonly string[]): Promise<void> => {
    const { execFile } = await import('node:child_process')
    const error = await new Promise<Error | null>((resolve) => {
      execFile(helper, [...state], { env, timeout: HELPER_MS, killSignal: 'SIGKILL' }, resolve)
    })
    if (error !== null && !failing) log.error({ error: error.message }, 'the service manager cannot be told')
    failing = error !== null
  }
  /** In order, one after the other. */
  const tell = (...state: readonly string[]): Promise<void> => {
    last = last.then(() => send(state))
    return last
  }

  let timer: NodeJS.Timeout | undefined
  let ended = false
  const endWatch = (): void => {
    ended = true
    clearTimeout(timer)
  }
  return {
    ready: (status) => void tell('READY=1', statusLine(status)),
    reloading: () => void tell('RELOADING=1', `MONOTONIC_USEC=${managed.monotonicNs() / 1000n}`),
    stopping(status) {
      endWatch()
      void tell('STOPPING=1', statusLine(status))
    },
    watch(answers) {
      const everyMs = watchdogMs(managed) / ASKED_IN_TIME
      if (everyMs === 0) return
      const look = async (): Promise<void> => {
        await answers().then(
          (status) => (ended ? undefined : tell('WATCHDOG=1', statusLine(status))),
          (error: unknown) => log.error({ error: messageOf(error) }, 'the watchdog got no answer'),
        )
        if (!ended) timer = setTimeout(() => void look(), everyMs)
      }
      timer = setTimeout(() => void look(), everyMs)
    },
    /** All was told, or a second has passed. */
    async [Symbol.asyncDispose]() {
      endWatch()
      let late: NodeJS.Timeout | undefined
      const enough = new Promise<void>((resolve) => {
        late = setTimeout(resolve, LAST_WORDS_MS)
      })
      await Promise.race([last, enough])
      clearTimeout(late)
    },
  }
}

/** A state ends at the end of its line. */
function statusLine(status: string): string {
  return `STATUS=${status.replaceAll(/\s+/g, ' ')}`
}

/** The time allowed between two signs of life, 0 for no watchdog. What is meant for another process is not heeded. */
function watchdogMs({ env, pid }: ManagedProcess): number {
  const microseconds = Number(env.WATCHDOG_USEC)
  const ours = env.WATCHDOG_PID === undefined || Number(env.WATCHDOG_PID) === pid
  return ours && Number.isSafeInteger(microseconds) && microseconds > 0 ? microseconds / 1000 : 0
}
