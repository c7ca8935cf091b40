import { chmod, rm } from 'node:fs/promises'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type Clock, Fault, type Log, newId } from '#base'
import type { Sink } from '#delivery'
import type { Credentials, Tokens } from '#intake'
import type { Queue } from '#queue'
import type { KeyKeeper, Records } from '#store'
import type { SuppressionList } from '#suppression'
import { accessRoutes } from './api/access.ts'
import { type DomainParts, domainRoutes } from './api/domains.ts'
import { eventRoutes } from './api/events.ts'
import { keyRoutes } from './api/keys.ts'
import { type ProviderParts, providerRoutes } from './api/providers.ts'
import { queueRoutes } from './api/queue.ts'
import { sandboxRoutes } from './api/sandbox.ts'
import { suppressionRoutes } from './api/suppressions.ts'
import { type TlsParts, tlsRoutes } from './api/tls.ts'
import { makeAudit } from './audit.ts'
import { HTTP_LIMITS, type HttpLimits, serverOptions } from './http-limits.ts'
import { type Identity, identityOf, LOCAL } from './identity.ts'
import { lazySchemas } from './lazy-schemas.ts'
import { problemHandler } from './problem.ts'

export const BASE = '/api/email-system'
/** 256 KiB of the worst JSON cost a few milliseconds. */
const MAX_JSON_BYTES = 262_144

export type ControlParts = ProviderParts & {
  readonly queue: Queue
  readonly domainParts: DomainParts
  readonly credentials: Credentials
  readonly tokens: Tokens
  readonly suppressions: SuppressionList
  readonly records: Records
  readonly tls: TlsParts
  /** The master key: on the local socket only. */
  readonly keys: KeyKeeper
  readonly clock: Clock
  readonly log: Log
  /** The largest list of addresses taken for import. */
  readonly maxBodyBytes: number
  readonly limits?: HttpLimits
  /** GET /status: the health of everything, by the daemon. */
  status(): Promise<Readonly<Record<string, unknown>>>
  /** Set in sandbox mode: what the sink took is shown on the local socket. */
  readonly sink: Sink | null
  /** Further routes under the base path (HTTP submission), registered once for each listener. */
  more(app: FastifyInstance): void
}

/** The HTTP API on one listener: who may, what is there, and errors as problems. */
export class ControlServer {
  readonly #app: FastifyInstance
  #socket = ''

  private constructor(app: FastifyInstance) {
    this.#app = app
  }

  /** @param local true for the unix socket, whose file permissions already say who may */
  static async open(
    parts: ControlParts,
    local: boolean,
    tls?: { readonly cert: string; readonly key: string },
  ): Promise<ControlServer> {
    const limits = parts.limits ?? HTTP_LIMITS
    const app = fastify({
      ...(tls === undefined
        ? { http: serverOptions(limits) }
        : { https: { ...tls, ...serverOptions(limits), handshakeTimeout: limits.headersMs } }),
      // JSON is read on the main thread: everything but mail (POST /queue, which reads its own) is small.
      bodyLimit: MAX_JSON_BYTES,
      genReqId: () => newId(parts.clock.now()),
      // A body with a field that is not known is refused, never quietly cut down.
      ajv: { customOptions: { removeAdditional: false, coerceTypes: 'array', allErrors: false } },
      schemaController: { compilersFactory: lazySchemas },
      forceCloseConnections: true,
      requestTimeout: limits.requestMs,
      connectionTimeout: limits.idleMs,
      keepAliveTimeout: limits.keepAliveMs,
      routerOptions: { maxParamLength: 512 },
    }) as unknown as FastifyInstance
    app.decorateRequest('identity', null)
    app.setErrorHandler(problemHandler(parts.log))
    app.setNotFoundHandler((request) => {
      throw new Fault(`there is no ${request.method} ${request.url.split('?', 1)[0]}`, {
        code: 'not-found',
        remedy: `The API stands under ${BASE}; docs/api.md lists it.`,
      })
    })
    app.addHook('onRequest', async (request) => {
      request.identity = local ? LOCAL : await identify(request, parts.tokens)
      const wanted = request.routeOptions.config.permission
      if (wanted === undefined || identityOf(request).permissions.has(wanted)) return
      throw new Fault(`this token may not do that: it lacks the permission ${wanted}`, {
        code: 'forbidden',
        remedy: `Make one with: relevo token create NAME --permission ${wanted}`,
      })
    })
    const audit = makeAudit(parts.records, parts.clock)
    await app.register(
      async (api) => {
        api.get('/status', { config: { permission: 'metrics:read' } }, () => parts.status())
        queueRoutes(api, parts.queue, audit, () => parts.clock.now())
        domainRoutes(api, parts.domainParts, audit)
        accessRoutes(api, parts.credentials, parts.tokens, audit)
        providerRoutes(api, parts, audit)
        suppressionRoutes(api, parts.suppressions, audit, parts.maxBodyBytes)
        eventRoutes(api, parts.records)
        tlsRoutes(api, parts.tls)
        if (local) keyRoutes(api, parts.keys, audit)
        if (local && parts.sink !== null) sandboxRoutes(api, parts.sink)
        parts.more(api)
      },
      { prefix: BASE },
    )
    app.server.maxConnections = limits.maxConnections
    return new ControlServer(app)
  }

  async listenTcp(host: string, port: number): Promise<number> {
    await this.#app.listen({ host, port })
    const bound = this.#app.server.address()
    return typeof bound === 'object' && bound !== null ? bound.port : port
  }

  /** The socket file is for the owner and the group only: who can open it may do everything. */
  async listenUnix(path: string): Promise<void> {
    await rm(path, { force: true })
    await this.#app.listen({ path })
    await chmod(path, 0o660)
    this.#socket = path
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app.close()
    if (this.#socket !== '') await rm(this.#socket, { force: true })
  }
}

async function identify(request: FastifyRequest, tokens: Tokens): Promise<Identity | null> {
  const header = request.headers.authorization
  if (header === undefined) return null
  const [scheme = '', token = ''] = header.split(' ', 2)
  const found = scheme.toLowerCase() === 'bearer' ? await tokens.verify(token) : null
  if (found === null)
    throw new Fault('the token is not known, has expired or was revoked', {
      code: 'unauthorized',
      remedy: 'Make a new one with: relevo token create',
    })
  return {
    actor: `token:${found.id}`,
    permissions: new Set(found.permissions),
    domains: found.allowed.includes('*') ? null : new Set(found.allowed),
  }
}
