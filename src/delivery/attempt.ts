import type { Clock } from '#base'
import { type Claim, type ClaimedRecipient, DamagedContent, type Queue, type Settlement } from '#queue'
import type { RouteReport, Router } from '#routing'
import type { Cage, Carrier, Carry, NotOpened, Opened, OpenResult, Place, TlsFailure } from './carry.ts'
import type { ContentGate } from './content-gate.ts'
import type { Demand, Destination, ProviderRef, RecipientResult, TryTrace } from './contract.ts'
import { back } from './settlements.ts'
import type { Signer } from './sign.ts'
import type { Transaction } from './smtp-client/contract.ts'

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
  /** What large contents may hold of the memory. */
  readonly gate: ContentGate
  /** MAIL FROM on the wire: the token of this recipient (or message), or the submitted reverse-path. */
  returnPathFor(claim: Claim): string
}

/** How the recipients of a claim are to be reached. */
export type Way = {
  readonly decision: Carry
  readonly destination: Destination
  /** Set: sandbox mail, which goes to the sink. */
  readonly cage: Cage | null
  /** What the message asks of the transport. */
  readonly demand: Demand
  readonly messagesPerConnection: number
  /** The connections that this one is counted among. */
  readonly place: Place
  /** False: what comes of it says nothing about the provider (sandbox mail met while live). */
  readonly teaches: boolean
}

/** What an attempt leaves: what is to be committed, and the connection for the next one. */
export type Attempted = {
  readonly settlements: readonly Settlement[]
  readonly opened: Opened | null
  /** No connection came about: the site should rest. `policy`: the domain alone, whose TLS policy was not met. */
  readonly unreachable: false | 'site' | 'policy'
  /** A peer answered about a recipient. */
  readonly answered: boolean
  /** What it answered was "not now" for every recipient. */
  readonly deferred: boolean
  /** And it said so of itself or of us, not of a recipient. */
  readonly hostDeferred: boolean
  /** It was ended from here before anything could be taken: to make room, or because Relevo stops. */
  readonly cutOff: boolean
}

/** What ends an attempt from outside. */
export type Ending = {
  /** Relevo stops: ends whatever is under way. */
  readonly stop: AbortSignal
  /** Runs what opens a connection; the signal it is given ends that, and nothing later. */
  opening(open: (signal: AbortSignal) => Promise<OpenResult>): Promise<OpenResult>
}

const SINK: ProviderRef = { id: 'sink', name: 'sandbox', kind: 'sink' }

/**
 * One attempt for the recipients of one claim, from the last checks to what is to be settled. When it throws, no connection
 * stays open and the decision is still to be released.
 * @param held the connection of the attempt before, used again when it leads to the same peers
 */
export async function attempt(
  claim: Claim,
  way: Way,
  held: Opened | null,
  parts: AttemptParts,
  ending: Ending,
): Promise<Attempted> {
  const leave = await parts.gate.enter(claim.message.size, ending.stop)
  try {
    return await attemptNow(claim, way, held, parts, ending)
  } finally {
    leave()
  }
}

