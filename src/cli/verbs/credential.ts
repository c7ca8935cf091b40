import { EX, Fault } from '#base'
import { segment } from '../local-api.ts'
import { readAll } from '../read-all.ts'
import type { Command, Group } from '../verb.ts'

type Credential = {
  readonly username: string
  readonly allowed: readonly string[]
  readonly rate_per_hour: number
  readonly expires_at: string | null
  readonly active: boolean
  readonly last_used_at: string | null
}

const add: Command = {
  summary: 'Makes a user name and password for submission by SMTP',
  operands: 'USERNAME',
  count: [1, 1],
  help: 'The password is shown once, here. With --password-stdin it is read from standard input instead of being made.',
  options: {
    allow: {
      type: 'string',
      multiple: true,
      value: 'DOMAIN|ADDRESS',
      help: 'what it may send as; * for every sending domain',
    },
    name: { type: 'string', help: 'what it is for' },
    'rate-per-hour': { type: 'string', value: 'N', help: 'the most recipients an hour (default: no limit)' },
    expires: { type: 'string', value: 'TIME', help: 'when it ends (RFC 3339)' },
    tag: { type: 'string', multiple: true, help: 'a tag for all its mail' },
    'password-stdin': { type: 'boolean', help: 'read the password from standard input' },
  },
  async run(invocation) {
    const { args, io, out } = invocation
    const allowed = args.list('allow')
    if (allowed.length === 0)
      throw new Fault('--allow is missing', {
        code: 'usage',
        exitCode: EX.USAGE,
        field: '--allow',
        remedy: 'Give the domains it may send as, such as --allow example.com, or --allow "*" for all',
      })
    const password = args.flag('password-stdin')
      ? (await readAll(io.stdin)).toString('utf8').replace(/\r?\n$/, '')
      : undefined
    const rate = args.whole('rate-per-hour')
    const wanted = {
      username: args.operands[0],
      allowed,
      password,
      name: args.text('name'),
      rate_per_hour: rate,
      expires_at: args.text('expires'),
      default_tags: args.texts('tag').length > 0 ? args.texts('tag') : undefined,
    }
    const api = await invocation.api()
    out.record(await api.post<Record<string, unknown>>('/credentials', wanted))
    return undefined
  },
}

const list: Command = {
  summary: 'Lists the credentials',
  async run(invocation) {
    const api = await invocation.api()
    const { credentials } = await api.get<{ credentials: readonly Credential[] }>('/credentials')
    invocation.out.rows(credentials, {
      username: (row) => row.username,
      'may send as': (row) => row.allowed,
      rate: (row) => row.rate_per_hour,
      expires: (row) => row.expires_at,
      active: (row) => (row.active ? 'yes' : 'no'),
      'last used': (row) => row.last_used_at,
    })
    return undefined
  },
}

const remove: Command = {
  summary: 'Ends a credential at once',
  operands: 'USERNAME',
  count: [1, 1],
  async run(invocation) {
    const name = invocation.args.operands[0]!
    const api = await invocation.api()
    await api.delete(`/credentials/${segment(name)}`)
    invocation.out.done(`${name} is removed`, { removed: name })
    return undefined
  },
}

export const credential: Group = {
  summary: 'User names and passwords for submission by SMTP.',
  commands: { add, list, remove },
}
