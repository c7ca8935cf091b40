import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type Clock, Fault, type Result } from '#base'
import type { Acceptor, SubmittedRecipient } from './accept.ts'
import type { Composition } from './compose/compose.ts'
import type { ComposeJob, ReadRequest, RequestProblem } from './compose/compose-job.ts'
import { QueueAnswer, QueueRequest } from './compose/http-request.ts'
import { OffLoop, ownMemory } from './off-loop.ts'
import type { Refusal } from './refusal.ts'
import { readBody } from './request-body.ts'
import { ContentBudget } from './smtp/dot-reader.ts'
import type { Submitter } from './submitter.ts'
import { type SuppressionCheck, suppressionText } from './suppression-check.ts'
import type { Tokens } from './tokens.ts'

export type HttpSubmitDeps = {
  readonly acceptor: Acceptor
  readonly tokens: Tokens
  readonly suppression: SuppressionCheck
  readonly clock: Clock
  readonly maxMessageBytes: number
  readonly maxBodyBytes: number
  /** What requests under way may take of the memory, all together. Bytes, default 128 MiB. */
  readonly contentBudgetBytes?: number
  /** What one of them may take at most: what is larger is answered 452. Default: no limit of its own. */
  readonly largestContentBytes?: number
  /** Who asks, for listeners where no token is needed (the local socket); null: a token is asked for. */
  readonly submitterOf?: (request: FastifyRequest) => Submitter | null
}

const KEY = /^[\x21-\x7e]{1,128}$/
/** Refusals whose HTTP meaning is not "the request is wrong"; the server maps these codes to a status. */
const CODES: ReadonlyMap<string, string> = new Map([
  ['revoked', 'unauthorized'],
  ['foreign-sender', 'forbidden'],
  ['null-sender', 'forbidden'],
  ['overloaded', 'busy'],
  ['idempotency-conflict', 'conflict'],
  ['rate-limited', 'rate-limited'],
  ['insufficient-storage', 'insufficient-storage'],
  ['store-failed', 'store-failed'],
])

/** Requests of this size cost a few milliseconds; larger ones are read and composed in a thread of their own. */
const ON_LOOP_BYTES = 131_072
/** What the bodies of all requests under way may take of the memory; one is always let in. */
const BUDGET_BYTES = 134_217_728

type Reading = OffLoop<ComposeJob, Result<ReadRequest, RequestProblem>>

/**
 * `POST <prefix>/queue` on an app of somebody else, whose error handler turns Faults into problems. 202 means what 250
 * means in SMTP: the message is on disk (RELIABILITY I-03). Nobody's body is read before it is known who asks.
 */
export function httpSubmit(deps: HttpSubmitDeps): (app: FastifyInstance) => void {
  const reading: Reading = new OffLoop({
    thread: new URL('./compose/worker.ts', import.meta.url),
    onLoopBytes: ON_LOOP_BYTES,
    sizeOf: (job) => job.body.length,
    // Loaded by the first message that comes as JSON: many installations take mail by SMTP only.
    run: async (job) => (await import('./compose/compose-job.ts')).composeJob(job),
    handsOver: (job) => ownMemory(job.body),
  })
  const budget = new ContentBudget(deps.contentBudgetBytes ?? BUDGET_BYTES, deps.largestContentBytes)
  return (app) => {
    void app.register(async (scope) => {
      const submitters = new WeakMap<FastifyRequest, Submitter>()
      scope.addHook('onRequest', async (request) => {
        submitters.set(request, deps.submitterOf?.(request) ?? (await bearer(request, deps.tokens)))
      })
      // The stream itself is handed on: it is read below, and a limit of this server would not see it.
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser('application/json', (_request, _payload, done) => done(null))
      scope.post(
        '/queue',
        {
          schema: { body: QueueRequest, response: { 202: QueueAnswer } },
          validatorCompiler: () => (value) => ({ value }),
        },
        async (request, reply): Promise<QueueAnswer> => {
          const held = await readBody(request.raw, deps.maxBodyBytes, budget)
          try {
            const answer = await submit(request, held.body, submitters.get(request)!, reading, deps)
            reply.code(202)
            return answer
          } finally {
            held.release()
          }
        },
      )
    })
  }
}

