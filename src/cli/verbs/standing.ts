import type { Command, Group } from '../verb.ts'

type Source = {
  readonly source: string
  readonly day: number | null
  readonly volume: number | null
  readonly sent_today: number
  readonly warm: boolean
}
type Standing = {
  readonly source: string
  readonly mailbox_provider: string
  readonly verdict: string
  readonly reason: string | null
  readonly since: string
  readonly direct_share: number
  readonly window: { readonly good: number; readonly blocked: number; readonly deferred: number }
}

const showWarmup: Command = {
  summary: 'Shows the warm-up of each source address',
  async run(invocation) {
    const api = await invocation.api()
    const { enabled, sources } = await api.get<{ enabled: boolean; sources: readonly Source[] }>('/warmup')
    if (!enabled) invocation.out.note('warm-up is off (warmup.enabled)')
    invocation.out.rows(sources, {
      source: (row) => row.source,
      day: (row) => (row.warm ? 'warm' : row.day),
      volume: (row) => row.volume,
      'sent today': (row) => row.sent_today,
    })
    return undefined
  },
}

const showReputation: Command = {
  summary: 'Shows how own delivery stands at each mailbox provider',
  async run(invocation) {
    const api = await invocation.api()
    const { standings } = await api.get<{ standings: readonly Standing[] }>('/reputation')
    invocation.out.rows(standings, {
      source: (row) => row.source,
      'mailbox provider': (row) => row.mailbox_provider,
      verdict: (row) => row.verdict,
      'direct share': (row) => row.direct_share,
      good: (row) => row.window.good,
      blocked: (row) => row.window.blocked,
      deferred: (row) => row.window.deferred,
      since: (row) => row.since,
      reason: (row) => row.reason,
    })
    return undefined
  },
}

export const warmup: Group = { summary: 'The warm-up of new source addresses.', commands: { show: showWarmup } }
export const reputation: Group = {
  summary: 'How own delivery stands, per source address and mailbox provider.',
  commands: { show: showReputation },
}

export const status: Command = {
  summary: 'Shows the health of the running daemon.',
  async run(invocation) {
    const api = await invocation.api()
    invocation.out.record(await api.get<Record<string, unknown>>('/status'))
    return undefined
  },
}
