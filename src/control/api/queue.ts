import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { Fault, Type } from '#base'
import { PRIORITIES, type Queue, type QueueFilter, type QueueRow, type RecipientView, STATES } from '#queue'
import type { Audit } from '../audit.ts'
import { type Identity, identityOf, mayTouch } from '../identity.ts'
import { notFound } from '../problem.ts'
import { time } from '../times.ts'

const Filter = {
  status: Type.Optional(Type.String({ description: 'One or more states, comma separated.' })),
  recipient: Type.Optional(Type.String({ maxLength: 320 })),
  domain: Type.Optional(Type.String({ maxLength: 255 })),
  sending_domain: Type.Optional(Type.String({ maxLength: 255 })),
  priority: Type.Optional(Type.Enum([...PRIORITIES])),
  tag: Type.Optional(Type.String({ maxLength: 200 })),
  campaign: Type.Optional(Type.String({ maxLength: 200 })),
  message_id: Type.Optional(Type.String({ maxLength: 64 })),
  restored: Type.Optional(Type.Boolean({ description: 'Held by a restore.' })),
  accepted_before: Type.Optional(Type.String({ maxLength: 40 })),
  accepted_after: Type.Optional(Type.String({ maxLength: 40 })),
}
const FilterObject = Type.Object(Filter, { additionalProperties: false })
const ListQuery = Type.Object(
  {
    ...Filter,
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500 })),
    cursor: Type.Optional(Type.String({ maxLength: 200 })),
  },
  { additionalProperties: false },
)
const SteerBody = Type.Object(
  {
    action: Type.Enum(['hold', 'release', 'cancel', 'retry']),
    filter: FilterObject,
    reason: Type.Optional(Type.String({ maxLength: 200 })),
    dry_run: Type.Optional(Type.Boolean()),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000 })),
  },
  { additionalProperties: false },
)
const ById = Type.Object({ id: Type.String({ maxLength: 64 }) })

/** What the last try met: the reply, or what we found where nothing was said. */
function answerOf(code: number | null, text: string): string | null {
  return code === null ? text || null : `${code} ${text}`
}

export function queueRoutes(app: FastifyInstance, queue: Queue, audit: Audit, nowMs: () => number): void {
  app.get<{ Querystring: Static<typeof ListQuery> }>(
    '/queue',
    { schema: { querystring: ListQuery }, config: { permission: 'queue:read' } },
    async (request) => {
      const { limit = 50, cursor = null, ...filter } = request.query
      const page = await queue.list(filterOf(filter, identityOf(request)), cursor, limit)
      return { messages: page.rows.map(rowView), next_cursor: page.next }
    },
  )

  app.get<{ Params: Static<typeof ById> }>(
    '/queue/:id',
    { schema: { params: ById }, config: { permission: 'queue:read' } },
    async (request) => {
      const message = await queue.message(request.params.id)
      if (message === null || !mayTouch(identityOf(request), message.sendingDomain))
        throw notFound('message', request.params.id)
      return {
        ...headView(message),
        metadata: message.metadata,
        content_kept: message.contentKept,
        recipients: message.recipients.map((recipient) => ({
          ...recipientView(recipient),
          tries: recipient.tries.map((attempt) => ({
            started_at: time(attempt.startedMs),
            ended_at: time(attempt.endedMs),
            provider: attempt.provider,
            source: attempt.source,
            remote_host: attempt.remoteHost,
            remote_address: attempt.remoteAddress,
            tls: attempt.tls,
            stage: attempt.stage,
            reply_code: attempt.replyCode,
            enhanced_status: attempt.enhanced,
            reply: attempt.reply,
            class: attempt.class,
            transcript: attempt.transcript,
          })),
        })),
      }
    },
  )

  app.get<{ Params: Static<typeof ById> }>(
    '/queue/:id/why',
    { schema: { params: ById }, config: { permission: 'queue:read' } },
    async (request) => {
      const message = await queue.message(request.params.id)
      if (message === null || !mayTouch(identityOf(request), message.sendingDomain))
        throw notFound('message', request.params.id)
      const reasons = await queue.why(request.params.id)
      return {
        id: message.id,
        recipients: reasons.map((why) => {
          const last = message.recipients.find((recipient) => recipient.address === why.address)?.tries.at(-1)
          return {
            address: why.address,
            state: why.state,
            reason: why.reason,
            until: time(why.untilMs),
            last_answer: last === undefined || last.class === 'delivered' ? null : answerOf(last.replyCode, last.reply),
          }
        }),
      }
    },
  )

  async function steerOne(id: string, identity: Identity, action: 'cancel' | 'retry'): Promise<{ count: number }> {
    const message = await queue.message(id)
    if (message === null || !mayTouch(identity, message.sendingDomain)) throw notFound('message', id)
    const done = await queue.steer(action, { messageId: id }, `by ${identity.actor}`, { dryRun: false, limit: 100_000 })
    if (done.count === 0)
      throw new Fault(`no recipient of this message can be ${action === 'cancel' ? 'cancelled' : 'retried'} now`, {
        code: 'conflict',
        remedy: `See where each stands with: relevo trace ${id}`,
      })
    return { count: done.count }
  }

  app.delete<{ Params: Static<typeof ById> }>(
    '/queue/:id',
    { schema: { params: ById }, config: { permission: 'queue:write' } },
    async (request) => {
      const done = await steerOne(request.params.id, identityOf(request), 'cancel')
      await audit(request, 'queue.cancel', request.params.id, { after: done })
      return { cancelled: done.count }
    },
  )

  app.post<{ Params: Static<typeof ById> }>(
    '/queue/:id/retry',
    { schema: { params: ById }, config: { permission: 'queue:write' } },
    async (request) => {
      const done = await steerOne(request.params.id, identityOf(request), 'retry')
      await audit(request, 'queue.retry', request.params.id, { after: done })
      return { retried: done.count }
    },
  )

  app.post<{ Body: Static<typeof SteerBody> }>(
    '/queue/steer',
    { schema: { body: SteerBody }, config: { permission: 'queue:write' } },
    async (request) => {
      const { action, filter, reason, dry_run: dryRun = false, limit = 10_000 } = request.body
      const identity = identityOf(request)
      const wanted = filterOf(filter, identity)
      const done = await queue.steer(action, wanted, reason ?? `by ${identity.actor}`, { dryRun, limit })
      if (!dryRun)
        await audit(request, `queue.${action}`, JSON.stringify(filter), { after: { count: done.count, at: nowMs() } })
      return { action, count: done.count, dry_run: dryRun, more: done.more }
    },
  )
}

