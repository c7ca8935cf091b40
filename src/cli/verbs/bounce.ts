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

export const bounce: Group = { summary: 'Mails that came back, read without the daemon.', commands: { parse } }
