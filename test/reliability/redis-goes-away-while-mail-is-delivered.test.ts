import t from 'tap'
import { REMEDY } from '../limits/redis-server.ts'
import { CUTS, cutRedis } from './redis-cuts.ts'

void t.test(
  'I-26: Redis killed, flushed, its file cut off, stopped: nothing lost or doubled, never more than the limit',
  async (t) => {
    t.setTimeout(150_000)
    const result = await cutRedis({ cuts: CUTS.length, nodes: 4, rate: 40, awayMs: 1500, thereMs: 700 })
    if (result === null) {
      t.comment(`left out: limits in redis (remedy: ${REMEDY})`)
      t.not(process.env.RELEVO_TEST_ALL, '1', 'with --all nothing may be left out')
      return
    }
    t.comment(JSON.stringify(result))
    t.ok(result.acked >= 80, `${result.acked} acknowledged`)
    t.same(result.lost, [])
    t.equal(result.doubled, 0)
    t.equal(result.wrongOutcomes, 0)
    t.ok(result.peakPerSecond <= result.allowedPerSecond, 'never more than the limit, whatever Redis forgets')
    t.ok(
      result.awayPerSecond > 0 && result.awayPerSecond <= result.sharePerSecond * 1.6,
      `${result.awayPerSecond} a second while away, a node’s share is ${result.sharePerSecond}`,
    )
    t.equal(result.saidDegraded, CUTS.length - 1, 'it says so each time')
    t.equal(result.standingAtEnd, 'shared', 'and comes back')
  },
)
