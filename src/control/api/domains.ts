import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import type { SendingDomain, SendingDomains } from '#domains'
import type { Audit } from '../audit.ts'
import { identityOf, mayTouch } from '../identity.ts'
import { notFound } from '../problem.ts'
import { time } from '../times.ts'

const NewDomain = Type.Object(
  {
    name: Type.String({ maxLength: 255 }),
    bounce_host: Type.Optional(Type.String({ maxLength: 255, description: 'Default: bounces.<name>. Empty: none.' })),
  },
  { additionalProperties: false },
)
const ByName = Type.Object({ name: Type.String({ maxLength: 255 }) })

export function domainRoutes(app: FastifyInstance, domains: SendingDomains, audit: Audit): void {
  async function view(domain: SendingDomain) {
    return {
      name: domain.name,
      bounce_host: domain.bounceHost,
      active: domain.active,
      created_at: time(domain.createdMs),
      dkim: await domains.publishedKeys(domain.name),
    }
  }

  app.get('/domains', { config: { permission: 'domains:read' } }, async (request) => {
    const identity = identityOf(request)
    return {
      domains: await Promise.all(
        domains
          .list()
          .filter((domain) => mayTouch(identity, domain.name))
          .map(view),
      ),
    }
  })

  app.post<{ Body: Static<typeof NewDomain> }>(
    '/domains',
    { schema: { body: NewDomain }, config: { permission: 'domains:write' } },
    async (request, reply) => {
      const added = await view(await domains.add(request.body.name, request.body.bounce_host))
      await audit(request, 'domain.add', added.name, { after: added })
      return reply.code(201).send(added)
    },
  )

  app.get<{ Params: Static<typeof ByName> }>(
    '/domains/:name',
    { schema: { params: ByName }, config: { permission: 'domains:read' } },
    async (request) => {
      const domain = domains.get(request.params.name.toLowerCase())
      if (domain === undefined || !mayTouch(identityOf(request), domain.name))
        throw notFound('sending domain', request.params.name)
      return view(domain)
    },
  )

  app.delete<{ Params: Static<typeof ByName> }>(
    '/domains/:name',
    { schema: { params: ByName }, config: { permission: 'domains:write' } },
    async (request, reply) => {
      const name = request.params.name.toLowerCase()
      if (!mayTouch(identityOf(request), name) || !(await domains.remove(name))) throw notFound('sending domain', name)
      await audit(request, 'domain.remove', name)
      return reply.code(204).send()
    },
  )
}
