// Redis goes away under a daemon that shares its limits by it: `node scripts/prove/redis-gone.ts --help`.
import { parseArgs } from 'node:util'
import { REMEDY } from '../../test/limits/redis-server.ts'
import { cutRedis } from '../../test/reliability/redis-cuts.ts'

const HELP = `usage: node scripts/prove/redis-gone.ts [options]
A daemon with limits.driver = "redis" delivers to one mailbox provider with a rate, while its Redis is killed, flushed, killed with
its append-only file cut off, and stopped (SIGSTOP), in turn. Each message must arrive once and end once, never faster than the rate,
at a node's share while Redis is away, and the limits must be shared again at the end.

  --cuts N     how many (default 100)
  --nodes N    that share the limits (default 4)
  --rate N     messages a second (default 40)
  --away MS    how long Redis is away each time (default 1500)
  --there MS   and there in between (default 700)
  --json       the result as one line of JSON at the end`

const { values } = parseArgs({
  options: {
    cuts: { type: 'string', default: '100' },
    nodes: { type: 'string', default: '4' },
    rate: { type: 'string', default: '40' },
    away: { type: 'string', default: '1500' },
    there: { type: 'string', default: '700' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) console.log(HELP)
else {
  const beganMs = performance.now()
  const result = await cutRedis({
    cuts: Number(values.cuts),
    nodes: Number(values.nodes),
    rate: Number(values.rate),
    awayMs: Number(values.away),
    thereMs: Number(values.there),
    onCut: (n, cut, taken) => {
      if (n % 10 === 0)
        console.log(`cut ${n} (${cut}), ${taken} taken, ${Math.round((performance.now() - beganMs) / 1000)} s`)
    },
  })
  if (result === null) {
    console.error(`there is no redis-server: ${REMEDY}`)
    process.exitCode = 69
  } else {
    const { lost, doubled, wrongOutcomes, peakPerSecond, allowedPerSecond } = result
    const held =
      lost.length + doubled + wrongOutcomes + result.strangers === 0 &&
      peakPerSecond <= allowedPerSecond &&
      result.standingAtEnd === 'shared'
    console.log(
      `${values.cuts} cuts: ${result.acked} acknowledged, ${lost.length} lost, ${doubled} doubled, ${wrongOutcomes} with a wrong number ` +
        `of outcomes; at most ${peakPerSecond} in a second (allowed ${allowedPerSecond}), ${result.awayPerSecond} a second while away ` +
        `(share ${result.sharePerSecond}); ${held ? 'held' : 'NOT HELD'}`,
    )
    if (values.json) console.log(JSON.stringify({ cuts: Number(values.cuts), ...result, lost: lost.length, held }))
    process.exitCode = held ? 0 : 1
  }
}
