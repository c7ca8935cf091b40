import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { Type } from '#base'
import type { Standings, WarmUp } from '#reputation'
import type { Breakers, Health, HealthChecks, NewProvider, Provider, ProviderChange, Providers } from '#routing'
import type { Audit } from '../audit.ts'
import { notFound } from '../problem.ts'
import { time } from '../times.ts'

const Settings = {
  host: Type.Optional(Type.String({ maxLength: 253 })),
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
  tls: Type.Optional(Type.Enum(['none', 'starttls', 'implicit'])),
  username: Type.Optional(Type.String({ maxLength: 320 })),
  password: Type.Optional(Type.String({ maxLength: 1024, description: 'Kept sealed, never shown.' })),
  ca_file: Type.Optional(Type.String({ maxLength: 4096 })),
  priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'Lower goes first.' })),
  weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
  fallback: Type.Optional(Type.Union([Type.String({ maxLength: 63 }), Type.Null()])),
}
const NewBody = Type.Object(
  {
    name: Type.String({ maxLength: 63 }),
    kind: Type.Optional(Type.Enum(['smarthost'])),
    ...Settings,
    host: Type.String({ maxLength: 253 }),
  },
  { additionalProperties: false },
)
const ChangeBody = Type.Object({ ...Settings, active: Type.Optional(Type.Boolean()) }, { additionalProperties: false })
const ByName = Type.Object({ name: Type.String({ maxLength: 63 }) })

export type ProviderParts = {
  readonly providers: Providers
  readonly breakers: Breakers
  readonly health: HealthChecks
  readonly standings: Standings
  readonly warmUp: WarmUp | null
}

export function providerRoutes(app: FastifyInstance, parts: ProviderParts, audit: Audit): void {
  const { providers, breakers, health, standings, warmUp } = parts

  function view(provider: Provider) {
    const checked = health.list().find((one) => one.provider === provider.name)
    const { smarthost } = provider
    return {
      id: provider.id,
      name: provider.name,
      kind: provider.kind,
      priority: provider.priority,
      weight: provider.weight,
      fallback: provider.fallback === null ? null : (providers.byName(provider.fallback)?.name ?? null),
      active: provider.active,
      ...(smarthost === null
        ? {}
        : {
            host: smarthost.host,
            port: smarthost.port,
            tls: smarthost.tls,
            username: smarthost.username,
            password_set: smarthost.password !== '',
            ca_file: smarthost.caFile,
          }),
      breaker: breakers.state(provider.id),
      health: checked === undefined ? null : healthView(checked),
    }
  }

  function known(name: string): Provider {
    const provider = providers.byName(name)
    if (provider === undefined) throw notFound('provider', name)
    return provider
  }

  app.get('/providers', { config: { permission: 'providers:read' } }, async () => ({
    providers: providers.list().map(view),
  }))

  app.post<{ Body: Static<typeof NewBody> }>(
    '/providers',
    { schema: { body: NewBody }, config: { permission: 'providers:write' } },
    async (request, reply) => {
      const { ca_file: caFile, kind: _kind, ...rest } = request.body
      const added = view(await providers.add({ ...rest, ...(caFile === undefined ? {} : { caFile }) } as NewProvider))
      await audit(request, 'provider.add', added.name, { after: added })
      return reply.code(201).send(added)
    },
  )

  app.get<{ Params: Static<typeof ByName> }>(
    '/providers/:name',
    { schema: { params: ByName }, config: { permission: 'providers:read' } },
    async (request) => view(known(request.params.name)),
  )

  app.put<{ Params: Static<typeof ByName>; Body: Static<typeof ChangeBody> }>(
    '/providers/:name',
    { schema: { params: ByName, body: ChangeBody }, config: { permission: 'providers:write' } },
    async (request) => {
      const before = view(known(request.params.name))
      const { ca_file: caFile, ...rest } = request.body
      const change = { ...rest, ...(caFile === undefined ? {} : { caFile }) } as ProviderChange
      const after = view(await providers.change(request.params.name, change))
      await audit(request, 'provider.change', after.name, { before, after })
      return after
    },
  )

  app.delete<{ Params: Static<typeof ByName> }>(
    '/providers/:name',
    { schema: { params: ByName }, config: { permission: 'providers:write' } },
    async (request, reply) => {
      const before = view(known(request.params.name))
      await providers.remove(request.params.name)
      await audit(request, 'provider.remove', before.name, { before })
      return reply.code(204).send()
    },
  )

  app.post<{ Params: Static<typeof ByName> }>(
    '/providers/:name/health-check',
    { schema: { params: ByName }, config: { permission: 'providers:write' } },
    async (request) => healthView(await health.run(known(request.params.name))),
  )

  app.get('/reputation', { config: { permission: 'providers:read' } }, async () => ({
    standings: standings.list().map((one) => ({
      source: one.source,
      mailbox_provider: one.mailboxProvider,
      verdict: one.verdict,
      reason: one.reason,
      since: time(one.sinceMs),
      direct_share: one.share,
      window: { good: one.good, blocked: one.blocked, deferred: one.deferred },
    })),
  }))

  app.get('/warmup', { config: { permission: 'providers:read' } }, async () => ({
    enabled: warmUp !== null,
    sources: (warmUp?.standing() ?? []).map((one) => ({
      source: one.source,
      day: one.day,
      volume: one.volume,
      sent_today: one.sentToday,
      warm: one.day === null,
    })),
  }))
}

function healthView(health: Health) {
  return {
    provider: health.provider,
    ok: health.ok,
    detail: health.detail,
    checked_at: time(health.checkedMs),
    took_ms: health.tookMs,
    breaker: health.breaker,
  }
}
