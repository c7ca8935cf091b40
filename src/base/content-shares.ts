const MIB = 1_048_576
/** What the process takes before it holds any mail, and what the runtime needs beside it at its busiest. */
const OWN_BYTES = 160 * MIB
/** What it takes with threads for large messages, before the message. */
const BUSY_BYTES = 192 * MIB
/** As it comes in, completed, on its way between threads, and signed: so often a message is in memory at its worst. */
const TIMES_IN_MEMORY = 16
const LEAST_BYTES = 32 * MIB

/** Bytes of message content that may be held at one time, by what it is held for. */
export type ContentShares = {
  /** Being received by SMTP, and as much again by HTTP. */
  readonly submission: number
  readonly inbound: number
  /** Accepted a moment ago, so that it is not read back. */
  readonly cache: number
  /** Large contents that are being sent. */
  readonly delivery: number
  /** One message; a larger one is answered 452. */
  readonly largest: number
}

/**
 * Shares for a process that may use so much memory. From 2 GiB on they are what suits a busy host; below they shrink, so that large
 * messages wait or are answered 452 before the kernel would end the process.
 */
export function contentSharesOf(memoryBytes: number): ContentShares {
  const room = Math.max(LEAST_BYTES, memoryBytes - OWN_BYTES)
  return {
    submission: Math.min(128 * MIB, Math.floor(room / 12)),
    inbound: Math.min(64 * MIB, Math.floor(room / 24)),
    cache: Math.min(64 * MIB, Math.floor(room / 12)),
    largest: Math.max(MIB, Math.floor((memoryBytes - BUSY_BYTES) / TIMES_IN_MEMORY)),
    delivery: Math.min(1024 * MIB, Math.floor(room / 8)),
  }
}
