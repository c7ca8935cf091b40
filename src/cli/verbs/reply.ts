import { createReadStream, existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { EX, Fault } from '#base'
import { classifyReplyLine } from '#feedback'
import { readAll } from '../read-all.ts'
import { replyRules } from '../reply-rules.ts'
import type { Command, Group } from '../verb.ts'

const classify: Command = {
  summary: 'Tells the class of SMTP replies, one a line (- for standard input)',
  operands: 'FILE',
  count: [1, 1],
  help: 'The lines of a reply of several lines are joined by a space. One line of output for each line of input.',
  async run({ args, io, out }) {
    const rules = await replyRules(args, io)
    const [name = '-'] = args.operands
    if (name !== '-' && !existsSync(resolve(io.cwd, name)))
      throw new Fault(`there is no file ${name}`, {
        code: 'no-input',
        exitCode: EX.NOINPUT,
        remedy: 'Name a file, or - for standard input',
      })
    const input = name === '-' ? io.stdin : createReadStream(resolve(io.cwd, name))
    // Split here and not by readline, which also splits at characters that may stand inside a reply (CR, U+2028).
    const lines = (await readAll(input)).toString('utf8').split('\n')
    if (lines.at(-1) === '') lines.pop()
    for (const line of lines.map((text) => text.replace(/\r$/, ''))) {
      const { text, class: cls, hard, action } = classifyReplyLine(line, rules)
      out.rows([{ text, class: cls, hard, action }], {
        class: (row) => row.class,
        hard: (row) => row.hard ?? 'unknown',
        action: (row) => row.action,
        text: (row) => row.text,
      })
    }
    return undefined
  },
}

export const reply: Group = { summary: 'SMTP replies, classified without the daemon.', commands: { classify } }