async function attemptNow(
  claim: Claim,
  way: Way,
  held: Opened | null,
  parts: AttemptParts,
  ending: Ending,
): Promise<Attempted> {
  const { carrier, clock } = parts
  let opened = held
  try {
    const { settlements, recipients } = await withoutSuppressed(claim, way, parts)
    const content = recipients.length === 0 ? null : await contentOf(claim, parts)
    if (content === null) {
      parts.router.release(way.decision)
      return { ...NOTHING_DONE, settlements, opened }
    }
    const startedMs = clock.now()
    const signature = await parts.signer.signatureOf({ ...claim.message, content })
    const transaction: Transaction = {
      reversePath: parts.returnPathFor(claim),
      recipients,
      content: [signature, content],
      size: signature.length + content.length,
      smtpUtf8: claim.message.smtpUtf8,
      envelopeId: claim.message.envelopeId,
      ret: claim.message.ret,
      ...(way.cage === null && (way.demand === 'must' || way.demand === 'try') ? { requireTls: way.demand } : {}),
    }
    for (;;) {
      const used = opened !== null
      if (opened === null) {
        const connected = await ending.opening((signal) => carrier.open(way, signal))
        if (!connected.ok) {
          const { failure, host, address } = connected
          if (failure.reason === ABORTED) {
            parts.router.release(way.decision)
            settlements.push(...putBack(claim, recipients, ending, parts))
            return { ...NOTHING_DONE, settlements, cutOff: true }
          }
          const trace = traceOf(startedMs, clock.now(), '', host, address, '', failure)
          const result = notConnected(failure, way.decision)
          for (const recipient of recipients)
            settlements.push(await conclude(claim, recipient, result, way, trace, parts))
          // One connection failed, however many recipients waited for it.
          report([result], failure.stage, trace, way, parts)
          return { ...NOTHING_DONE, settlements, unreachable: blamed(failure, way.demand) }
        }
        opened = connected.opened
      }
      const { connection } = opened
      const sent = await connection.send(transaction)
      // A connection that waited may have been given up by the peer just now: that says nothing, a fresh one tells.
      if ((used || opened.reused) && !ending.stop.aborted && sent.results.every(nothingSaid)) {
        carrier.discard(opened)
        opened = null
        continue
      }
      const { source, host, address, tls } = connection
      const secured = opened.policy === '' || tls === '' ? tls : `${tls} (${opened.policy})`
      const trace = traceOf(startedMs, clock.now(), source, host, address, secured, sent, opened.tlsFailure)
      for (const [i, recipient] of recipients.entries())
        if (!cutOff(sent.results[i]!))
          settlements.push(await conclude(claim, recipient, sent.results[i]!, way, trace, parts))
      const untold = recipients.filter((_, i) => cutOff(sent.results[i]!))
      settlements.push(...putBack(claim, untold, ending, parts))
      report(
        sent.results.filter((result) => !cutOff(result)),
        null,
        trace,
        way,
        parts,
      )
      return {
        ...NOTHING_DONE,
        settlements,
        opened,
        answered: sent.results.some(isAnswer),
        deferred: sent.results.every(isDeferral),
        hostDeferred: sent.results.every(isHostDeferral),
      }
    }
  } catch (error) {
    if (opened !== null) carrier.discard(opened)
    throw error
  }
}

const NOTHING_DONE = {
  opened: null,
  unreachable: false,
  answered: false,
  deferred: false,
  hostDeferred: false,
  cutOff: false,
} as const
const ABORTED = 'aborted'

/** Ended from here before the final dot: nothing was taken, nothing was learned. */
function cutOff(result: RecipientResult): boolean {
  return result.kind === 'deferred' && result.reason === ABORTED
}

function putBack(
  { message }: Claim,
  recipients: readonly ClaimedRecipient[],
  { stop }: Ending,
  { clock }: AttemptParts,
): readonly Settlement[] {
  return back({ message, recipients }, clock.now(), 'ready', stop.aborted ? 'stopped' : 'destination-slow')
}

/** The last look at who must not be written to: an entry may be younger than the message. */
async function withoutSuppressed(claim: Claim, way: Way, parts: AttemptParts) {
  const settlements: Settlement[] = []
  const recipients: ClaimedRecipient[] = []
  const { sendingDomain, category } = claim.message
  for (const recipient of claim.recipients) {
    const entry = await parts.suppression.check(recipient.address, { sendingDomain, category })
    if (entry === null) recipients.push(recipient)
    else settlements.push(await conclude(claim, recipient, { kind: 'suppressed', ...entry }, way, null, parts))
  }
  return { settlements, recipients }
}

/** Null when it is damaged: the queue has then put its recipients on hold and says why. */
async function contentOf(claim: Claim, parts: AttemptParts): Promise<Buffer | null> {
  try {
    return await parts.queue.content(claim.message.id)
  } catch (error) {
    if (error instanceof DamagedContent) return null
    throw error
  }
}

function nothingSaid(result: RecipientResult): boolean {
  return result.kind === 'deferred' && result.infrastructure && result.stage === 'mail'
}

function isDeferral(result: RecipientResult): boolean {
  return result.kind === 'deferred'
}