async function submit(
  request: FastifyRequest,
  bytes: Buffer,
  submitter: Submitter,
  reading: Reading,
  deps: HttpSubmitDeps,
): Promise<QueueAnswer> {
  const idempotencyKey = idempotencyKeyOf(request)
  const read = await reading.do({ body: bytes })
  if (!read.ok) throw new Fault(read.error.message, read.error)
  const { request: body, fingerprint } = read.value
  const composition: Composition = { ...read.value.composition, content: bufferOf(read.value.composition.content) }
  const times = timesOf(body, deps.clock.now())
  if (composition.content.length > deps.maxMessageBytes)
    throw new Fault(`the message has ${composition.content.length} bytes, at most ${deps.maxMessageBytes} are taken`, {
      code: 'too-large',
      field: 'attachments',
      remedy: 'Send smaller attachments, or links to them.',
    })
  const recipients = await checked(composition, body.category ?? null, deps.suppression)
  if (recipients.length === 0)
    throw new Fault(`no recipient is valid: ${composition.invalid[0]?.text ?? 'to is empty'}`, {
      code: 'invalid-request',
      field: 'to',
      remedy: composition.invalid[0]?.reason ?? 'Give at least one address.',
    })
  // A unix socket has no address: whoever speaks there is on this host.
  const address = request.ip ?? '127.0.0.1'
  const accepted = await deps.acceptor.accept({
    reversePath: composition.from.address,
    recipients: recipients.map(({ recipient }) => recipient),
    content: composition.content,
    submitter,
    smtpUtf8: composition.smtpUtf8,
    requireTls: body.require_tls === true,
    client: { address, name: null, helo: `[${address}]` },
    protocol: 'HTTP',
    settings: {
      ...times,
      ...(body.priority === undefined ? {} : { priority: body.priority }),
      ...(body.category === undefined ? {} : { category: body.category }),
      ...(body.tags === undefined ? {} : { tags: body.tags }),
      ...(body.metadata === undefined ? {} : { metadata: body.metadata }),
      ...(body.provider_preference === undefined ? {} : { route: body.provider_preference }),
      ...(idempotencyKey === null ? {} : { idempotencyKey, fingerprint }),
    },
  })
  if (!accepted.ok) throw faultOf(accepted.error)
  return {
    id: accepted.value.id,
    repeated: accepted.value.repeated,
    recipients: [
      ...recipients.map(({ recipient, why }) => ({
        address: recipient.address.text,
        ...(why === null ? { status: 'queued' as const } : { status: 'suppressed' as const, reason: why }),
      })),
      ...composition.invalid.map(({ text, reason }) => ({ address: text, status: 'invalid' as const, reason })),
    ],
  }
}

/** Suppressed recipients are recorded with the message: the answer names them, and so does its list of events. */
async function checked(
  composition: Composition,
  category: string | null,
  suppression: SuppressionCheck,
): Promise<readonly { readonly recipient: SubmittedRecipient; readonly why: string | null }[]> {
  const purpose = { sendingDomain: composition.from.address.domain, category }
  return Promise.all(
    composition.recipients.map(async (address) => {
      const entry = await suppression.check(address.text, purpose)
      if (entry === null) return { recipient: { address }, why: null }
      return {
        recipient: { address, suppressed: { reason: entry.reason, detail: entry.detail } },
        why: suppressionText(address.text, entry),
      }
    }),
  )
}

async function bearer(request: FastifyRequest, tokens: Tokens): Promise<Submitter> {
  const [scheme = '', secret = ''] = (request.headers.authorization ?? '').split(' ', 2)
  const token = scheme.toLowerCase() === 'bearer' ? await tokens.verify(secret) : null
  if (token === null)
    throw new Fault('the request carries no token that is valid here', {
      code: 'unauthorized',
      remedy: 'Send "Authorization: Bearer rlv_…"; make a token with: relevo token create NAME --permission send',
    })
  if (!token.permissions.includes('send'))
    throw new Fault('this token may not send: it lacks the permission send', {
      code: 'forbidden',
      remedy: 'Make one with: relevo token create NAME --permission send',
    })
  return { name: `token:${token.id}`, allowed: token.allowed, defaultTags: [], ratePerHour: 0, valid: () => true }
}

/** What comes from another thread is plain bytes. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function idempotencyKeyOf(request: FastifyRequest): string | null {
  const key = request.headers['idempotency-key']
  if (key === undefined) return null
  if (typeof key === 'string' && KEY.test(key)) return key
  throw new Fault('the Idempotency-Key is not 1 to 128 printable ASCII characters', {
    code: 'invalid-request',
    field: 'Idempotency-Key',
    remedy: 'Use a UUID for each message.',
  })
}

function timesOf(
  body: Pick<QueueRequest, 'scheduled_at' | 'expires_at'>,
  nowMs: number,
): { sendAtMs?: number; expiresMs?: number } {
  const sendAtMs = timeOf('scheduled_at', body.scheduled_at)
  const expiresMs = timeOf('expires_at', body.expires_at)
  if (expiresMs !== undefined && expiresMs <= Math.max(nowMs, sendAtMs ?? 0))
    throw new Fault('expires_at is not after the time it may be sent', {
      code: 'invalid-request',
      field: 'expires_at',
      remedy: 'Give a time after now and after scheduled_at.',
    })
  return { ...(sendAtMs === undefined ? {} : { sendAtMs }), ...(expiresMs === undefined ? {} : { expiresMs }) }
}

function timeOf(field: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})$/.test(text)
    ? Date.parse(text)
    : Number.NaN
  if (Number.isFinite(ms)) return ms
  throw new Fault(`${field} is not a time`, {
    code: 'invalid-request',
    field,
    remedy: 'Write it with its zone, as 2026-12-24T18:00:00Z (RFC 3339).',
  })
}

function faultOf(refusal: Refusal): Fault {
  const field = refusal.field === 'From' || refusal.field === 'MAIL FROM' ? 'from' : refusal.field
  return new Fault(refusal.message, {
    code: CODES.get(refusal.kind) ?? refusal.kind,
    ...(field === null ? {} : { field }),
    ...(refusal.remedy === '' ? {} : { remedy: `${refusal.remedy[0]!.toUpperCase()}${refusal.remedy.slice(1)}.` }),
  })
}
