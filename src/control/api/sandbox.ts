import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { Type } from '#base'
import type { KeptMail, Sink } from '#delivery'
import { notFound } from '../problem.ts'
import { time } from '../times.ts'

const ListQuery = Type.Object(
  { limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })) },
  { additionalProperties: false },
)
const ById = Type.Object({ id: Type.String({ maxLength: 64 }) })

/** What the built-in sink took in sandbox mode, the newest first; only on the local socket. */
export function sandboxRoutes(app: FastifyInstance, sink: Sink): void {
  app.get<{ Querystring: Static<typeof ListQuery> }>(
    '/sandbox/mails',
    { schema: { querystring: ListQuery }, config: { permission: 'queue:read' } },
    async (request) => {
      const { limit = 50 } = request.query
      return { taken: sink.taken, mails: sink.list().slice(-limit).reverse().map(view) }
    },
  )

  app.get<{ Params: Static<typeof ById> }>(
    '/sandbox/mails/:id',
    { schema: { params: ById }, config: { permission: 'queue:read' } },
    async (request, reply) => {
      const mail = sink.find(request.params.id)
      if (mail === undefined) throw notFound('sandbox mail', request.params.id)
      return reply.type('message/rfc822').send(mail.content)
    },
  )
}

function view(mail: KeptMail) {
  return {
    id: mail.id,
    taken_at: time(mail.atMs),
    door: mail.door,
    mail_from: mail.reversePath,
    recipients: mail.recipients.map((recipient) => recipient.address),
    tls: mail.tls,
    size_bytes: mail.content.length,
  }
}
