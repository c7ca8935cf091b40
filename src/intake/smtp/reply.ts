/** An answer to a command: `text` begins with the enhanced status code (RFC 3463) where one belongs. */
export type Reply = {
  readonly code: number
  readonly text: string
  /** The session ends after it. */
  readonly close?: boolean
  /** Nothing the client did wrong: it does not count towards the end of the session. */
  readonly harmless?: boolean
}
