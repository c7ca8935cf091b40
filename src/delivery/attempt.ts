import type { Clock } from '#base'
import { type Claim, type ClaimedRecipient, DamagedContent, type Queue, type Settlement } from '#queue'
import type { RouteReport, Router } from '#routing'
import type { Cage, Carrier, Carry, Opened } from './carry.ts'
import type { Destination, ProviderRef, RecipientResult, TryTrace } from './contract.ts'
import type { Signer } from './sign.ts'
import type { ConnectFailure } from './smtp-client/contract.ts'

/** What concludes a result (feedback); declared here so that delivery imports no later stage. */
export type ConcludeContext = {
  readonly trace: TryTrace | null
  readonly provider: ProviderRef
  readonly nowMs: number
  readonly counters: Carry['counters']
}
export interface Concluder {
  conclude(
    claim: Claim,
    recipient: ClaimedRecipient,
    result: RecipientResult,
    context: ConcludeContext,
  ): Settlement | Promise<Settlement>
  expire(claim: Claim, recipient: ClaimedRecipient, context: ConcludeContext): Promise<Settlement>
  /** The class of a result, for routing. */
  classOf(result: RecipientResult): string
}

/** The entry that forbids writing to an address, as far as an attempt needs it. */
export interface SendTimeSuppression {
  check(
    address: string,
    purpose: { readonly sendingDomain: string; readonly category: string | null },
  ): Promise<{ readonly reason: string; readonly detail: string } | null>
}

export type AttemptParts = {
  readonly queue: Queue
  readonly signer: Signer
  readonly carrier: Carrier
  readonly router: Router
  readonly concluder: Concluder
  readonly suppression: SendTimeSuppression
  readonly clock: Clock
  /** MAIL FROM on the wire: the token of this recipient (or message), or the submitted reverse-path. */
  returnPathFor(claim: Claim): string
}

/** What an attempt leaves: what is to be committed, and the connection for the next one. */
export type Attempted = {
  readonly settlements: readonly Settlement[]
  readonly opened: Opened | null
  /** No connection came about: the site should rest. */
  readonly unreachable: boolean
}

const SINK: ProviderRef = { id: 'sink', name: 'sandbox', kind: 'sink' }

/**
 * One attempt for the recipients of one claim, from the last checks to what is to be settled.
 * @param held the connection of the attempt before, used again when it leads to the same peers
 */
export async function attempt(
  claim: Claim,
  decision: Carry,
  destination: Destination,
  cage: Cage | null,
  messagesPerConnection: number,
  held: Opened | null,
  parts: AttemptParts,
  signal: AbortSignal,
): Promise<Attempted> {
  const { clock, queue, signer, carrier } = parts
  const startedMs = clock.now()
  const settlements: Settlement[] = []
  const recipients: ClaimedRecipient[] = []
  for (const recipient of claim.recipients) {
    const entry = await parts.suppression.check(recipient.address, {
      sendingDomain: claim.message.sendingDomain,
      category: claim.message.category,
    })
    if (entry === null) recipients.push(recipient)
    else
      settlements.push(
        await parts.concluder.conclude(
          claim,
          recipient,
          { kind: 'suppressed', ...entry },
          contextOf(decision, null, startedMs),
        ),
      )
  }
  if (recipients.length === 0) {
    parts.router.release(decision)
    return { settlements, opened: held, unreachable: false }
  }
  let content: Buffer
  try {
    content = await queue.content(claim.message.id)
  } catch (error) {
    if (!(error instanceof DamagedContent)) throw error
    // The queue has put its recipients on hold and says why.
    parts.router.release(decision)
    return { settlements, opened: held, unreachable: false }
  }
  const signature = await signer.signatureOf({ ...claim.message, content })
  const connected = held
    ? { ok: true as const, opened: held }
    : await carrier.open(decision, destination, cage, messagesPerConnection, signal)
  if (!connected.ok) {
    const { failure, host, address } = connected
    const trace = traceOf(startedMs, clock.now(), '', host, address, '', failure.transcript)
    for (const recipient of recipients) {
      const result = notConnected(failure, decision)
      settlements.push(
        await parts.concluder.conclude(claim, recipient, result, contextOf(decision, trace, clock.now(), cage)),
      )
      parts.router.report(
        reportOf(decision, destination, result, parts.concluder, failure.stage, clock.now() - startedMs),
      )
    }
    return { settlements, opened: null, unreachable: true }
  }
  const { opened } = connected
  const { connection } = opened
  const { results, transcript } = await connection.send({
    reversePath: parts.returnPathFor(claim),
    recipients,
    content: [signature, content],
    size: signature.length + content.length,
    smtpUtf8: claim.message.smtpUtf8,
    envelopeId: claim.message.envelopeId,
    ret: claim.message.ret,
  })
  const endedMs = clock.now()
  const trace = traceOf(
    startedMs,
    endedMs,
    connection.source,
    connection.host,
    connection.address,
    connection.tls,
    transcript,
  )
  for (const [i, recipient] of recipients.entries()) {
    const result = results[i]!
    settlements.push(
      await parts.concluder.conclude(claim, recipient, result, contextOf(decision, trace, endedMs, cage)),
    )
    const stage = 'stage' in result ? result.stage : ''
    parts.router.report(reportOf(decision, destination, result, parts.concluder, stage, endedMs - startedMs))
  }
  return { settlements, opened, unreachable: false }
}

/** Nothing was said about the message; a greeting that refuses us is an answer all the same, when it came from an MX. */
function notConnected(failure: ConnectFailure, decision: Carry): Extract<RecipientResult, { kind: 'deferred' }> {
  const answered = failure.reply !== null && decision.provider.kind === 'own'
  return {
    kind: 'deferred',
    stage: failure.stage,
    reply: failure.reply,
    reason: failure.reason,
    // RFC 3463 §3.5: no answer from host; bad connection
    status: failure.reply?.enhanced ?? (failure.stage === 'connect' ? '4.4.1' : '4.4.2'),
    infrastructure: !answered,
  }
}

function contextOf(decision: Carry, trace: TryTrace | null, nowMs: number, cage: Cage | null = null): ConcludeContext {
  const provider = cage !== null && decision.provider.kind === 'own' ? SINK : decision.provider
  return { trace, provider, nowMs, counters: decision.counters }
}

function traceOf(
  startedMs: number,
  endedMs: number,
  source: string,
  remoteHost: string,
  remoteAddress: string,
  tls: string,
  transcript: string,
): TryTrace {
  return { startedMs, endedMs, source, remoteHost, remoteAddress, tls, transcript }
}

function reportOf(
  decision: Carry,
  destination: Destination,
  result: RecipientResult,
  concluder: Concluder,
  stage: string,
  durationMs: number,
): RouteReport {
  return {
    providerId: decision.provider.id,
    source: decision.source?.address ?? '',
    mailboxProvider: decision.mailboxProvider,
    site: destination.site,
    probe: decision.probe,
    result:
      result.kind === 'deferred' && result.infrastructure
        ? 'infrastructure'
        : result.kind === 'suppressed'
          ? 'refused'
          : result.kind,
    class: result.kind === 'delivered' ? '' : concluder.classOf(result),
    stage,
    durationMs,
  }
}
