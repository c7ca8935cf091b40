// limits: how much of something may happen now. Counts rates, concurrency, short-lived flags and leadership, in this
// process or in Redis for several machines. It decides no limit itself and keeps nothing that must survive a crash.
export type { Limiter, Rate, RateAnswer, Slot } from './contract.ts'
export { ProcessLimiter } from './process-limiter.ts'
export { RedisLimiter, type RedisLimiterOptions } from './redis-limiter.ts'
