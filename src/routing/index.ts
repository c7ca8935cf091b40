// routing: who carries it. Chooses among direct delivery and the relays by priority, standing, breaker and warm-up, and
// learns from what came of it. It never opens a connection itself: health checks are done by a function it is given.
export { type BreakerState, Breakers } from './breaker.ts'
export type { RouteDecision, RouteReport, RouteRequest, Router, SmarthostSettings, SourceAddress } from './contract.ts'
export { type Health, type HealthCheck, HealthChecks } from './health.ts'
export { OwnPath } from './own-path.ts'
export { ProviderRouter } from './provider-router.ts'
export { type NewProvider, type Provider, type ProviderChange, Providers } from './providers.ts'
