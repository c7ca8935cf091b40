import { readFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { EX, Fault, messageOf } from '#base'
import { usage } from '../args.ts'
import { readAll } from '../read-all.ts'
import type { Command } from '../verb.ts'

type Answer = {
  readonly id: string
  readonly repeated: boolean
  readonly recipients: readonly { readonly address: string; readonly status: string; readonly reason?: string }[]
}

export const send: Command = {
  summary: 'Hands in a message.',
  operands: 'ADDRESS...',
  count: [1, 1000],
  help: 'The text is read from standard input unless --text, --text-file or --html-file gives it. Exit code 0 once the message is on disk; 75 when the daemon is not running.',
  options: {
    from: { type: 'string', short: 'f', value: 'ADDRESS', help: 'the sender; its domain must be a sending domain' },
    subject: { type: 'string', short: 's', help: 'the subject' },
    text: { type: 'string', help: 'the plain text' },
    'text-file': { type: 'string', value: 'FILE', help: 'file with the plain text' },
    'html-file': { type: 'string', value: 'FILE', help: 'file with the HTML text' },
    attach: { type: 'string', multiple: true, short: 'a', value: 'FILE', help: 'a file to attach' },
    header: { type: 'string', multiple: true, value: 'NAME:VALUE', help: 'a further header field' },
    'reply-to': { type: 'string', value: 'ADDRESS', help: 'where answers go' },
    priority: { type: 'string', help: 'urgent, high, normal or low' },
    at: { type: 'string', value: 'TIME', help: 'not before this time (RFC 3339)' },
    tag: { type: 'string', multiple: true, help: 'a tag' },
    category: { type: 'string', help: 'the category' },
    provider: { type: 'string', value: 'NAME', help: 'the provider to use when it can' },
    'idempotency-key': { type: 'string', value: 'KEY', help: 'the same key again hands in nothing twice' },
  },
  async run(invocation) {
    const { args, io, out } = invocation
    const htmlFile = args.text('html-file')
    const textFile = args.text('text-file')
    const html = htmlFile === undefined ? undefined : (await file(io.cwd, htmlFile)).toString('utf8')
    let text = args.text('text')
    if (textFile !== undefined) text = (await file(io.cwd, textFile)).toString('utf8')
    if (text === undefined && html === undefined) text = (await readAll(io.stdin)).toString('utf8')
    const attachments = await Promise.all(
      args.texts('attach').map(async (path) => ({
        filename: basename(path),
        content: (await file(io.cwd, path)).toString('base64'),
      })),
    )
    const optional = {
      html,
      text,
      reply_to: args.text('reply-to'),
      priority: args.text('priority'),
      scheduled_at: args.text('at'),
      category: args.text('category'),
      provider_preference: args.text('provider'),
      tags: args.texts('tag').length > 0 ? args.texts('tag') : undefined,
      attachments: attachments.length > 0 ? attachments : undefined,
      headers: args.texts('header').length > 0 ? Object.fromEntries(args.texts('header').map(headerOf)) : undefined,
    }
    const key = args.text('idempotency-key')
    const api = await invocation.api()
    let answer: Answer
    try {
      answer = await api.post<Answer>(
        '/queue',
        { from: args.need('from'), to: args.operands, subject: args.text('subject') ?? '', ...optional },
        key === undefined ? {} : { 'idempotency-key': key },
      )
    } catch (error) {
      // As sendmail does: the caller keeps the mail and tries again.
      if (!(error instanceof Fault) || error.code !== 'daemon-down') throw error
      throw new Fault(error.message, {
        code: error.code,
        exitCode: EX.TEMPFAIL,
        cause: error,
        ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
      })
    }
    if (out.json) out.record(answer)
    else {
      out.done(`queued as ${answer.id}${answer.repeated ? ' (before)' : ''}`, answer)
      for (const one of answer.recipients)
        if (one.status !== 'queued') out.note(`${one.address}: ${one.status}${one.reason ? `, ${one.reason}` : ''}`)
    }
    return answer.recipients.every((one) => one.status !== 'queued') ? EX.DATAERR : EX.OK
  },
}

function headerOf(field: string): [string, string] {
  const colon = field.indexOf(':')
  if (colon <= 0) throw usage(`--header is ${JSON.stringify(field)}; write NAME:VALUE`, '--header', 'send')
  return [field.slice(0, colon).trim(), field.slice(colon + 1).trim()]
}

async function file(cwd: string, path: string): Promise<Buffer> {
  try {
    return await readFile(resolve(cwd, path))
  } catch (error) {
    throw new Fault(`${path} cannot be read: ${messageOf(error)}`, { code: 'no-input', exitCode: EX.NOINPUT })
  }
}
