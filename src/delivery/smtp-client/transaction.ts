import type { RecipientResult, Reply, Stage } from '../contract.ts'
import { hasNonAscii, mailCommand, rcptCommand, sendable } from './commands.ts'
import { BareLineEnd, ContentReader } from './content.ts'
import type { Deadlines, Transaction } from './contract.ts'
import type { WireReply } from './reply-parser.ts'
import type { Wire } from './wire.ts'

type Peer = {
  readonly offered: ReadonlySet<string>
  readonly sizeLimit: number
  readonly secure: boolean
  readonly deadlines: Deadlines
}

/** RSET after a refusal: the outcome stands already, so nothing waits long for its answer. */
const RESET_MS = 5000
/** Content up to this size is written together with its final dot. */
const ONE_WRITE_BYTES = 131_072
const LONE_DOT = Buffer.from('.\r\n')

/**
 * One mail transaction (RFC 5321 §3.3). The outcome of each recipient follows from how far it came:
 * before the final dot was handed over nothing was taken (`deferred`), after it only a reply can tell (`uncertain` without one).
 */
export async function runTransaction(wire: Wire, t: Transaction, peer: Peer): Promise<readonly RecipientResult[]> {
  const smtpUtf8 = t.smtpUtf8 || hasNonAscii(t.reversePath) || t.recipients.some((r) => hasNonAscii(r.address))
  const impossible = refuseBefore(t, peer, smtpUtf8)
  if (impossible) return t.recipients.map(() => impossible)
  if (wire.ended) return t.recipients.map(() => broken(wire, 'mail'))

  const envelope = new Envelope(wire, t, peer, smtpUtf8 && peer.offered.has('SMTPUTF8'))
  await envelope.say()
  const results = envelope.results
  if (envelope.bodyDue) {
    const outcome = envelope.accepted === 0 ? await loneDot(wire, peer) : await sendContent(wire, t, peer)
    for (let i = 0; i < results.length; i++) results[i] ??= outcome
  } else if (wire.ended === null) await reset(wire)
  return results as RecipientResult[]
}

/** What need not be tried, because the peer's greeting already answers it. */
function refuseBefore(t: Transaction, peer: Peer, smtpUtf8: boolean): RecipientResult | null {
  if (peer.sizeLimit > 0 && t.size > peer.sizeLimit) return refusedByUs('message-too-big', '5.3.4')
  // RFC 8689 §4.2.1: the last look, whatever chose the host. Nothing of the message is said.
  if (t.requireTls === 'must' && !peer.secure) return refusedByUs('tls-required', '5.7.10')
  if (t.requireTls === 'must' && !peer.offered.has('REQUIRETLS')) return refusedByUs('requiretls-not-offered', '5.7.30')
  if (!sendable(t.reversePath)) return refusedByUs('bad-address', '5.1.7')
  if (!t.recipients.every((r) => r.address !== '' && sendable(r.address))) return refusedByUs('bad-address', '5.1.3')
  if (!smtpUtf8 || peer.offered.has('SMTPUTF8')) return null
  // RFC 6531 §3.2: only a message that really has non-ASCII needs the extension.
  const ascii =
    !hasNonAscii(t.reversePath) &&
    !t.recipients.some((r) => hasNonAscii(r.address)) &&
    t.content.every((part) => part.every((byte) => byte < 0x80))
  return ascii ? null : refusedByUs('smtputf8-not-offered', '5.6.7')
}

/** MAIL, RCPT and DATA, together where the peer offers PIPELINING (RFC 2920) and one by one where not. */
class Envelope {
  readonly results: (RecipientResult | undefined)[]
  accepted = 0
  /** DATA was answered 354. */
  bodyDue = false
  readonly #wire: Wire
  readonly #t: Transaction
  readonly #deadlines: Deadlines
  readonly #commands: readonly string[]
  readonly #pipelined: boolean

