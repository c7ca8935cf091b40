import type { Config } from '#config'
import type { AskServer, NameServer } from '#domains'
import type { LocalApi } from '../local-api.ts'

/** One thing that was looked at. `skipped`: it could not or need not be looked at, and the message says why. */
export type Check = {
  readonly area:
    | 'daemon'
    | 'ports'
    | 'outbound'
    | 'dns'
    | 'names'
    | 'tls'
    | 'disk'
    | 'clock'
    | 'limits'
    | 'blocklists'
    | 'domains'
  readonly level: 'ok' | 'warn' | 'fail' | 'skipped'
  readonly message: string
  /** What to do; empty where nothing is to be done. */
  readonly remedy: string
}

/** What the checks look at. */
export type Patient = {
  readonly config: Config
  /** The daemon's answer to /status; null: it is not running. */
  readonly status: DaemonStatus | null
  readonly api: LocalApi
  readonly nowMs: number
  readonly ask: AskServer
  readonly resolvers: readonly NameServer[]
  /** Hosts that port 25 is tried at; empty: the MX hosts of large mailbox providers. */
  readonly probes: readonly string[]
}

export type DaemonStatus = {
  readonly ready: boolean
  readonly mode: string
  readonly problems: readonly string[]
  readonly version: string
}

export const good = (area: Check['area'], message: string): Check => ({ area, level: 'ok', message, remedy: '' })
export const skipped = (area: Check['area'], message: string): Check => ({
  area,
  level: 'skipped',
  message,
  remedy: '',
})
export const bad = (area: Check['area'], level: 'warn' | 'fail', message: string, remedy: string): Check => ({
  area,
  level,
  message,
  remedy,
})
