import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { Fault, Type } from '#base'
import type { Credential, Credentials, Token, Tokens } from '#intake'
import type { Audit } from '../audit.ts'
import { PERMISSIONS } from '../identity.ts'
import { notFound } from '../problem.ts'
import { time } from '../times.ts'

const Allowed = Type.Array(Type.String({ minLength: 1, maxLength: 320 }), {
  minItems: 1,
  maxItems: 1000,
  description: 'Sending domains or full addresses; * for every sending domain; <> also allows the null sender.',
})
const NewCredentialBody = Type.Object(
  {
    username: Type.String({ maxLength: 254 }),
    password: Type.Optional(Type.String({ maxLength: 1024, description: 'Absent: one is made and answered once.' })),
    name: Type.Optional(Type.String({ maxLength: 200 })),
    allowed: Allowed,
    rate_per_hour: Type.Optional(Type.Integer({ minimum: 0 })),
    expires_at: Type.Optional(Type.String({ maxLength: 40 })),
    default_tags: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), { maxItems: 20 })),
  },
  { additionalProperties: false },
)
const NewTokenBody = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200 }),
    permissions: Type.Array(Type.Enum([...PERMISSIONS]), { minItems: 1 }),
    allowed: Allowed,
    expires_at: Type.Optional(Type.String({ maxLength: 40 })),
  },
  { additionalProperties: false },
)
const ById = Type.Object({ id: Type.String({ maxLength: 254 }) })

/** Who may hand in mail and steer: SMTP credentials and API tokens. Secrets are answered once, when they are made. */
export function accessRoutes(app: FastifyInstance, credentials: Credentials, tokens: Tokens, audit: Audit): void {
  app.get('/credentials', { config: { permission: 'credentials:read' } }, async () => ({
    credentials: (await credentials.list()).map(credentialView),
  }))

  app.post<{ Body: Static<typeof NewCredentialBody> }>(
    '/credentials',
    { schema: { body: NewCredentialBody }, config: { permission: 'credentials:write' } },
    async (request, reply) => {
      const { rate_per_hour: ratePerHour, expires_at: expiresAt, default_tags: defaultTags, ...rest } = request.body
      const made = await credentials.create({
        ...rest,
        expiresMs: instant(expiresAt),
        ...(ratePerHour === undefined ? {} : { ratePerHour }),
        ...(defaultTags === undefined ? {} : { defaultTags }),
      })
      const view = credentialView(made.credential)
      await audit(request, 'credential.create', view.username, { after: view })
      return reply.code(201).send({ ...view, password: made.password })
    },
  )

  app.delete<{ Params: Static<typeof ById> }>(
    '/credentials/:id',
    { schema: { params: ById }, config: { permission: 'credentials:write' } },
    async (request, reply) => {
      const known = (await credentials.list()).find(({ id, username }) => [id, username].includes(request.params.id))
      if (known === undefined) throw notFound('credential', request.params.id)
      await credentials.revoke(known.username)
      await audit(request, 'credential.revoke', known.username)
      return reply.code(204).send()
    },
  )

  app.get('/tokens', { config: { permission: 'tokens:read' } }, async () => ({
    tokens: (await tokens.list()).map(tokenView),
  }))

  app.post<{ Body: Static<typeof NewTokenBody> }>(
    '/tokens',
    { schema: { body: NewTokenBody }, config: { permission: 'tokens:write' } },
    async (request, reply) => {
      const { name, permissions, allowed, expires_at: expiresAt } = request.body
      const made = await tokens.create({ name, permissions, allowed, expiresMs: instant(expiresAt) })
      const view = tokenView(made.token)
      await audit(request, 'token.create', view.id, { after: view })
      return reply.code(201).send({ ...view, token: made.secret })
    },
  )

  app.delete<{ Params: Static<typeof ById> }>(
    '/tokens/:id',
    { schema: { params: ById }, config: { permission: 'tokens:write' } },
    async (request, reply) => {
      if (!(await tokens.revoke(request.params.id))) throw notFound('token', request.params.id)
      await audit(request, 'token.revoke', request.params.id)
      return reply.code(204).send()
    },
  )
}

function instant(text: string | undefined): number | null {
  if (text === undefined) return null
  const ms = Date.parse(text)
  if (!Number.isNaN(ms)) return ms
  throw new Fault(`${JSON.stringify(text)} is not a time`, {
    code: 'invalid-request',
    field: 'expires_at',
    remedy: 'Give it as RFC 3339, such as 2027-01-01T00:00:00Z.',
  })
}

function credentialView(credential: Credential) {
  return {
    id: credential.id,
    username: credential.username,
    name: credential.name,
    allowed: credential.allowed,
    rate_per_hour: credential.ratePerHour,
    default_tags: credential.defaultTags,
    active: credential.active,
    expires_at: time(credential.expiresMs),
    created_at: time(credential.createdMs),
    last_used_at: time(credential.lastUsedMs),
  }
}

function tokenView(token: Token) {
  return {
    id: token.id,
    name: token.name,
    prefix: token.prefix,
    permissions: token.permissions,
    allowed: token.allowed,
    active: token.active,
    expires_at: time(token.expiresMs),
    created_at: time(token.createdMs),
    last_used_at: time(token.lastUsedMs),
  }
}
