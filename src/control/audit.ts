import type { FastifyRequest } from 'fastify'
import type { Clock } from '#base'
import type { Records } from '#store'
import { identityOf } from './identity.ts'

export type Audit = (
  request: FastifyRequest,
  action: string,
  target: string,
  change?: { readonly before?: unknown; readonly after?: unknown },
) => Promise<void>

/** Every write leaves an entry: who, from where, what changed. Callers give no secrets. */
export function makeAudit(records: Records, clock: Clock): Audit {
  return async function audit(request, action, target, change = {}) {
    const text = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value))
    await records.write(
      records.query.insertInto('audit').values({
        at_ms: clock.now(),
        actor: identityOf(request).actor,
        client_address: request.ip ?? '',
        action,
        target,
        before: text(change.before),
        after: text(change.after),
      }),
    )
  }
}