function isHostDeferral(result: RecipientResult): boolean {
  return result.kind === 'deferred' && result.stage !== 'rcpt'
}

function isAnswer(result: RecipientResult): boolean {
  return (
    result.kind === 'delivered' || result.kind === 'refused' || (result.kind === 'deferred' && !result.infrastructure)
  )
}

function conclude(
  claim: Claim,
  recipient: ClaimedRecipient,
  result: RecipientResult,
  way: Way,
  trace: TryTrace | null,
  parts: AttemptParts,
): Settlement | Promise<Settlement> {
  const { decision, cage, teaches } = way
  const provider = cage !== null && decision.provider.kind === 'own' ? SINK : decision.provider
  const nowMs = parts.clock.now()
  return parts.concluder.conclude(claim, recipient, result, {
    trace,
    provider,
    nowMs,
    counters: teaches ? decision.counters : [],
  })
}

/** Tells routing what came of the decision and gives back what of it was not used; after it, the decision is used up. */
function report(
  results: readonly RecipientResult[],
  failedAt: string | null,
  trace: TryTrace,
  way: Way,
  { router, concluder }: AttemptParts,
): void {
  const { decision, destination } = way
  if (!way.teaches) {
    router.release(decision)
    return
  }
  const unused = decision.recipients - results.length
  if (unused > 0) router.release(decision, unused)
  for (const result of results)
    router.report({
      providerId: decision.provider.id,
      source: decision.source?.address ?? '',
      mailboxProvider: decision.mailboxProvider,
      site: destination.site,
      probe: decision.probe,
      result: kindOf(result),
      class: result.kind === 'delivered' ? '' : concluder.classOf(result),
      stage: failedAt ?? ('stage' in result ? result.stage : ''),
      durationMs: trace.endedMs - trace.startedMs,
    })
}

function kindOf(result: RecipientResult): RouteReport['result'] {
  if (result.kind === 'suppressed') return 'refused'
  return result.kind === 'deferred' && result.infrastructure ? 'infrastructure' : result.kind
}

/** Nothing was said about the message; a greeting that refuses us is an answer all the same, when it came from an MX. */
function notConnected(failure: NotOpened, decision: Carry): Extract<RecipientResult, { kind: 'deferred' | 'refused' }> {
  const { stage, reply, reason, policy } = failure
  const detail = failure.detail === undefined ? {} : { detail: failure.detail }
  if (policy?.forEver === true) return { kind: 'refused', stage, reply, reason, status: policy.status, ...detail }
  const answered = policy === undefined && reply !== null && decision.provider.kind === 'own'
  return {
    kind: 'deferred',
    stage,
    reply,
    reason,
    // RFC 3463 §3.5: no answer from host; bad connection
    status: policy?.status ?? reply?.enhanced ?? (stage === 'connect' ? '4.4.1' : '4.4.2'),
    infrastructure: !answered,
    ...detail,
  }
}

/** What rests after it. REQUIRETLS that was not met says nothing about other mail. */
function blamed({ policy }: NotOpened, demand: Demand): Attempted['unreachable'] {
  if (policy === undefined) return 'site'
  return demand === 'must' ? false : 'policy'
}

/** RFC 8689 §4.1: REQUIRETLS before TLS-Required; §5: a bounce is not lost for want of it. */
export function demandOf(message: Claim['message']): Demand {
  if (message.tls === 'required') return message.reversePath === '' ? 'try' : 'must'
  return message.tls === 'optional' ? 'no-tls-needed' : null
}

/** The transcript is only put together when somebody keeps it. */
function traceOf(
  startedMs: number,
  endedMs: number,
  source: string,
  remoteHost: string,
  remoteAddress: string,
  tls: string,
  said: { readonly transcript: string },
  tlsFailure: TlsFailure | null = null,
): TryTrace {
  return {
    startedMs,
    endedMs,
    source,
    remoteHost,
    remoteAddress,
    tls,
    tlsFailure: tlsFailure?.reason ?? null,
    get transcript() {
      return tlsFailure === null ? said.transcript : `${tlsFailure.transcript}\n${said.transcript}`.slice(0, 16_384)
    },
  }
}
