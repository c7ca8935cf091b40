import type { Claim, Priority, Settlement } from '#queue'
import type { RecipientResult } from './contract.ts'
import type { Resolved } from './direct/destinations.ts'
import { NOTHING_PUBLISHED } from './direct/tls-policy.ts'
import type { DispatcherOptions } from './dispatcher.ts'
import { Lane, type LaneParts, type LaneStart } from './lane.ts'

type Refused = Extract<Resolved, { kind: 'refused' }>

/** Claims that are concluded in one commit. */
const TOGETHER = 50

/**
 * The DNS says that the domain takes no mail, for ever: each due recipient ends with that reason, except sandbox mail, which
 * goes to the sink whatever the DNS says, and mail that asks for a relay, which asks the DNS itself.
 */
export async function endWithoutHosts(domain: string, refused: Refused, parts: LaneParts): Promise<void> {
  const { queue, maxRecipients, signer } = parts.options
  while (!parts.stopping()) {
    const claims = (
      await Promise.all(Array.from({ length: TOGETHER }, () => queue.claim(domain, maxRecipients)))
    ).flat()
    if (claims.length === 0) return
    const settlements: Settlement[] = []
    for (const claim of claims) settlements.push(...(await endOne(claim, refused, parts)))
    if (settlements.length > 0) await queue.settle(settlements)
    for (const { messageId } of settlements) signer.forget(messageId)
  }
}

async function endOne(claim: Claim, refused: Refused, parts: LaneParts): Promise<readonly Settlement[]> {
  const { concluder, sandbox, clock, router } = parts.options
  const nowMs = clock.now()
  const { message, recipients } = claim
  const provider = { id: 'own', name: 'own', kind: 'own' as const }
  if (message.expiresMs <= nowMs) {
    const context = { trace: null, provider, nowMs, counters: [] }
    return Promise.all(recipients.map((recipient) => concluder.expire(claim, recipient, context)))
  }
  const caged = message.sandbox && sandbox === null
  if (caged || !router.wantsMx({ priority: message.priority, preferred: message.route })) {
    const start = relayedStart(recipients[0]!.domain, message.priority, parts.options)
    await new Lane(start, parts).carry(claim)
    return []
  }
  const trace = {
    ...{ startedMs: nowMs, endedMs: nowMs, source: '', remoteHost: '', remoteAddress: '', tls: '', transcript: null },
  }
  const { status, reason } = refused
  const result: RecipientResult = { kind: 'refused', stage: 'dns', reply: null, reason, status }
  const context = { trace, provider, nowMs, counters: [] }
  const settlements: Settlement[] = []
  for (const recipient of recipients) settlements.push(await concluder.conclude(claim, recipient, result, context))
  return settlements
}

/** A lane that needs no hosts of the domain. */
export function relayedStart(domain: string, priority: Priority, options: DispatcherOptions): LaneStart {
  const mailboxProvider = options.mailboxProviderOf(domain)
  return {
    ...{ domain, priority, place: null, messagesPerConnection: options.config.messages_per_connection },
    destination: { domain, hosts: [], site: 'by relay', mailboxProvider, tls: NOTHING_PUBLISHED },
  }
}
