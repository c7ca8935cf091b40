import { segment } from '../local-api.ts'
import type { Command, Group } from '../verb.ts'

type Key = {
  readonly selector: string
  readonly algorithm: string
  readonly host: string
  readonly value: string
  readonly state: string
  readonly signs_from: string | null
  readonly signed_until: string | null
}
type Domain = {
  readonly name: string
  readonly bounce_host: string
  readonly active: boolean
  readonly created_at: string
  readonly dkim: readonly Key[]
}

const add: Command = {
  summary: 'Adds a sending domain and makes its signing keys',
  operands: 'DOMAIN',
  count: [1, 1],
  options: {
    'bounce-host': {
      type: 'string',
      value: 'HOST',
      help: 'where its bounces come back (default: bounces.DOMAIN; empty: none)',
    },
  },
  async run(invocation) {
    const host = invocation.args.text('bounce-host')
    const api = await invocation.api()
    const added = await api.post<Domain>('/domains', {
      name: invocation.args.operands[0],
      ...(host === undefined ? {} : { bounce_host: host }),
    })
    invocation.out.record(added)
    invocation.out.note(
      `Next: publish its records (relevo dns records ${added.name}), then relevo dns verify ${added.name}`,
    )
    return undefined
  },
}

const list: Command = {
  summary: 'Lists the sending domains',
  async run(invocation) {
    const api = await invocation.api()
    const { domains } = await api.get<{ domains: readonly Domain[] }>('/domains')
    invocation.out.rows(domains, {
      domain: (row) => row.name,
      'bounce host': (row) => row.bounce_host,
      active: (row) => (row.active ? 'yes' : 'no'),
      selectors: (row) => row.dkim.filter((key) => key.state === 'signing').map((key) => key.selector),
      created: (row) => row.created_at,
    })
    return undefined
  },
}

const show: Command = {
  summary: 'Shows a sending domain with the keys to publish',
  operands: 'DOMAIN',
  count: [1, 1],
  async run(invocation) {
    const api = await invocation.api()
    const domain = await api.get<Domain>(`/domains/${segment(invocation.args.operands[0]!)}`)
    if (invocation.json) invocation.out.record(domain)
    else {
      const { dkim, ...head } = domain
      invocation.out.record(head)
      invocation.out.rows(dkim, { record: (key) => `${key.host} TXT`, value: (key) => key.value })
    }
    return undefined
  },
}

const remove: Command = {
  summary: 'Removes a sending domain; its mail in the queue is still delivered',
  operands: 'DOMAIN',
  count: [1, 1],
  async run(invocation) {
    const name = invocation.args.operands[0]!
    const api = await invocation.api()
    await api.delete(`/domains/${segment(name)}`)
    invocation.out.done(`${name} is removed`, { removed: name })
    return undefined
  },
}

export const domain: Group = {
  summary: 'Sending domains: what mail may be sent as, and the keys that sign it.',
  commands: { add, list, show, remove },
}
