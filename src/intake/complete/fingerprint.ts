import { createHash } from 'node:crypto'
import { readFields, splitMessage } from '#mail'

/** Differ from try to try although the message is the same: libraries write them anew each time. */
const FRESH = new Set(['date', 'message-id', 'received'])

/**
 * What makes a submission the same as an earlier one under one idempotency key: envelope and content without Received,
 * Date, Message-ID and MIME boundaries. SHA-256, hex.
 */
export function fingerprintOf(reversePath: string, recipients: readonly string[], raw: Buffer): string {
  const hash = createHash('sha256')
  hash.update(JSON.stringify([reversePath, [...recipients].sort()]))
  const { header, body } = splitMessage(raw, true)
  for (const field of readFields(header)) {
    if (FRESH.has(field.name)) continue
    hash.update(withoutBoundary(field.raw))
  }
  hash.update(withoutBoundary(body).replace(/^--.*$/gm, '--'), 'latin1')
  return hash.digest('hex')
}

function withoutBoundary(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/boundary="?[^"\r\n;]{1,200}/gi, 'boundary')
}
