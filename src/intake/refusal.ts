/** Why a message is not taken: what SMTP and HTTP make their answers of. */
export type Refusal = {
  /** SMTP reply code and enhanced status code. */
  readonly code: number
  readonly enhanced: string
  /** A stable name, kebab-case. */
  readonly kind: string
  readonly message: string
  /** What to do about it, `''` when the message says it. */
  readonly remedy: string
  readonly field: string | null
}

export function refusal(
  code: number,
  enhanced: string,
  kind: string,
  message: string,
  field: string | null,
  remedy = '',
): Refusal {
  return { code, enhanced, kind, message, remedy, field }
}

export function refuse(error: Refusal): { readonly ok: false; readonly error: Refusal } {
  return { ok: false, error }
}

export const storeFailed = refusal(
  451,
  '4.3.0',
  'store-failed',
  'the message could not be kept',
  null,
  'try again later',
)
export const storageFull = refusal(
  452,
  '4.3.1',
  'insufficient-storage',
  'not enough disk space',
  null,
  'try again later',
)
export const overloaded = refusal(451, '4.3.2', 'overloaded', 'too much mail waits to be sent', null, 'try again later')
