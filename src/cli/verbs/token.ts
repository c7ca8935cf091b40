import { segment } from '../local-api.ts'
import type { Command, Group } from '../verb.ts'

type Token = {
  readonly id: string
  readonly name: string
  readonly prefix: string
  readonly permissions: readonly string[]
  readonly allowed: readonly string[]
  readonly expires_at: string | null
  readonly active: boolean
  readonly last_used_at: string | null
}

const create: Command = {
  summary: 'Makes a bearer token for the HTTP API; it is shown once, here',
  operands: 'NAME',
  count: [1, 1],
  options: {
    permission: { type: 'string', multiple: true, value: 'NAME', help: 'send, queue:read, … (default: send)' },
    allow: {
      type: 'string',
      multiple: true,
      value: 'DOMAIN',
      help: 'the sending domains it is bounded to (default: *, all)',
    },
    expires: { type: 'string', value: 'TIME', help: 'when it ends (RFC 3339)' },
  },
  async run(invocation) {
    const { args, out } = invocation
    const permissions = args.list('permission')
    const allowed = args.list('allow')
    const api = await invocation.api()
    out.record(
      await api.post<Record<string, unknown>>('/tokens', {
        name: args.operands[0],
        permissions: permissions.length === 0 ? ['send'] : permissions,
        allowed: allowed.length === 0 ? ['*'] : allowed,
        ...(args.text('expires') === undefined ? {} : { expires_at: args.text('expires') }),
      }),
    )
    return undefined
  },
}

const list: Command = {
  summary: 'Lists the tokens',
  async run(invocation) {
    const api = await invocation.api()
    const { tokens } = await api.get<{ tokens: readonly Token[] }>('/tokens')
    invocation.out.rows(tokens, {
      id: (row) => row.id,
      name: (row) => row.name,
      prefix: (row) => row.prefix,
      permissions: (row) => row.permissions,
      domains: (row) => row.allowed,
      expires: (row) => row.expires_at,
      active: (row) => (row.active ? 'yes' : 'no'),
      'last used': (row) => row.last_used_at,
    })
    return undefined
  },
}

const revoke: Command = {
  summary: 'Ends a token at once',
  operands: 'ID',
  count: [1, 1],
  async run(invocation) {
    const id = invocation.args.operands[0]!
    const api = await invocation.api()
    await api.delete(`/tokens/${segment(id)}`)
    invocation.out.done(`${id} is revoked`, { revoked: id })
    return undefined
  },
}

export const token: Group = { summary: 'Bearer tokens of the HTTP API.', commands: { create, list, revoke } }
