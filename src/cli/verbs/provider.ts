import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { EX, Fault, messageOf } from '#base'
import { segment } from '../local-api.ts'
import type { Command, Group, Invocation } from '../verb.ts'

type Provider = {
  readonly name: string
  readonly kind: string
  readonly priority: number
  readonly fallback: string | null
  readonly active: boolean
  readonly host?: string
  readonly port?: number
  readonly breaker: unknown
  readonly health: { readonly ok: boolean; readonly detail: string; readonly checked_at: string } | null
}

const SETTINGS: NonNullable<Command['options']> = {
  host: { type: 'string', help: 'the SMTP host of the smarthost' },
  port: { type: 'string', value: 'N', help: 'its port (default: 587)' },
  tls: { type: 'string', value: 'FORM', help: 'none, starttls or implicit (default: starttls)' },
  username: { type: 'string', help: 'the user name to log in with' },
  'password-file': { type: 'string', value: 'FILE', help: 'file with the password; it is kept sealed' },
  'ca-file': {
    type: 'string',
    value: 'FILE',
    help: 'PEM file with the authority that its certificate is checked against',
  },
  priority: { type: 'string', value: 'N', help: 'lower goes first (own delivery has 10)' },
  weight: { type: 'string', value: 'N', help: 'share among equals' },
  fallback: { type: 'string', value: 'NAME', help: 'the provider that follows when this one fails' },
}

const add: Command = {
  summary: 'Adds a relay that mail can be handed over to',
  operands: 'NAME',
  count: [1, 1],
  options: SETTINGS,
  async run(invocation) {
    const { args, out } = invocation
    args.need('host')
    const wanted = { name: args.operands[0], kind: 'smarthost', ...(await settings(invocation)) }
    const api = await invocation.api()
    out.record(await api.post<Provider>('/providers', wanted))
    return undefined
  },
}

/** What the options say, as the API takes it; what is not said is not sent. */
async function settings(invocation: Invocation): Promise<Record<string, unknown>> {
  const { args, io } = invocation
  const caFile = args.text('ca-file')
  return {
    host: args.text('host'),
    port: args.whole('port', 1, 65_535),
    tls: args.choice('tls', ['none', 'starttls', 'implicit']),
    username: args.text('username'),
    password: await password(invocation),
    ca_file: caFile === undefined ? undefined : resolve(io.cwd, caFile),
    priority: args.whole('priority'),
    weight: args.whole('weight'),
    fallback: args.text('fallback'),
  }
}

const set: Command = {
  summary: 'Changes a provider at once: how it is reached, its order, whether it is used',
  operands: 'NAME',
  count: [1, 1],
  help: 'Direct delivery is the provider "own": its priority, weight, fallback and use can be changed.',
  options: {
    ...SETTINGS,
    active: { type: 'boolean', help: 'use it' },
    inactive: { type: 'boolean', help: 'stop using it; nothing of it is forgotten' },
    'no-fallback': { type: 'boolean', help: 'the next by priority follows' },
  },
  async run(invocation) {
    const { args, out } = invocation
    if (args.flag('active') && args.flag('inactive'))
      throw new Fault('--active and --inactive exclude each other', {
        code: 'usage',
        exitCode: EX.USAGE,
        field: '--inactive',
        remedy: 'Give one of them',
      })
    const change = {
      ...(await settings(invocation)),
      ...(args.flag('active') ? { active: true } : args.flag('inactive') ? { active: false } : {}),
      ...(args.flag('no-fallback') ? { fallback: null } : {}),
    }
    const api = await invocation.api()
    out.record(await api.put<Provider>(`/providers/${segment(args.operands[0]!)}`, change))
    return undefined
  },
}

async function password({ args, io }: Invocation): Promise<string | undefined> {
  const file = args.text('password-file')
  if (file === undefined) return undefined
  try {
    return (await readFile(resolve(io.cwd, file), 'utf8')).replace(/\r?\n$/, '')
  } catch (error) {
    throw new Fault(`${file} cannot be read: ${messageOf(error)}`, { code: 'no-input', exitCode: EX.NOINPUT })
  }
}

const list: Command = {
  summary: 'Lists the providers with how each stands',
  async run(invocation) {
    const api = await invocation.api()
    const { providers } = await api.get<{ providers: readonly Provider[] }>('/providers')
    invocation.out.rows(providers, {
      name: (row) => row.name,
      kind: (row) => row.kind,
      host: (row) => (row.host === undefined ? '' : `${row.host}:${row.port}`),
      priority: (row) => row.priority,
      fallback: (row) => row.fallback,
      active: (row) => (row.active ? 'yes' : 'no'),
      breaker: (row) => row.breaker,
      health: (row) => (row.health === null ? '' : row.health.ok ? 'ok' : row.health.detail),
    })
    return undefined
  },
}

const remove: Command = {
  summary: 'Removes a provider; its mail goes another way',
  operands: 'NAME',
  count: [1, 1],
  async run(invocation) {
    const name = invocation.args.operands[0]!
    const api = await invocation.api()
    await api.delete(`/providers/${segment(name)}`)
    invocation.out.done(`${name} is removed`, { removed: name })
    return undefined
  },
}

const test: Command = {
  summary: 'Checks a provider now: connection, TLS, log-in; exit code 69 when it fails',
  operands: 'NAME',
  count: [1, 1],
  async run(invocation) {
    const api = await invocation.api()
    const checked = await api.post<Record<string, unknown>>(
      `/providers/${segment(invocation.args.operands[0]!)}/health-check`,
    )
    invocation.out.record(checked)
    return checked.ok === true ? EX.OK : EX.UNAVAILABLE
  },
}

export const provider: Group = {
  summary: 'Who carries mail besides own delivery: smarthosts.',
  commands: { add, list, set, remove, test },
}
