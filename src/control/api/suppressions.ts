import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { Fault, Type } from '#base'
import { type Entry, type NewEntry, REASONS, type Reason, type SuppressionList } from '#suppression'
import type { Audit } from '../audit.ts'
import { type Identity, identityOf } from '../identity.ts'
import { notFound } from '../problem.ts'
import { time } from '../times.ts'

const ListQuery = Type.Object(
  {
    reason: Type.Optional(Type.Enum([...REASONS])),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500 })),
    cursor: Type.Optional(Type.String({ maxLength: 600 })),
  },
  { additionalProperties: false },
)
const NewBody = Type.Object(
  {
    address: Type.String({ maxLength: 320, description: 'An address, or *@domain.' }),
    scope: Type.Optional(Type.String({ maxLength: 220 })),
    reason: Type.Optional(Type.Enum([...REASONS])),
    detail: Type.Optional(Type.String({ maxLength: 500 })),
    until: Type.Optional(Type.String({ maxLength: 40 })),
  },
  { additionalProperties: false },
)
const ByAddress = Type.Object({ address: Type.String({ maxLength: 320 }) })
const RemoveQuery = Type.Object(
  { scope: Type.Optional(Type.String({ maxLength: 220 })) },
  { additionalProperties: false },
)

export function suppressionRoutes(
  app: FastifyInstance,
  list: SuppressionList,
  audit: Audit,
  maxImportBytes: number,
): void {
  app.get<{ Querystring: Static<typeof ListQuery> }>(
    '/bounces',
    { schema: { querystring: ListQuery }, config: { permission: 'suppressions:read' } },
    async (request) => {
      const { limit = 100, cursor, reason } = request.query
      const page = await list.list({
        limit,
        ...(cursor === undefined ? {} : { cursor }),
        ...(reason === undefined ? {} : { reason: reason as Reason }),
      })
      const identity = identityOf(request)
      return {
        suppressions: page.rows.filter((row) => mayTouchScope(identity, row.scope)).map(view),
        next_cursor: page.next,
      }
    },
  )

  app.post<{ Body: Static<typeof NewBody> }>(
    '/bounces',
    { schema: { body: NewBody }, config: { permission: 'suppressions:write' } },
    async (request, reply) => {
      const { address, scope, reason, detail, until } = request.body
      const untilMs = until === undefined ? null : Date.parse(until)
      if (Number.isNaN(untilMs))
        throw new Fault(`${JSON.stringify(until)} is not a time`, {
          code: 'invalid-request',
          field: 'until',
          remedy: 'Give it as RFC 3339, such as 2027-01-01T00:00:00Z.',
        })
      requireScope(identityOf(request), scope ?? 'everything')
      await list.add([
        {
          address,
          untilMs,
          ...(scope === undefined ? {} : { scope }),
          ...(reason === undefined ? {} : { reason: reason as NonNullable<NewEntry['reason']> }),
          ...(detail === undefined ? {} : { detail }),
        },
      ])
      await audit(request, 'suppression.add', address, { after: request.body })
      return reply.code(201).send({ suppressions: (await list.of(address)).map(view) })
    },
  )

  app.get<{ Params: Static<typeof ByAddress> }>(
    '/bounces/:address',
    { schema: { params: ByAddress }, config: { permission: 'suppressions:read' } },
    async (request) => {
      const identity = identityOf(request)
      const found = (await list.of(request.params.address)).filter((row) => mayTouchScope(identity, row.scope))
      return { address: request.params.address, suppressed: found.length > 0, suppressions: found.map(view) }
    },
  )

  app.delete<{ Params: Static<typeof ByAddress>; Querystring: Static<typeof RemoveQuery> }>(
    '/bounces/:address',
    { schema: { params: ByAddress, querystring: RemoveQuery }, config: { permission: 'suppressions:write' } },
    async (request) => {
      const { address } = request.params
      const { scope } = request.query
      const identity = identityOf(request)
      const before = (await list.of(address)).filter((row) => scope === undefined || row.scope === scope)
      for (const row of before) requireScope(identity, row.scope)
      const removed = await list.remove(address, scope)
      if (removed === 0) throw notFound('suppression of', address)
      await audit(request, 'suppression.remove', address, { before: before.map(view) })
      return { removed }
    },
  )

  app.register(async (csv) => {
    csv.addContentTypeParser('text/csv', { parseAs: 'string', bodyLimit: maxImportBytes }, (_request, body, done) =>
      done(null, body),
    )
    csv.post<{ Body: string }>('/bounces/import', { config: { permission: 'suppressions:write' } }, async (request) => {
      requireScope(identityOf(request), 'everything')
      if (typeof request.body !== 'string')
        throw new Fault('the list is sent as text/csv', {
          code: 'invalid-request',
          field: 'content-type',
          remedy: 'Set Content-Type: text/csv.',
        })
      const report = await list.import(linesOf(request.body))
      await audit(request, 'suppression.import', 'csv', {
        after: { added: report.added, refused: report.refused.length },
      })
      return report
    })
  })

  app.get('/bounces/export', { config: { permission: 'suppressions:read' } }, async (request, reply) => {
    requireScope(identityOf(request), 'everything')
    const { Readable } = await import('node:stream')
    async function* lines(): AsyncGenerator<string> {
      for await (const line of list.export()) yield `${line}\r\n`
    }
    return reply.type('text/csv; charset=utf-8').send(Readable.from(lines()))
  })
}

/** One at a time: a list of a million lines is never held twice. */
function* linesOf(text: string): Generator<string> {
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at)
    yield text.slice(at, end < 0 ? text.length : end)
    at = end < 0 ? text.length : end + 1
  }
}

/** An identity bounded to sending domains sees and lifts only what was suppressed for those. */
function mayTouchScope(identity: Identity, scope: string): boolean {
  return (
    identity.domains === null || (scope.startsWith('domain:') && identity.domains.has(scope.slice('domain:'.length)))
  )
}

function requireScope(identity: Identity, scope: string): void {
  if (mayTouchScope(identity, scope)) return
  throw new Fault(`this token may not touch suppressions of scope ${scope}`, {
    code: 'forbidden',
    field: 'scope',
    remedy: `Use one of ${[...(identity.domains ?? [])].map((domain) => `domain:${domain}`).join(', ')}.`,
  })
}

function view(entry: Entry) {
  return {
    address: entry.address,
    scope: entry.scope,
    reason: entry.reason,
    class: entry.class,
    smtp_code: entry.smtpCode,
    detail: entry.detail,
    count: entry.count,
    since: time(entry.firstMs),
    last_seen: time(entry.lastMs),
    until: time(entry.untilMs),
  }
}
