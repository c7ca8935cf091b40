/** What a client of an HTTP listener may take of time and places; whoever is over it is disconnected. */
export type HttpLimits = {
  /** From the connection to the end of the request's header, and of the TLS handshake. */
  readonly headersMs: number
  /** From the connection to the end of the request's body. */
  readonly requestMs: number
  /** Without a byte in either direction: also a client that does not read its answer. */
  readonly idleMs: number
  /** How long a connection may wait for its next request. */
  readonly keepAliveMs: number
  readonly maxConnections: number
}

export const HTTP_LIMITS: HttpLimits = {
  headersMs: 10_000,
  requestMs: 120_000,
  idleMs: 60_000,
  keepAliveMs: 30_000,
  maxConnections: 500,
}

/** For monitoring: small requests from a handful of programs. */
export const METRICS_LIMITS: HttpLimits = { ...HTTP_LIMITS, requestMs: 10_000, idleMs: 10_000, maxConnections: 50 }

/** The same as the options that Node makes a server with. */
export function serverOptions(limits: HttpLimits) {
  return {
    headersTimeout: limits.headersMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(1000, limits.headersMs),
  }
}
