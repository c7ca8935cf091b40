import t from 'tap'
import type { Clock } from '#base'
import { ProcessLimiter } from '#limits'
import { limiterSuite } from './limiter-suite.ts'

let nowMs = 1_000
const clock: Clock = { now: () => nowMs, monotonicMs: () => nowMs, after: () => () => {} }

void limiterSuite(
  t,
  async () => new ProcessLimiter(clock),
  async (ms) => {
    nowMs += ms
  },
)
