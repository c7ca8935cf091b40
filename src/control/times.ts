import { isoTime } from '#base'

/** Epoch milliseconds as the API shows them: RFC 3339, or null. */
export function time(ms: number | null | undefined): string | null {
  return ms === null || ms === undefined ? null : isoTime(ms)
}
