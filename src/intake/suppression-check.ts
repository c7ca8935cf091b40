/** What intake needs to know of the suppression list; the list itself is another room's. */
export interface SuppressionCheck {
  /** The entry that forbids writing to `address` (any case) for this sending domain, or null. */
  check(
    address: string,
    purpose: { readonly sendingDomain: string; readonly category?: string | null },
  ): Promise<SuppressionEntry | null>
}

export type SuppressionEntry = {
  readonly reason: string
  /** Class of the reply that led here, `''` for manual entries. */
  readonly class: string
  readonly detail: string
  /** Since when. */
  readonly firstMs: number
}

/** One line for people: `is suppressed since 2026-11-01: hard-bounce (user-unknown); lift it with …`. */
export function suppressionText(address: string, entry: SuppressionEntry): string {
  const why = entry.class === '' ? entry.reason : `${entry.reason} (${entry.class})`
  const since = new Date(entry.firstMs).toISOString().slice(0, 10)
  return `<${address}> is suppressed since ${since}: ${why}; lift it with relevo suppress remove ${address}`
}
