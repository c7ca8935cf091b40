import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { Type } from '#base'
import { type Resolved, type TlsResults, tlsPolicyView, tlsReports } from '#delivery'
import { requireUnbounded } from '../identity.ts'

export type TlsParts = {
  readonly results: Pick<TlsResults, 'list'>
  /** Where mail for a domain goes and how it is secured, looked up now. */
  resolve(domain: string): Promise<Resolved>
}

const MAX_ROWS = 5000
const ReportQuery = Type.Object(
  {
    domain: Type.Optional(Type.String({ maxLength: 255 })),
    date: Type.Optional(Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$', description: 'A day (UTC), 2026-11-24.' })),
  },
  { additionalProperties: false },
)
const ByDomain = Type.Object({ domain: Type.String({ maxLength: 255 }) })

/** What became of TLS with recipient domains, and what holds for one now. */
export function tlsRoutes(app: FastifyInstance, parts: TlsParts): void {
  app.get<{ Querystring: Static<typeof ReportQuery> }>(
    '/tls/report',
    { schema: { querystring: ReportQuery }, config: { permission: 'metrics:read' } },
    async (request) => {
      requireUnbounded(request)
      const { domain, date } = request.query
      const rows = await parts.results.list(
        {
          ...(domain === undefined ? {} : { domain: domain.toLowerCase() }),
          ...(date === undefined ? {} : { day: date }),
        },
        MAX_ROWS,
      )
      return { reports: tlsReports(rows), complete: rows.length < MAX_ROWS }
    },
  )

  app.get<{ Params: Static<typeof ByDomain> }>(
    '/tls/policy/:domain',
    { schema: { params: ByDomain }, config: { permission: 'metrics:read' } },
    async (request) => {
      requireUnbounded(request)
      const domain = request.params.domain.toLowerCase()
      return { domain, ...tlsPolicyView(await parts.resolve(domain)) }
    },
  )
}
