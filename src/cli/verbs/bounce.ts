import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { EX, messageOf } from '#base'
import { parseBounceFile, type ReportedRecipient } from '#feedback'
import { replyRules } from '../reply-rules.ts'
import type { Command, Group } from '../verb.ts'

const parse: Command = {
  summary: 'Reads mails that came back and tells what each says of whom',
  operands: 'FILE...',
  count: [1, 100_000],
  help: 'One line a file, in the order given; what cannot be read or made out has the kind "other". Exit code 66 when a file could not be read.',
  async run({ args, io, out }) {
    const rules = await replyRules(args, io)
    let code: number = EX.OK
    for (const path of args.operands) {
      const content = await readFile(resolve(io.cwd, path)).catch((error: unknown) => {
        code = EX.NOINPUT
        io.stderr.write(`relevo: ${path} cannot be read: ${messageOf(error)}\n`)
        return Buffer.alloc(0)
      })
      const { kind, recipients } = parseBounceFile(content, rules)
      if (out.json) out.record({ path, kind, recipients })
      else
        out.rows<Partial<ReportedRecipient>>(recipients.length === 0 ? [{}] : recipients, {
          path: () => path,
          kind: () => kind,
          address: (row) => row.address,
          class: (row) => row.class,
          hard: (row) => (row.hard === null ? 'unknown' : row.hard),
          diagnostic: (row) => row.diagnostic,
        })
    }
    return code
  },
}

type Inbound = {
  readonly seq: number
  readonly id: string
  readonly received_at: string
  readonly kind: string
  readonly mail_from: string
  readonly rcpt_to: string
  readonly result: { readonly found: string; readonly led_to: string } | null
}

const list: Command = {
  summary: 'Lists the mail that came back to port 25, newest first: bounces, complaints, postmaster and abuse',
  options: {
    kind: { type: 'string', help: 'bounce, complaint, postmaster or abuse' },
    limit: { type: 'string', value: 'N', help: 'the most lines (default: 50)' },
  },
  async run(invocation) {
    const { args, out } = invocation
    const api = await invocation.api()
    const { mails } = await api.get<{ mails: readonly Inbound[] }>('/inbound', {
      kind: args.choice('kind', ['bounce', 'complaint', 'postmaster', 'abuse']),
      limit: args.whole('limit', 1, 200) ?? 50,
    })
    out.rows(mails, {
      id: (row) => row.id,
      received: (row) => row.received_at,
      kind: (row) => row.kind,
      from: (row) => row.mail_from,
      to: (row) => row.rcpt_to,
      found: (row) => row.result?.found ?? '',
      'led to': (row) => row.result?.led_to ?? 'waits',
    })
    return undefined
  },
}

export const bounce: Group = {
  summary: 'Mails that came back: read a file without the daemon, or list what the daemon took.',
  commands: { list, parse },
}
