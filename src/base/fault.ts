/** Exit codes of sysexits.h, as the commands use them. */
export const EX = {
  OK: 0,
  FAILURE: 1,
  USAGE: 64,
  DATAERR: 65,
  NOINPUT: 66,
  NOUSER: 67,
  UNAVAILABLE: 69,
  SOFTWARE: 70,
  OSERR: 71,
  CANTCREAT: 73,
  IOERR: 74,
  TEMPFAIL: 75,
  NOPERM: 77,
  CONFIG: 78,
} as const

export type FaultDetail = {
  /** What to do next, as one sentence. */
  readonly remedy?: string
  /** The field, key or argument at fault, when there is one. */
  readonly field?: string
  /** What the process exits with when nobody handles it. */
  readonly exitCode?: number
  /** A stable name for programs, kebab-case (`second-instance`, `damaged-store`). */
  readonly code?: string
  readonly cause?: unknown
}

/** A failure that a person can act on: says what, where and what to do. Anything else thrown is a bug. */
export class Fault extends Error {
  readonly remedy: string | undefined
  readonly field: string | undefined
  readonly exitCode: number
  readonly code: string

  constructor(message: string, detail: FaultDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.name = 'Fault'
    this.remedy = detail.remedy
    this.field = detail.field
    this.exitCode = detail.exitCode ?? EX.FAILURE
    this.code = detail.code ?? 'fault'
  }
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Whether the machine failed (no descriptors, no room, a disk or SQLite error), not what was asked for nor the program. */
export function isMachineError(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' && (/^(?!ERR_)E[A-Z0-9]+$/.test(code) || code.startsWith('SQLITE_'))
}