function filterOf(query: Static<typeof FilterObject>, identity: Identity): QueueFilter {
  const states = query.status?.split(',').map((state) => state.trim())
  const odd = states?.find((state) => !STATES.includes(state as (typeof STATES)[number]))
  if (odd !== undefined)
    throw new Fault(`${JSON.stringify(odd)} is not a state`, {
      code: 'invalid-request',
      field: 'status',
      remedy: `Use one or more of ${STATES.join(', ')}.`,
    })
  let sendingDomain = query.sending_domain
  if (identity.domains !== null) {
    sendingDomain ??= identity.domains.size === 1 ? [...identity.domains][0] : undefined
    if (sendingDomain === undefined || !identity.domains.has(sendingDomain))
      throw new Fault('this token sees only its own sending domains', {
        code: 'forbidden',
        field: 'sending_domain',
        remedy: `Give sending_domain as one of ${[...identity.domains].join(', ')}.`,
      })
  }
  return {
    ...(states === undefined ? {} : { states: states as NonNullable<QueueFilter['states']> }),
    ...(query.recipient === undefined ? {} : { recipient: query.recipient }),
    ...(query.domain === undefined ? {} : { domain: query.domain.toLowerCase() }),
    ...(sendingDomain === undefined ? {} : { sendingDomain }),
    ...(query.priority === undefined ? {} : { priority: query.priority as NonNullable<QueueFilter['priority']> }),
    ...(query.tag === undefined ? {} : { tag: query.tag }),
    ...(query.campaign === undefined ? {} : { campaign: query.campaign }),
    ...(query.restored === true ? { restored: true as const } : {}),
    ...(query.message_id === undefined ? {} : { messageId: query.message_id }),
    ...(query.accepted_before === undefined
      ? {}
      : { acceptedBeforeMs: instant('accepted_before', query.accepted_before) }),
    ...(query.accepted_after === undefined ? {} : { acceptedAfterMs: instant('accepted_after', query.accepted_after) }),
  }
}

function instant(field: string, text: string): number {
  const ms = Date.parse(text)
  if (!Number.isNaN(ms)) return ms
  throw new Fault(`${JSON.stringify(text)} is not a time`, {
    code: 'invalid-request',
    field,
    remedy: 'Give it as RFC 3339, such as 2026-11-24T10:00:00Z.',
  })
}

function headView(message: QueueRow | Omit<QueueRow, 'recipient'>) {
  return {
    id: message.id,
    accepted_at: time(message.acceptedMs),
    expires_at: time(message.expiresMs),
    mail_from: message.reversePath,
    from: message.headerFrom,
    sending_domain: message.sendingDomain,
    message_id_header: message.messageIdHeader,
    subject: message.subject,
    size_bytes: message.size,
    priority: message.priority,
    sandbox: message.sandbox,
    tls: message.tls,
    submitter: message.submitter,
    tags: message.tags,
    category: message.category,
    campaign: message.campaign,
    route: message.route,
  }
}

function recipientView(recipient: RecipientView) {
  return {
    address: recipient.address,
    domain: recipient.domain,
    state: recipient.state,
    reason: recipient.reason,
    due_at: time(recipient.dueMs),
    attempts: recipient.attempts,
    uncertain: recipient.uncertain,
    maybe_duplicate: recipient.maybeDuplicate,
    settled_at: time(recipient.settledMs),
  }
}

function rowView(row: QueueRow) {
  return { ...headView(row), recipient: recipientView(row.recipient) }
}
