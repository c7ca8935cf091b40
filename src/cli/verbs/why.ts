import { segment } from '../local-api.ts'
import type { Command } from '../verb.ts'

type Why = {
  readonly address: string
  readonly state: string
  readonly reason: string | null
  readonly until: string | null
  readonly last_answer: string | null
}

export const why: Command = {
  summary: 'Tells why a message waits, and until when.',
  operands: 'ID',
  count: [1, 1],
  async run(invocation) {
    const api = await invocation.api()
    const { recipients } = await api.get<{ recipients: readonly Why[] }>(
      `/queue/${segment(invocation.args.operands[0]!)}/why`,
    )
    invocation.out.rows(recipients, {
      recipient: (row) => row.address,
      state: (row) => row.state,
      reason: (row) => row.reason,
      until: (row) => row.until,
      'last answer': (row) => row.last_answer,
    })
    return undefined
  },
}
