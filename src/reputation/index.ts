// reputation: how fast we may go and how we stand. Knows the mailbox providers and their limits, holds new addresses to
// their warm-up, and judges own delivery per source address × mailbox provider. It never chooses who carries a message.

export { Reach } from './reach.ts'
export { OTHER, Shaping, type ShapingRule } from './shaping.ts'
export { outcomeKind, type Standing, type StandingChange, Standings, type Verdict } from './standing.ts'
export { loadWarmUpPlan, WarmUp, type WarmUpPlan, type WarmUpStanding } from './warm-up.ts'
