import { usage } from '../args.ts'
import { segment } from '../local-api.ts'
import type { Command, Group, Invocation } from '../verb.ts'

type Key = {
  readonly selector: string
  readonly algorithm: string
  readonly host: string
  readonly value: string
  readonly state: string
  readonly signs_from: string | null
  readonly signed_until: string | null
}

const list: Command = {
  summary: 'Lists the keys of a sending domain and what each is for',
  operands: 'DOMAIN',
  count: [1, 1],
  async run(invocation) {
    const api = await invocation.api()
    const { dkim } = await api.get<{ dkim: readonly Key[] }>(`/domains/${segment(invocation.args.operands[0]!)}`)
    show(invocation, dkim)
    return undefined
  },
}

const rotate: Command = {
  summary: 'Makes new keys, which sign once they are published',
  operands: 'DOMAIN',
  count: [1, 1],
  options: {
    at: { type: 'string', value: 'TIME', help: 'when they sign (RFC 3339; default: after dkim.change_over)' },
    now: { type: 'boolean', help: 'the new keys that wait sign at once, if they stand in the DNS' },
    force: { type: 'boolean', help: 'with --now: although they do not; mail fails DKIM until they do' },
  },
  help: `Publish the new records (relevo dns records DOMAIN) and leave the old ones. The old keys sign until the new ones stand in the
DNS and their time has come. The old records stay until relevo dns records no longer shows them: mail that they signed may
still be on its way.`,
  async run(invocation) {
    const { args, out } = invocation
    const name = args.operands[0]!
    const at = args.text('at')
    const now = args.flag('now')
    if (now && at !== undefined) throw usage('--now and --at are given; one of them is possible', '--at')
    if (args.flag('force') && !now) throw usage('--force goes with --now', '--force')
    const api = await invocation.api()
    const { domain, keys } = await api.post<{ domain: string; keys: readonly Key[] }>(
      `/domains/${segment(name)}/dkim/rotate`,
      { ...(at === undefined ? {} : { at }), ...(now ? { now, force: args.flag('force') } : {}) },
    )
    show(invocation, keys)
    if (!now)
      out.note(`Next: publish them beside the old ones (relevo dns records ${domain}); see relevo dns verify ${domain}`)
    return undefined
  },
}

function show({ out }: Invocation, keys: readonly Key[]): void {
  out.rows(keys, {
    selector: (key) => key.selector,
    algorithm: (key) => key.algorithm,
    state: (key) => key.state,
    'signs from': (key) => key.signs_from,
    'signed until': (key) => key.signed_until,
    record: (key) => `${key.host} TXT`,
    value: (key) => key.value,
  })
}

export const dkim: Group = { summary: 'The keys that sign for a sending domain.', commands: { list, rotate } }
