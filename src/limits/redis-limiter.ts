import type { Redis } from 'ioredis'
import { type Clock, type Log, messageOf, newId } from '#base'
import { type Limiter, type Rate, type RateAnswer, type Slot, shareOfRate, shareOfSlots } from './contract.ts'
import { ProcessLimiter } from './process-limiter.ts'

// Each script is one atomic step on the server, by the server's clock, so that nodes with different clocks agree.
const NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + t[2] / 1000"
const TAKE = `${NOW}
local spacing, count, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local used = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local after = used + spacing * count
local wait = after - spacing * math.max(burst, count) - now
if wait > 0.001 then return tostring(math.ceil(wait)) end
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.max(1, math.ceil(after - now)))
return '0'`
const ACQUIRE = `${NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.ceil(math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[1]))))
return 1`
const LEAD = `local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

/** An answer that takes longer is no answer: mail must not wait for a sick Redis. */
const ANSWER_MS = 250
/** After a failure Redis is left alone this long, so that its absence costs one wait, not one for each message. */
const REST_MS = 1000

export type RedisLimiterOptions = {
  readonly url: string
  /** How many nodes share the limits: the divisor while Redis is away. */
  readonly nodes: number
  readonly clock: Clock
  readonly log: Log
  readonly prefix?: string
}

/** A tenth more, so that the moments at which answers arrive never refuse what the server's clock granted evenly. */
function withRoom(rate: Rate): Rate {
  return { ...rate, perMs: rate.perMs / 1.1, burst: rate.burst + Math.ceil(rate.burst / 10) + 1 }
}

/** The limiter that several machines share. While Redis is away each node keeps to its share of every limit. */
export class RedisLimiter implements Limiter {
  readonly #redis: Redis
  readonly #alone: ProcessLimiter
  /** What this node took of each rate, wherever it was granted: Redis may forget (a flush, a start without its file), this does not. */
  readonly #own: ProcessLimiter
  readonly #nodes: number
  readonly #clock: Clock
  readonly #log: Log
  readonly #prefix: string
  #restUntilMs = 0
  #degraded = false
  #cancelLook: (() => void) | null = null

  private constructor(redis: Redis, options: RedisLimiterOptions) {
    this.#redis = redis
    this.#alone = new ProcessLimiter(options.clock)
    this.#own = new ProcessLimiter(options.clock)
    this.#nodes = options.nodes
    this.#clock = options.clock
    this.#log = options.log
    this.#prefix = options.prefix ?? 'relevo:'
  }

  /** Never waits for Redis: a node starts, and sends at its share, while Redis is down. */
  static async open(options: RedisLimiterOptions): Promise<RedisLimiter> {
    const { Redis } = await import('ioredis')
    const redis = new Redis(options.url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: ANSWER_MS,
      connectTimeout: 2000,
      retryStrategy: (times) => Math.min(times * 200, 2000),
    })
    const limiter = new RedisLimiter(redis, options)
    redis.on('error', (error) => limiter.#fail(error))
    redis.on('ready', () => {
      limiter.#restUntilMs = 0
    })
    redis.connect().catch((error: unknown) => limiter.#fail(error))
    return limiter
  }

  async take(key: string, rate: Rate, count = 1): Promise<RateAnswer> {
    const answer = await this.#shared<RateAnswer>(
      async () => {
        const wait = Number(
          await this.#redis.eval(TAKE, 1, `${this.#prefix}rate:${key}`, rate.perMs / rate.limit, count, rate.burst),
        )
        return wait === 0 ? { granted: true } : { granted: false, retryAfterMs: wait }
      },
      () => this.#alone.take(key, shareOfRate(rate, this.#nodes), count),
    )
    return answer.granted ? this.#own.takeNow(key, withRoom(rate), count) : answer
  }

  acquire(key: string, max: number, ttlMs: number): Promise<Slot | null> {
    const id = newId(this.#clock.now())
    return this.#shared(
      async () =>
        (await this.#redis.eval(ACQUIRE, 1, `${this.#prefix}slots:${key}`, max, ttlMs, id)) === 1 ? { key, id } : null,
      () => this.#alone.acquire(key, shareOfSlots(max, this.#nodes), ttlMs),
    )
  }

  async release(slot: Slot): Promise<void> {
    await this.#alone.release(slot)
    await this.#shared(
      async () => {
        await this.#redis.zrem(`${this.#prefix}slots:${slot.key}`, slot.id)
      },
      async () => {},
    )
  }

  async set(key: string, value: string, ttlMs: number): Promise<void> {
    await this.#alone.set(key, value, ttlMs)
    await this.#shared(
      async () => {
        await this.#redis.set(`${this.#prefix}flag:${key}`, value, 'PX', Math.ceil(ttlMs))
      },
      async () => {},
    )
  }

  get(key: string): Promise<string | null> {
    return this.#shared(
      () => this.#redis.get(`${this.#prefix}flag:${key}`),
      () => this.#alone.get(key),
    )
  }

  async clear(key: string): Promise<void> {
    await this.#alone.clear(key)
    await this.#shared(
      async () => {
        await this.#redis.del(`${this.#prefix}flag:${key}`)
      },
      async () => {},
    )
  }

  /** While Redis is away nobody leads: two leaders would do the work twice. */
  lead(name: string, holder: string, ttlMs: number): Promise<boolean> {
    return this.#shared(
      async () => (await this.#redis.eval(LEAD, 1, `${this.#prefix}lead:${name}`, holder, Math.ceil(ttlMs))) === 1,
      async () => this.#nodes === 1,
    )
  }

  standing(): 'shared' | 'degraded' {
    return this.#degraded ? 'degraded' : 'shared'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelLook?.()
    this.#cancelLook = null
    this.#redis.disconnect()
  }

  async #shared<T>(together: () => Promise<T>, alone: () => Promise<T>): Promise<T> {
    if (this.#clock.monotonicMs() < this.#restUntilMs) return alone()
    try {
      const answer = await together()
      if (this.#degraded) {
        this.#degraded = false
        this.#log.info({}, 'redis answers again; limits are shared')
      }
      return answer
    } catch (error) {
      this.#fail(error)
      return alone()
    }
  }

  #fail(error: unknown): void {
    this.#restUntilMs = this.#clock.monotonicMs() + REST_MS
    if (this.#degraded) return
    this.#degraded = true
    this.#lookAgain()
    this.#log.warn(
      { error: messageOf(error), nodes: this.#nodes },
      'redis is away; this node keeps to its share of the limits',
    )
  }

  /** Until it is back it is looked for also while nothing is sent, so that what is shown of it holds. */
  #lookAgain(): void {
    this.#cancelLook = this.#clock.after(REST_MS, () => {
      void this.get('standing').then(() => {
        if (this.#degraded && this.#cancelLook !== null) this.#lookAgain()
      })
    })
  }
}
