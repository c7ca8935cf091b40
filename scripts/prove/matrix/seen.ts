import type { LocalApi } from '../../quickstart/local-api.ts'
import type { Outcome } from './expected.ts'

const ENDS = new Set(['sent', 'bounced', 'uncertain', 'expired', 'suppressed', 'cancelled'])

type Event = {
  readonly type: string
  readonly status: string | null
  readonly detail: Readonly<Record<string, unknown>>
}
type View = {
  readonly recipients: readonly { readonly attempts: number; readonly state: string }[]
}

/** What became of a message so far; `ends` is its state while it waits. More than one end is told as such. */
export async function seenOutcome(api: LocalApi, id: string, reason: string, copies: number): Promise<Outcome> {
  const events = await eventsOf(api, id)
  const view = await api.get<View>(`/queue/${id}`)
  const [recipient] = view.recipients
  const ends = events.filter((event) => ENDS.has(event.type))
  const waits = events.filter((event) => event.type === 'deferred')
  return {
    ends:
      ends.length === 0
        ? recipient!.state
        : ends.map(({ type, status }) => (type === 'sent' ? type : `${type} ${status}`)).join(' and '),
    counted: recipient!.attempts > 0 ? 'yes' : 'no',
    waited: waits.length > 0 ? waitOf(waits.at(-1)!) : reason || '–',
    copies: String(copies),
  }
}

/** The reason that the domain of a message waits for, `` when it does not. */
export async function reasonOf(api: LocalApi, id: string): Promise<string> {
  const { recipients } = await api.get<{ recipients: readonly { state: string; reason: string }[] }>(`/queue/${id}/why`)
  return recipients[0]?.state === 'ready' && recipients[0].reason.startsWith('dns-') ? recipients[0].reason : ''
}

async function eventsOf(api: LocalApi, id: string): Promise<readonly Event[]> {
  const all: Event[] = []
  for (let after = 0; ; ) {
    const page = await api.get<{ events: (Event & { seq: number })[]; next_after: number | null }>(
      `/events?message_id=${id}&limit=1000&after=${after}`,
    )
    all.push(...page.events)
    if (page.events.length < 1000) return all
    after = page.next_after!
  }
}

/** What a deferral met: stage and reply, or stage and fault. */
export function waitOf({ detail }: Pick<Event, 'detail'>): string {
  const stage = String(detail.stage)
  const reply = String(detail.reply)
  const reason = String(detail.reason)
  if (/^connection-(?:closed|reset|error)$/.test(reason)) return 'lost'
  if (reply !== '') return `${stage} ${reply.slice(0, 3)}`
  return `${stage} ${reason.endsWith('-timeout') ? 'timeout' : reason}`
}
