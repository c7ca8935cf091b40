import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { Type } from '#base'
import { EVENT_TYPES, type EventType, listEvents } from '#events'
import type { Records } from '#store'
import { requireUnbounded } from '../identity.ts'
import { notFound } from '../problem.ts'
import { time } from '../times.ts'

const ListQuery = Type.Object(
  {
    type: Type.Optional(Type.Enum([...EVENT_TYPES])),
    message_id: Type.Optional(Type.String({ maxLength: 64 })),
    recipient: Type.Optional(Type.String({ maxLength: 320 })),
    after: Type.Optional(Type.Integer({ minimum: 0 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  },
  { additionalProperties: false },
)
const InboundQuery = Type.Object(
  {
    kind: Type.Optional(Type.Enum(['bounce', 'complaint', 'unsubscribe', 'report', 'postmaster', 'abuse'])),
    before: Type.Optional(Type.Integer({ minimum: 0, description: 'Only those with a smaller sequence number.' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200 })),
  },
  { additionalProperties: false },
)
const ById = Type.Object({ id: Type.String({ maxLength: 64 }) })

/** What happened (the event log), and the mail that came back (bounces, postmaster, abuse). */
export function eventRoutes(app: FastifyInstance, records: Records): void {
  app.get<{ Querystring: Static<typeof ListQuery> }>(
    '/events',
    { schema: { querystring: ListQuery }, config: { permission: 'events:read' } },
    async (request) => {
      requireUnbounded(request)
      const { limit = 100, type, message_id: messageId, recipient, after } = request.query
      const rows = await listEvents(
        records,
        {
          ...(type === undefined ? {} : { type: type as EventType }),
          ...(messageId === undefined ? {} : { messageId }),
          ...(recipient === undefined ? {} : { recipient }),
          ...(after === undefined ? {} : { after }),
        },
        limit,
      )
      return {
        events: rows.map((row) => ({
          seq: row.seq,
          id: row.id,
          at: time(row.atMs),
          type: row.type,
          message_id: row.messageId,
          recipient: row.recipient,
          provider: row.provider,
          class: row.class,
          status: row.status,
          detail: row.detail,
        })),
        next_after: rows.at(-1)?.seq ?? null,
      }
    },
  )

  app.get<{ Querystring: Static<typeof InboundQuery> }>(
    '/inbound',
    { schema: { querystring: InboundQuery }, config: { permission: 'events:read' } },
    async (request) => {
      requireUnbounded(request)
      const { limit = 50, kind, before } = request.query
      let query = records.query
        .selectFrom('inbound_mail')
        .select([
          'seq',
          'id',
          'received_ms',
          'kind',
          'mail_from',
          'rcpt_to',
          'client_address',
          'processed_ms',
          'result',
        ])
        .orderBy('seq', 'desc')
        .limit(limit)
      if (kind !== undefined) query = query.where('kind', '=', kind as 'bounce')
      if (before !== undefined) query = query.where('seq', '<', before)
      const rows = await records.read(query)
      return {
        mails: rows.map((row) => ({
          seq: row.seq,
          id: row.id,
          received_at: time(row.received_ms),
          kind: row.kind,
          mail_from: row.mail_from,
          rcpt_to: row.rcpt_to,
          client_address: row.client_address,
          processed_at: time(row.processed_ms),
          result: row.result === null ? null : (JSON.parse(row.result) as unknown),
        })),
        next_before: rows.length === limit ? (rows.at(-1)?.seq ?? null) : null,
      }
    },
  )

  app.get<{ Params: Static<typeof ById> }>(
    '/inbound/:id',
    { schema: { params: ById }, config: { permission: 'events:read' } },
    async (request, reply) => {
      requireUnbounded(request)
      const row = await records.readOne(
        records.query.selectFrom('inbound_mail').select('content').where('id', '=', request.params.id),
      )
      if (row === undefined || row.content === null) throw notFound('inbound mail', request.params.id)
      // Hostile by nature: never shown as anything but an attachment.
      return reply
        .type('message/rfc822')
        .header('content-disposition', 'attachment; filename="inbound.eml"')
        .header('x-content-type-options', 'nosniff')
        .send(Buffer.from(row.content))
    },
  )
}
