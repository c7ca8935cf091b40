import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { Fault, Type } from '#base'
import {
  type DkimRotation,
  type DnsInspector,
  type DnsWatch,
  inspectionJson,
  type PublishedKey,
  type RecordFormat,
  renderRecords,
  type SendingDomain,
  type SendingDomains,
  unknownDomain,
} from '#domains'
import type { Audit } from '../audit.ts'
import { identityOf, mayTouch, requireUnbounded } from '../identity.ts'
import { time } from '../times.ts'

const NewDomain = Type.Object(
  {
    name: Type.String({ maxLength: 255 }),
    bounce_host: Type.Optional(Type.String({ maxLength: 255, description: 'Default: bounces.<name>. Empty: none.' })),
  },
  { additionalProperties: false },
)
const ByName = Type.Object({ name: Type.String({ maxLength: 255 }) })
const RecordsQuery = Type.Object(
  {
    format: Type.Optional(Type.Enum(['json', 'bind', 'cloudflare', 'route53'])),
    lookup: Type.Optional(Type.Boolean({ description: 'False: without a look at the zone as it stands.' })),
  },
  { additionalProperties: false },
)
const Rotation = Type.Object(
  {
    at: Type.Optional(Type.String({ maxLength: 40, description: 'When the new keys sign (RFC 3339).' })),
    now: Type.Optional(Type.Boolean({ description: 'The keys that wait sign at once.' })),
    force: Type.Optional(Type.Boolean({ description: 'With now: although they do not stand in the DNS.' })),
  },
  { additionalProperties: false },
)

export type DomainParts = {
  readonly domains: SendingDomains
  readonly inspector: DnsInspector
  readonly rotation: DkimRotation
  readonly watch: DnsWatch
}

/** Sending domains, their DNS records as they should stand and as they do, and their keys. */
export function domainRoutes(app: FastifyInstance, parts: DomainParts, audit: Audit): void {
  const { domains, inspector, rotation, watch } = parts

  function named(request: FastifyRequest<{ Params: Static<typeof ByName> }>): SendingDomain {
    const domain = domains.named(request.params.name)
    if (mayTouch(identityOf(request), domain.name)) return domain
    throw unknownDomain(request.params.name)
  }

  async function view(domain: SendingDomain) {
    return {
      name: domain.name,
      bounce_host: domain.bounceHost,
      active: domain.active,
      created_at: time(domain.createdMs),
      dkim: (await domains.publishedKeys(domain.name)).map(keyView),
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
    (request) => view(named(request)),
  )

  app.delete<{ Params: Static<typeof ByName> }>(
    '/domains/:name',
    { schema: { params: ByName }, config: { permission: 'domains:write' } },
    async (request, reply) => {
      const { name } = named(request)
      await domains.remove(name)
      await audit(request, 'domain.remove', name)
      return reply.code(204).send()
    },
  )

  app.get<{ Params: Static<typeof ByName>; Querystring: Static<typeof RecordsQuery> }>(
    '/domains/:name/dns-records',
    { schema: { params: ByName, querystring: RecordsQuery }, config: { permission: 'domains:read' } },
    async (request, reply) => {
      const domain = named(request)
      const keys = await domains.publishedKeys(domain.name)
      const { format = 'json', lookup = true } = request.query
      const inspection = await (lookup ? inspector.inspect(domain, keys) : inspector.plan(domain, keys))
      if (format === 'json') return inspectionJson(inspection)
      const type = format === 'route53' ? 'application/json' : 'text/plain'
      return reply.type(type).send(await renderRecords(inspection, format as RecordFormat))
    },
  )

  app.post('/domains/dns-check', { config: { permission: 'domains:write' } }, async (request) => {
    requireUnbounded(request)
    return { lost: await watch.run() }
  })

  app.post<{ Params: Static<typeof ByName>; Body: Static<typeof Rotation> | undefined }>(
    '/domains/:name/dkim/rotate',
    { schema: { params: ByName, body: Rotation }, config: { permission: 'domains:write' } },
    async (request) => {
      const domain = named(request)
      const { at, now = false, force = false } = request.body ?? {}
      const keys = now
        ? await rotation.changeOverNow(domain, force)
        : await rotation.begin(domain, at === undefined ? null : timeOf(at))
      const view = keys.map(keyView)
      await audit(request, 'dkim.rotate', domain.name, { after: view })
      return { domain: domain.name, keys: view }
    },
  )
}

function keyView({ signsFromMs, signedUntilMs, ...key }: PublishedKey) {
  return { ...key, signs_from: time(signsFromMs), signed_until: time(signedUntilMs) }
}

function timeOf(text: string): number {
  const ms = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isFinite(ms)) return ms
  throw new Fault(`${JSON.stringify(text)} is not a time`, {
    code: 'invalid-request',
    field: 'at',
    remedy: 'Write it as 2026-12-01T06:00:00Z.',
  })
}
