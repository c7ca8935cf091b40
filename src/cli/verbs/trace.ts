import { EX, Fault, isId } from '#base'
import { segment } from '../local-api.ts'
import type { MessageDetail, MessageRow, Try } from '../message-views.ts'
import type { Output } from '../output.ts'
import { cell } from '../output.ts'
import { eachPage } from '../pages.ts'
import type { Command } from '../verb.ts'

export const trace: Command = {
  summary: 'Tells what happened to a message, or to the mail of a recipient.',
  operands: 'ID|ADDRESS',
  count: [1, 1],
  options: { limit: { type: 'string', value: 'N', help: 'of a recipient: the newest N messages (default: 10)' } },
  async run(invocation) {
    const { args, out } = invocation
    const [wanted = ''] = args.operands
    const api = await invocation.api()
    const ids = isId(wanted)
      ? [wanted]
      : (
          await eachPage<MessageRow>(
            api,
            '/queue',
            'messages',
            { recipient: wanted },
            args.whole('limit', 1, 500) ?? 10,
          )
        ).map((row) => row.id)
    if (ids.length === 0)
      throw new Fault(`there is no mail to ${JSON.stringify(wanted)} in the queue`, {
        code: 'not-found',
        exitCode: EX.NOINPUT,
        remedy: 'Give a message id or a full address; settled mail is kept for queue.retention_days',
      })
    for (const id of new Set(ids)) showMessage(await api.get<MessageDetail>(`/queue/${segment(id)}`), out)
    return undefined
  },
}

/** A message as its story: the head, then each recipient with its tries in order. */
export function showMessage(message: MessageDetail, out: Output): void {
  if (out.json) {
    out.record(message)
    return
  }
  const lines = [
    `${message.id}  ${message.accepted_at}  ${message.size_bytes} bytes  ${message.priority}${message.sandbox ? '  sandbox' : ''}`,
    `  from ${cell(message.from)} (${cell(message.mail_from) || '<>'})  ${cell(message.subject)}`,
  ]
  for (const recipient of message.recipients) {
    const { address, state, reason, due_at: due, settled_at: settled } = recipient
    lines.push(
      `  to ${cell(address)}: ${[state, reason && `(${cell(reason)})`, due && `until ${due}`, settled && `at ${settled}`].filter(Boolean).join(' ')}`,
    )
    lines.push(...recipient.tries.map((one) => `    ${tryLine(one)}`))
  }
  out.raw(`${lines.join('\n')}\n`)
}

function tryLine(one: Try): string {
  const to = one.remote_host === '' ? '' : `${cell(one.remote_host)} [${cell(one.remote_address)}]`
  return [one.ended_at ?? one.started_at, cell(one.provider), to, one.tls, one.stage, cell(one.reply) || one.class]
    .filter(Boolean)
    .join('  ')
}
