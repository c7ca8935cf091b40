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

/** JSON lines on the given descriptor (default: standard output), time as RFC 3339. Loaded here, so that threads that do not log pay nothing. */
export async function openLog(level: LogLevel, fd = 1): Promise<Log> {
  const { pino } = await import('pino')
  return pino(
    {
      level,
      base: null,
      messageKey: 'msg',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET.flatMap((name) => [name, `*.${name}`]), censor: '[masked]' },
    },
    pino.destination({ fd, sync: true }),
  ) as Log
}

export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
}
