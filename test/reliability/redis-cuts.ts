import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { load, type TempDir, tempDir } from '#world'
import { DaemonRig, DOMAIN } from '../daemon/daemon-rig.ts'
import { RedisServer } from '../limits/redis-server.ts'

export const CUTS = ['kill', 'flush', 'truncate', 'freeze'] as const
export type Cut = (typeof CUTS)[number]

export type RedisCutsOptions = {
  readonly cuts: number
  readonly nodes: number
  /** Messages a second to the one mailbox provider. */
  readonly rate: number
  /** How long Redis is away (or still) each time, ms. */
  readonly awayMs: number
  /** And there in between, ms. */
  readonly thereMs: number
  onCut?(n: number, cut: Cut, taken: number): void
}

export type RedisCutsResult = {
  readonly acked: number
  readonly lost: readonly string[]
  /** Copies beyond the first. */
  readonly doubled: number
  /** Taken without having been acknowledged or left without an answer. */
  readonly strangers: number
  /** Recipients with another number of outcomes than one. */
  readonly wrongOutcomes: number
  /** Most messages taken in one second, and what is allowed: the rate and its burst, a tenth more. */
  readonly peakPerSecond: number
  readonly allowedPerSecond: number
  /** While Redis was away, after the first wait: taken a second, and a node's share of the rate. */
  readonly awayPerSecond: number
  readonly sharePerSecond: number
  /** How the daemon said it stood while Redis was away, and at the end. */
  readonly saidDegraded: number
  readonly standingAtEnd: string
}

/** A real daemon that shares its limits by a real Redis delivers, while that Redis goes away in every way it can. */
export async function cutRedis(options: RedisCutsOptions): Promise<RedisCutsResult | null> {
  const { cuts, nodes, rate, awayMs, thereMs } = options
  await using stack = new AsyncDisposableStack()
  const started = await RedisServer.start('file')
  if (started === null) return null
  const redis = stack.use(started)
  const files: TempDir = stack.use(await tempDir())
  writeFileSync(files.join('url'), redis.url, { mode: 0o600 })
  writeFileSync(
    files.join('shaping.toml'),
    `[[provider]]\nname = "limited"\nmx = [".limited.test"]\nconnections = 10\nmessages_per_connection = 100\nrate = ${rate}\nrate_per = "second"\nexample_mx = ["mx.limited.test"]\n`,
  )
  const times: number[] = []
  const ids: string[] = []
  const rig = stack.use(
    await DaemonRig.open({
      badName: 'mx.limited.test',
      bad: {
        dot: (s) => {
          times.push(performance.now())
          ids.push(/^X-World-Id: *(\S+)/im.exec(s.body.subarray(0, 4000).toString('latin1'))?.[1] ?? '')
          return s.take()
        },
      },
      more: `[limits]\ndriver = "redis"\nredis_url_file = ${JSON.stringify(files.join('url'))}\nnodes = ${nodes}\n[rules]\nshaping_file = ${JSON.stringify(join(files.path, 'shaping.toml'))}`,
    }),
  )
  // A little faster than it may leave, so that something always waits.
  const ended = new AbortController()
  const loading = load({
    port: rig.ports.trusted,
    sessions: SESSIONS,
    signal: ended.signal,
    from: `app@${DOMAIN}`,
    to: (n) => `u${n}@bad.test`,
    pauseMs: (1000 * SESSIONS) / rate,
  })
  await rig.until(() => times.length > rate)
  const away: { readonly fromMs: number; readonly toMs: number }[] = []
  let saidDegraded = 0
  for (let n = 0; n < cuts; n++) {
    const cut = CUTS[n % CUTS.length]!
    options.onCut?.(n, cut, times.length)
    if (cut === 'flush') await redis.flush()
    else {
      if (cut === 'freeze') redis.freeze()
      else await redis.kill()
      const fromMs = performance.now()
      await pause(awayMs)
      const { limits } = await rig.api.get<{ limits: string }>('/status')
      if (limits === 'degraded') saidDegraded += 1
      away.push({ fromMs, toMs: performance.now() })
      if (cut === 'truncate') await redis.truncate()
      if (cut === 'freeze') redis.thaw()
      else await redis.start()
    }
    await pause(thereMs)
  }
  ended.abort()
  const { acked, unanswered } = await loading
  const settled = async (): Promise<boolean> => {
    type Queue = { readonly ready: number; readonly leased: number; readonly deferred: number; readonly sent: number }
    const { ready, leased, deferred, sent } = (await rig.api.get<{ queue: Queue }>('/status')).queue
    return ready + leased + deferred === 0 && sent >= acked.size
  }
  await rig.until(settled, 30_000 + (acked.size / rate) * 3000)
  const outcomes = new Map<string, number>()
  for (let after = 0; ; ) {
    const page = await rig.api.get<{ events: { recipient: string }[]; next_after: number | null }>(
      `/events?type=sent&limit=1000&after=${after}`,
    )
    for (const { recipient } of page.events) outcomes.set(recipient, (outcomes.get(recipient) ?? 0) + 1)
    if (page.next_after === null) break
    after = page.next_after
  }
  let limits = ''
  await rig.until(async () => {
    limits = (await rig.api.get<{ limits: string }>('/status')).limits
    return limits === 'shared'
  })
  const distinct = new Set(ids)
  const awaySeconds = away.reduce((sum, { fromMs, toMs }) => sum + (toMs - fromMs - FIRST_WAIT_MS) / 1000, 0)
  const takenAway = times.filter((at) =>
    away.some(({ fromMs, toMs }) => at > fromMs + FIRST_WAIT_MS && at < toMs),
  ).length
  return {
    acked: acked.size,
    lost: [...acked].filter((id) => !distinct.has(id)),
    doubled: ids.length - distinct.size,
    strangers: [...distinct].filter((id) => !acked.has(id) && !unanswered.has(id)).length,
    wrongOutcomes: [...outcomes.values()].filter((n) => n !== 1).length + Math.max(0, acked.size - outcomes.size),
    peakPerSecond: peak(times, 1000),
    allowedPerSecond: allowed(rate),
    awayPerSecond: round(takenAway / awaySeconds),
    sharePerSecond: rate / nodes,
    saidDegraded,
    standingAtEnd: limits,
  }
}

/** Until it is noticed that nobody answers. */
const FIRST_WAIT_MS = 400

/** The rate and a tenth, its burst and a tenth of it, and as many as ten connections may have held back. */
function allowed(rate: number): number {
  const burst = Math.max(1, Math.floor(rate / 10))
  return Math.ceil(rate * 1.1 + burst * 1.1 + 1 + CONNECTIONS)
}

const CONNECTIONS = 10
const SESSIONS = 4

function peak(times: readonly number[], withinMs: number): number {
  let most = 0
  for (let from = 0, to = 0; to < times.length; to++) {
    while (times[to]! - times[from]! >= withinMs) from += 1
    most = Math.max(most, to - from + 1)
  }
  return most
}

function round(n: number): number {
  return Math.round(n * 10) / 10
}
