import type { Writable } from 'node:stream'
import { LogStream } from './log-stream.ts'

export type Fields = Readonly<Record<string, unknown>>

/** Constant message, data in the object; secrets and bodies never. */
export interface Log {
  debug(fields: Fields, message: string): void
  info(fields: Fields, message: string): void
  warn(fields: Fields, message: string): void
  error(fields: Fields, message: string): void
  child(fields: Fields): Log
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** Names whose values are masked wherever they stand, one and two levels deep. */
const SECRET = ['password', 'secret', 'token', 'authorization', 'api_key', 'privateKey', 'private_key']

/** A log that can be waited for at the end. */
export type OpenLog = Log & { readonly end: (withinMs: number) => Promise<void> }

/**
 * JSON lines on the given stream, time as RFC 3339. A reader that stopped reading, or went away, costs lines and never
 * the process's time. pino is loaded here, so that threads that do not log pay nothing.
 */
export async function openLog(level: LogLevel, to: Writable): Promise<OpenLog> {
  const { pino } = await import('pino')
  const stream = new LogStream(to)
  const log = pino(
    {
      level,
      base: null,
      messageKey: 'msg',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET.flatMap((name) => [name, `*.${name}`]), censor: '[masked]' },
    },
    stream,
  ) as Log
  return Object.assign(log, { end: (withinMs: number) => stream.end(withinMs) })
}

export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
}
