import type { FastifyRequest } from 'fastify'
import { Fault } from '#base'

/** What a route asks for; the local socket, guarded by file permissions, has all of them. */
export const PERMISSIONS = [
  'send',
  'queue:read',
  'queue:write',
  'domains:read',
  'domains:write',
  'providers:read',
  'providers:write',
  'suppressions:read',
  'suppressions:write',
  'credentials:read',
  'credentials:write',
  'tokens:read',
  'tokens:write',
  'metrics:read',
  'events:read',
] as const
export type Permission = (typeof PERMISSIONS)[number]

/** Who asks. `domains` bounds what is seen and steered; null: everything. */
export type Identity = {
  readonly actor: string
  readonly permissions: ReadonlySet<string>
  readonly domains: ReadonlySet<string> | null
}

declare module 'fastify' {
  interface FastifyRequest {
    identity: Identity | null
  }
  interface FastifyContextConfig {
    permission?: Permission
  }
}

export const LOCAL: Identity = { actor: 'local', permissions: new Set(PERMISSIONS), domains: null }

/** The identity of an authenticated request. */
export function identityOf(request: FastifyRequest): Identity {
  if (request.identity !== null) return request.identity
  throw new Fault('this request carries no token', {
    code: 'unauthorized',
    remedy: 'Send "Authorization: Bearer rlv_…"; make a token with: relevo token create',
  })
}

/** Refuses what lies outside the sending domains of the identity; such things do not exist for it. */
export function mayTouch(identity: Identity, sendingDomain: string): boolean {
  return identity.domains === null || identity.domains.has(sendingDomain)
}

/** Refuses a token bounded to some sending domains where the answer would tell of others. */
export function requireUnbounded(request: FastifyRequest): void {
  if (identityOf(request).domains === null) return
  throw new Fault('this token is bounded to sending domains and may not see everything', {
    code: 'forbidden',
    remedy: 'Ask for one message (GET /queue/{id}), or use a token for all domains.',
  })
}
