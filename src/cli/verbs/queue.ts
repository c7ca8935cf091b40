import { EX, Fault } from '#base'
import { usage } from '../args.ts'
import { segment } from '../local-api.ts'
import { MESSAGE_COLUMNS, type MessageDetail, type MessageRow } from '../message-views.ts'
import { eachPage } from '../pages.ts'
import type { Command, Group, Invocation, Option } from '../verb.ts'
import { showMessage } from './trace.ts'

const FILTER: Readonly<Record<string, Option>> = {
  status: { type: 'string', multiple: true, value: 'STATE', help: 'recipients in this state: deferred, held, sent, …' },
  recipient: { type: 'string', value: 'ADDRESS', help: 'of this recipient' },
  domain: { type: 'string', value: 'DOMAIN', help: 'to this recipient domain' },
  'sending-domain': { type: 'string', value: 'DOMAIN', help: 'sent as this domain' },
  priority: { type: 'string', value: 'PRIORITY', help: 'urgent, high, normal or low' },
  tag: { type: 'string', help: 'with this tag' },
  campaign: { type: 'string', help: 'of this campaign' },
  before: { type: 'string', value: 'TIME', help: 'accepted before this time (RFC 3339)' },
  after: { type: 'string', value: 'TIME', help: 'accepted after this time (RFC 3339)' },
}

function filterOf({ args }: Invocation): Record<string, string> {
  const given: Record<string, string | undefined> = {
    status: args.list('status').join(',') || undefined,
    recipient: args.text('recipient'),
    domain: args.text('domain'),
    sending_domain: args.text('sending-domain'),
    priority: args.text('priority'),
    tag: args.text('tag'),
    campaign: args.text('campaign'),
    accepted_before: args.text('before'),
    accepted_after: args.text('after'),
  }
  return Object.fromEntries(Object.entries(given).filter((pair): pair is [string, string] => pair[1] !== undefined))
}

const list: Command = {
  summary: 'Lists recipients with where each stands, newest first',
  options: { ...FILTER, limit: { type: 'string', value: 'N', help: 'at most so many (default: 50)' } },
  async run(invocation) {
    const { args, out } = invocation
    const api = await invocation.api()
    const rows = await eachPage<MessageRow>(
      api,
      '/queue',
      'messages',
      filterOf(invocation),
      args.whole('limit', 1) ?? 50,
    )
    out.rows(rows, MESSAGE_COLUMNS)
    return undefined
  },
}

const show: Command = {
  summary: 'Shows messages with every recipient and every try',
  operands: 'ID...',
  count: [1, 100],
  async run(invocation) {
    const api = await invocation.api()
    for (const id of invocation.args.operands)
      showMessage(await api.get<MessageDetail>(`/queue/${segment(id)}`), invocation.out)
    return undefined
  },
}

/** hold, release, retry, cancel: of messages by id, or of all that a filter names. */
function steer(action: 'hold' | 'release' | 'retry' | 'cancel', summary: string): Command {
  return {
    summary,
    operands: '[ID...]',
    count: [0, 1000],
    help: `Give ids, or a filter. With a filter --dry-run counts first; all mail is meant only by --all.`,
    options: {
      ...FILTER,
      all: { type: 'boolean', help: 'everything in the queue' },
      reason: { type: 'string', value: 'TEXT', help: 'kept with each recipient' },
      'dry-run': { type: 'boolean', help: 'only count' },
      limit: { type: 'string', value: 'N', help: 'at most so many recipients (default: 10000)' },
    },
    async run(invocation) {
      const { args, out } = invocation
      const filter = filterOf(invocation)
      const ids = args.operands
      const filtered = Object.keys(filter).length > 0
      if ([ids.length > 0, filtered, args.flag('all')].filter(Boolean).length !== 1)
        throw usage('say which: ids, a filter, or --all', undefined, `queue ${action}`)
      const api = await invocation.api()
      const limit = args.whole('limit', 1, 100_000)
      let count = 0
      let more = false
      for (const one of ids.length > 0 ? ids.map((id) => ({ message_id: id })) : [filter]) {
        const done = await api.post<{ count: number; more: boolean }>('/queue/steer', {
          action,
          filter: one,
          ...(args.text('reason') === undefined ? {} : { reason: args.text('reason') }),
          ...(limit === undefined ? {} : { limit }),
          dry_run: args.flag('dry-run'),
        })
        count += done.count
        more ||= done.more
      }
      if (ids.length > 0 && count === 0)
        throw new Fault(`no recipient of ${ids.join(', ')} can be given to ${action} now`, {
          code: 'conflict',
          exitCode: EX.DATAERR,
          remedy: `See where each stands with: relevo trace ${ids[0]}`,
        })
      const verb = args.flag('dry-run') ? 'would be concerned' : 'done'
      out.done(`${action}: ${count} recipient${count === 1 ? '' : 's'} ${verb}${more ? ', and there are more' : ''}`, {
        action,
        count,
        more,
        dry_run: args.flag('dry-run'),
      })
      return undefined
    },
  }
}

const plainRelease = steer('release', 'Lets held mail go on')

/** What a restore holds may have been delivered after the backup was made: counted first, then released by --yes. */
const release: Command = {
  ...plainRelease,
  help: `${plainRelease.help} --restored: all that a restore holds; it counts first and releases with --yes.`,
  options: {
    ...plainRelease.options,
    restored: { type: 'boolean', help: 'all that was held by relevo db restore' },
    yes: { type: 'boolean', help: 'with --restored: release, do not only count' },
  },
  async run(invocation) {
    const { args, out } = invocation
    if (!args.flag('restored')) return await plainRelease.run(invocation)
    if (args.operands.length > 0 || args.flag('all'))
      throw usage('--restored goes with a filter, not with ids or --all', '--restored', 'queue release')
    const api = await invocation.api()
    const filter = { ...filterOf(invocation), restored: true }
    const limit = 100_000
    const steer = (dry: boolean) =>
      api.post<{ count: number; more: boolean }>('/queue/steer', { action: 'release', filter, limit, dry_run: dry })
    if (!args.flag('yes')) {
      const { count, more } = await steer(true)
      out.done(
        `${more ? 'more than ' : ''}${count} recipients are held by a restore. What was delivered after the backup was made would be delivered again; relevo queue list --status held shows them, relevo queue cancel ends one. Release them with --yes`,
        { action: 'release', count, more, dry_run: true },
      )
      return undefined
    }
    let count = 0
    for (let more = true; more; ) {
      const done = await steer(false)
      count += done.count
      more = done.more
    }
    out.done(`release: ${count} recipients done`, { action: 'release', count, more: false, dry_run: false })
    return undefined
  },
}

export const queue: Group = {
  summary: 'Lists and steers the mail that is kept.',
  commands: {
    list,
    show,
    hold: steer('hold', 'Holds mail back until it is released'),
    release,
    retry: steer('retry', 'Tries waiting mail again now'),
    cancel: steer('cancel', 'Gives mail up without a try or a bounce'),
  },
}