  constructor(wire: Wire, t: Transaction, peer: Peer, smtpUtf8: boolean) {
    this.#wire = wire
    this.#t = t
    this.#deadlines = peer.deadlines
    this.#pipelined = peer.offered.has('PIPELINING')
    this.results = t.recipients.map(() => undefined)
    this.#commands = [
      mailCommand(t, peer.offered, smtpUtf8),
      ...t.recipients.map((r) => rcptCommand(r, peer.offered, smtpUtf8)),
      'DATA\r\n',
    ]
  }

  async say(): Promise<undefined> {
    const count = this.#t.recipients.length
    if (this.#pipelined) this.#send(0, this.#commands.length)

    this.#wire.phase(this.#deadlines.mailMs)
    const mail = await this.#ask(0)
    if (mail === null) return this.#rest(broken(this.#wire, 'mail'))
    if (this.#endedBy(mail, 'mail')) return
    const mailRefused = mail.code >= 400
    if (mailRefused) this.#rest(answered('mail', mail))
    if (mailRefused && !this.#pipelined) return

    this.#wire.phase(this.#deadlines.rcptMs)
    for (let i = 0; i < count; i++) {
      const reply = await this.#ask(i + 1)
      if (reply === null) return this.#rest(broken(this.#wire, 'rcpt'))
      if (this.#endedBy(reply, 'rcpt')) return
      if (reply.code >= 400) this.results[i] ??= answered('rcpt', reply)
      else if (mailRefused) return this.#outOfStep()
      else this.accepted++
    }
    if (this.accepted === 0 && !this.#pipelined) return

    this.#wire.phase(this.#deadlines.dataMs)
    const data = await this.#ask(count + 1)
    if (data === null) return this.#rest(broken(this.#wire, 'data'))
    if (data.code === 354) {
      this.bodyDue = true
      return
    }
    if (this.#endedBy(data, 'data')) return
    if (data.code < 400) return this.#outOfStep()
    this.#rest(answered('data', data))
  }

  #send(from: number, to: number): void {
    for (let i = from; i < to; i++) this.#wire.transcript.sent(this.#commands[i]!.slice(0, -2))
    this.#wire.command(to - from === 1 ? this.#commands[from]! : this.#commands.slice(from, to).join(''), to - from)
  }

  #ask(index: number): Promise<WireReply | null> {
    if (!this.#pipelined) this.#send(index, index + 1)
    return this.#wire.reply()
  }

  /** 421 (RFC 5321 §3.8) ends the connection at any stage; 3yz here is no answer at all. */
  #endedBy(reply: WireReply, stage: Stage): boolean {
    if (reply.code === 421) {
      this.#rest(answered(stage, reply))
      this.#wire.end('service-closing')
      return true
    }
    if (reply.code >= 300 && reply.code < 400) {
      this.#wire.end('protocol-error', `${reply.code} in answer to ${stage}`)
      this.#rest(broken(this.#wire, stage))
      return true
    }
    return false
  }

  /**
   * The replies do not belong to what was asked: recipients accepted without a sender, or DATA answered as if it were RCPT.
   * Somebody's earlier reply stands among them, so none of them is believed.
   */
  #outOfStep(): undefined {
    this.#wire.end('protocol-error', 'the replies do not fit the commands')
    this.results.fill(undefined)
    this.#rest(broken(this.#wire, 'data'))
  }

  #rest(result: RecipientResult): undefined {
    for (let i = 0; i < this.results.length; i++) this.results[i] ??= result
  }
}

async function sendContent(wire: Wire, t: Transaction, peer: Peer): Promise<RecipientResult> {
  wire.phase(peer.deadlines.bodyMs)
  // A reply sent ahead of the content may still be on its way to us: look once more before anything is said that it could be taken for.
  await twoTurns()
  const reader = new ContentReader(t.content)
  let held: Buffer[] = []
  let heldBytes = 0
  let sent = 0
  while (!reader.done) {
    if (wire.ended) return broken(wire, 'body')
    let piece: Buffer
    try {
      piece = reader.next()
    } catch (error) {
      if (!(error instanceof BareLineEnd)) throw error
      wire.end('done')
      return refusedByUs('bare-line-end', '5.6.0')
    }
    if (heldBytes + piece.length > ONE_WRITE_BYTES) {
      if (held.length > 0 && !(await wire.content(held))) return broken(wire, 'body')
      held = []
      heldBytes = 0
    }
    held.push(piece)
    heldBytes += piece.length
    sent += piece.length
  }
  if (wire.ended) return broken(wire, 'body')
  wire.transcript.sent(`<${sent} bytes of content>`)
  wire.transcript.sent('.')
  held.push(reader.terminator)
  if (!(await wire.lastContent(held))) return uncertain(wire, 'body')

  wire.phase(peer.deadlines.dotMs)
  const reply = await wire.reply()
  if (reply === null) return uncertain(wire, 'dot')
  const early = wire.forgiven
  // What answers out of turn once is not asked again.
  if (early !== null) wire.end('done')
  if (reply.code < 300)
    return {
      ...{ kind: 'delivered', reply: shown(reply), peerNotifies: peer.offered.has('DSN') },
      ...(early === null ? {} : { early: shown(early) }),
    }
  if (reply.code < 400) {
    wire.end('protocol-error', `${reply.code} in answer to the content`)
    return uncertain(wire, 'dot')
  }
  if (reply.code === 421) wire.end('service-closing')
  return answered('dot', reply)
}

/** DATA was answered 354 although no recipient was accepted (RFC 2920 §3.1): an empty message ends it, whatever the answer. */
async function loneDot(wire: Wire, peer: Peer): Promise<RecipientResult> {
  wire.phase(Math.min(peer.deadlines.dotMs, RESET_MS))
  wire.transcript.sent('.')
  if (await wire.lastContent([LONE_DOT])) {
    const reply = await wire.reply()
    if (reply?.code === 421) wire.end('service-closing')
  }
  return broken(wire, 'data')
}

/** Clears what a refused transaction left at the peer; a fault here ends the connection and changes no outcome. */
async function reset(wire: Wire): Promise<void> {
  wire.phase(RESET_MS)
  wire.transcript.sent('RSET')
  wire.command('RSET\r\n', 1)
  const reply = await wire.reply()
  if (reply !== null && reply.code >= 300) wire.end('done')
}

function twoTurns(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
}

function shown(reply: WireReply): Reply {
  return { code: reply.code, enhanced: reply.enhanced, text: reply.text }
}

/** 4yz or 5yz. 421 before the content says nothing about the message; after it, it is the answer to it. */
function answered(stage: Stage, wireReply: WireReply): RecipientResult {
  const reply = shown(wireReply)
  if (reply.code >= 500) {
    return { kind: 'refused', stage, reply, reason: `${stage}-refused`, status: reply.enhanced ?? '5.0.0' }
  }
  const closing = reply.code === 421
  return {
    kind: 'deferred',
    stage,
    reply,
    reason: closing ? 'service-closing' : `${stage}-deferred`,
    status: reply.enhanced ?? '4.0.0',
    infrastructure: closing && stage !== 'dot',
  }
}

/**
 * The connection ended before the final dot was handed over. A whole 4yz or 5yz that came during the content is shown and counts
 * as an attempt, so a peer that always refuses this way is not tried for ever; it is never believed as an answer.
 */
function broken(wire: Wire, stage: Stage): RecipientResult {
  const end = wire.ended
  const early = stage === 'body' && end?.reply && end.reply.code >= 400 ? shown(end.reply) : null
  return {
    kind: 'deferred',
    stage,
    reply: early,
    reason: reasonOf(wire, stage),
    status: end?.reason === 'protocol-error' || end?.reason === 'unexpected-reply' ? '4.5.0' : '4.4.2',
    infrastructure: early === null,
  }
}

function uncertain(wire: Wire, stage: 'body' | 'dot'): RecipientResult {
  return { kind: 'uncertain', stage, reason: reasonOf(wire, stage) }
}

function reasonOf(wire: Wire, stage: Stage): string {
  const reason = wire.ended?.reason ?? 'connection-closed'
  return reason === 'timeout' ? `${stage}-timeout` : reason
}

function refusedByUs(reason: string, status: string): RecipientResult {
  return { kind: 'refused', stage: 'policy', reply: null, reason, status }
}
