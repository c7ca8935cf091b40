import type { Result } from '#base'
import { type CompletedMessage, type CompleteOptions, completeMessage, type MessageError } from '#mail'
import { fingerprintOf } from './fingerprint.ts'

export type CompleteJob = {
  readonly raw: Buffer
  readonly options: CompleteOptions
  readonly reversePath: string
  readonly recipients: readonly string[]
}

/** `fingerprint`: of a message with an idempotency key in its control headers, else null. */
export type CompleteResult = Result<
  { readonly completed: CompletedMessage; readonly fingerprint: string | null },
  MessageError
>

/** All that looks at every byte of a message. */
export function completeJob({ raw, options, reversePath, recipients }: CompleteJob): CompleteResult {
  const result = completeMessage(raw, options)
  if (!result.ok) return result
  const completed = result.value
  const keyed = completed.control.idempotencyKey !== null
  const fingerprint = keyed ? fingerprintOf(reversePath, recipients, raw) : null
  return { ok: true, value: { completed, fingerprint } }
}
