// control: people and programs look and steer. The HTTP API on the local socket (for the relevo command) and on TCP with
// bearer tokens, one file a resource, every write audited; and the metrics listener. It never touches mail itself.
export { HTTP_LIMITS, type HttpLimits } from './http-limits.ts'
export { Metrics, type MetricsParts, type Readiness } from './metrics.ts'
export { BASE, type ControlParts, ControlServer } from './server.ts'
