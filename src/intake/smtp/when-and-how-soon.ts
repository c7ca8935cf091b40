// FUTURERELEASE (RFC 4865) and MT-PRIORITY (RFC 6710): the standard forms of Send-At and Priority.

import type { Priority } from '#queue'

/** The same as of Send-At: a year and a day. Seconds. */
const MAX_HOLD_S = 366 * 86_400
/** RFC 3339 in UTC, as RFC 4865 §4 asks for. */
const DATE_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$/i

/** What EHLO says of both: the longest hold, as seconds and as a time. */
export function keywords(nowMs: number): readonly string[] {
  const latest = new Date(nowMs + MAX_HOLD_S * 1000).toISOString().replace(/\.\d+Z$/, 'Z')
  return [`FUTURERELEASE ${MAX_HOLD_S} ${latest}`, 'MT-PRIORITY']
}

/** HOLDFOR or HOLDUNTIL as the time of release, milliseconds; one that has passed is now. A string is what is wrong. */
export function readHold(name: 'HOLDFOR' | 'HOLDUNTIL', value: string | null, nowMs: number): number | string {
  const text = value ?? ''
  const untilMs =
    name === 'HOLDFOR'
      ? /^[1-9]\d{0,8}$/.test(text)
        ? nowMs + Number(text) * 1000
        : Number.NaN
      : DATE_TIME.test(text)
        ? Date.parse(text)
        : Number.NaN
  if (!Number.isFinite(untilMs))
    return name === 'HOLDFOR'
      ? 'HOLDFOR takes 1 to 999999999 seconds'
      : 'HOLDUNTIL takes a time such as 2026-12-24T18:00:00Z'
  if (untilMs > nowMs + MAX_HOLD_S * 1000) return `${name} is later than the ${MAX_HOLD_S} seconds that are held here`
  return Math.max(untilMs, nowMs)
}

/** RFC 6710 §5: -9 to 9, 0 is normal. Null: not one of them. */
export function readMtPriority(value: string | null): Priority | null {
  if (!/^(0|-?[1-9])$/.test(value ?? '')) return null
  const number = Number(value)
  if (number < 0) return 'low'
  if (number === 0) return 'normal'
  return number < 5 ? 'high' : 'urgent'
}
