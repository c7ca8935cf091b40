import { createServer, type Server } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'
import { type Log, messageOf } from '#base'
import type { EventHub } from '#events'
import { type HttpLimits, METRICS_LIMITS, serverOptions } from './http-limits.ts'

export type Readiness = { readonly ready: boolean; readonly mode: string; readonly problems: readonly string[] }

export type MetricsParts = {
  readonly hub: EventHub
  readonly log: Log
  queueCounts(): Promise<Readonly<Record<string, number>>>
  backlog(): number
  sessions(): number
  connections(): number
  /** Return paths refused: forged, expired, not ours. */
  refusedReturnPaths(): number
  storeStats(): { readonly writes: number; readonly queued: number }
  /** Sessions with MX hosts since start, by `<policy type> <result>` (RFC 8460). */
  tlsSessions(): ReadonlyMap<string, number>
  readiness(): Promise<Readiness>
  readonly limits?: HttpLimits
}

/** How often the event loop is looked at. What is measured contains this wait. */
const LOOK_EVERY_MS = 10
const QUANTILES = [0.5, 0.99, 0.999, 1]

/** Loopback HTTP for monitoring: /metrics (Prometheus text), /healthz (the process lives), /readyz (it takes mail). */
export class Metrics {
  readonly #registry = new Registry()
  readonly #parts: MetricsParts
  readonly #loopDelay = monitorEventLoopDelay({ resolution: LOOK_EVERY_MS })
  #server: Server | null = null

  constructor(parts: MetricsParts) {
    this.#parts = parts
    const registers = [this.#registry]
    collectDefaultMetrics({ register: this.#registry })
    const events = new Counter({
      name: 'relevo_events_total',
      help: 'Events by type and, for sent mail, by the way it took',
      labelNames: ['type', 'way'],
      registers,
    })
    const queueTime = new Histogram({
      name: 'relevo_queue_seconds',
      help: 'Time from acceptance to the outcome sent',
      buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300, 3600, 86_400],
      registers,
    })
    parts.hub.listen((list) => {
      for (const event of list) {
        events.inc({ type: event.type, way: event.type === 'sent' ? (event.class ?? '') : '' })
        const waited = event.type === 'sent' ? event.detail.queueMs : undefined
        if (typeof waited === 'number') queueTime.observe(waited / 1000)
      }
    })
    const gauge = (name: string, help: string, read: () => number): void => {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read())
        },
      })
    }
    const recipients = new Gauge({
      name: 'relevo_queue_recipients',
      help: 'Recipients by state',
      labelNames: ['state'],
      registers,
      async collect() {
        for (const [state, count] of Object.entries(await parts.queueCounts())) this.set({ state }, count)
      },
    })
    void recipients
    const loopDelay = this.#loopDelay
    loopDelay.enable()
    new Gauge({
      name: 'relevo_event_loop_delay_seconds',
      help: 'How late the event loop was since the last scrape; quantile 1 is the longest wait',
      labelNames: ['quantile'],
      registers,
      collect() {
        for (const quantile of QUANTILES) {
          const ms = loopDelay.percentile(quantile * 100) / 1e6 - LOOK_EVERY_MS
          this.set({ quantile }, Math.max(0, ms) / 1000)
        }
        loopDelay.reset()
      },
    })
    const tls = new Gauge({
      name: 'relevo_tls_sessions',
      help: 'Sessions with MX hosts since start, by the policy that the domain publishes and what became of TLS',
      labelNames: ['policy', 'result'],
      registers,
      collect() {
        for (const [name, count] of parts.tlsSessions()) {
          const [policy = '', result = ''] = name.split(' ')
          this.set({ policy, result }, count)
        }
      },
    })
    void tls
    gauge('relevo_backlog_messages', 'Messages accepted and not yet tried for the first time', parts.backlog)
    gauge('relevo_submission_sessions', 'Open sessions of submission clients', parts.sessions)
    gauge('relevo_delivery_connections', 'Open connections to MX hosts and relays', parts.connections)
    gauge(
      'relevo_return_paths_refused',
      'Return paths refused as forged, expired or not ours',
      parts.refusedReturnPaths,
    )
    gauge('relevo_store_writes', 'Writes answered since start', () => parts.storeStats().writes)
    gauge('relevo_store_waiting', 'Writes waiting for a commit', () => parts.storeStats().queued)
  }

  /** Resolves with the port once it listens. */
  async listen(host: string, port: number): Promise<number> {
    const limits = this.#parts.limits ?? METRICS_LIMITS
    const server = createServer(serverOptions(limits), (request, response) => {
      this.#answer(request.url ?? '').then(
        ({ status, type, body }) => response.writeHead(status, { 'content-type': type }).end(body),
        (error: unknown) => {
          this.#parts.log.error({ error: messageOf(error) }, 'metrics could not be read')
          response.writeHead(500).end()
        },
      )
    })
    server.maxConnections = limits.maxConnections
    server.setTimeout(limits.idleMs)
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, resolve)
    })
    const bound = server.address()
    return typeof bound === 'object' && bound !== null ? bound.port : port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#loopDelay.disable()
    this.#registry.clear()
    this.#server?.closeAllConnections()
    await new Promise((resolve) => (this.#server === null ? resolve(null) : this.#server.close(resolve)))
  }

  async #answer(url: string): Promise<{ status: number; type: string; body: string }> {
    const path = url.split('?', 1)[0]
    if (path === '/metrics')
      return { status: 200, type: this.#registry.contentType, body: await this.#registry.metrics() }
    if (path === '/healthz') return { status: 200, type: 'text/plain', body: 'ok\n' }
    if (path === '/readyz') {
      const readiness = await this.#parts.readiness()
      return { status: readiness.ready ? 200 : 503, type: 'application/json', body: `${JSON.stringify(readiness)}\n` }
    }
    return { status: 404, type: 'text/plain', body: 'see /metrics, /healthz, /readyz\n' }
  }
}
