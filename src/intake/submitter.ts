import type { Address } from '#mail'

/** Who hands in mail, and what it may do. */
export type Submitter = {
  /** `smtp:<username>`, `token:<id>`, `trusted:<address>`, `local:sendmail`. */
  readonly name: string
  /**
   * What it may send as: sending domains (`example.com`), full addresses (`shop@example.com`), `*` for every sending
   * domain of this server, `<>` for the null reverse-path.
   */
  readonly allowed: readonly string[]
  readonly defaultTags: readonly string[]
  /** Messages an hour; 0: no limit of its own. */
  readonly ratePerHour: number
  /** False once it was revoked or has expired; asked at each message of a standing session. */
  valid(): boolean
}

/** The first of these texts that cannot be what it is meant for: it has a control character, or is empty. */
export function oddText(texts: readonly string[]): string | null {
  return texts.find((text) => !/^[^\u0000-\u001f\u007f]{1,320}$/.test(text)) ?? null
}

export function maySendAs(submitter: Submitter, address: Pick<Address, 'domain' | 'text'>): boolean {
  const text = address.text.toLowerCase()
  return submitter.allowed.some((entry) => entry === '*' || entry === address.domain || entry.toLowerCase() === text)
}

export function mayUseNullSender(submitter: Submitter): boolean {
  return submitter.allowed.includes('<>')
}
