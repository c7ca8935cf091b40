import { createReadStream, createWriteStream } from 'node:fs'
import { resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { EX, Fault, messageOf } from '#base'
import { segment } from '../local-api.ts'
import type { Columns } from '../output.ts'
import { eachPage } from '../pages.ts'
import { readAll } from '../read-all.ts'
import type { Command, Group, Invocation } from '../verb.ts'

type Suppression = {
  readonly address: string
  readonly scope: string
  readonly reason: string
  readonly class: string
  readonly smtp_code: string
  readonly detail: string
  readonly since: string
  readonly until: string | null
}

const COLUMNS: Columns<Suppression> = {
  address: (row) => row.address,
  scope: (row) => row.scope,
  reason: (row) => row.reason,
  since: (row) => row.since,
  until: (row) => row.until,
  detail: (row) => row.detail,
}
const REASONS = ['hard-bounce', 'soft-bounce', 'complaint', 'unsubscribe', 'manual'] as const
const SCOPE = {
  scope: { type: 'string', value: 'SCOPE', help: 'everything, domain:NAME, category:NAME or list:NAME' },
} as const

const add: Command = {
  summary: 'Suppresses an address, or all of a domain (*@domain)',
  operands: 'ADDRESS',
  count: [1, 1],
  options: {
    ...SCOPE,
    reason: { type: 'string', help: `${REASONS.join(', ')} (default: manual)` },
    detail: { type: 'string', value: 'TEXT', help: 'what to remember' },
    until: { type: 'string', value: 'TIME', help: 'when it ends (RFC 3339; default: never)' },
  },
  async run(invocation) {
    const { args, out } = invocation
    const api = await invocation.api()
    const { suppressions } = await api.post<{ suppressions: readonly Suppression[] }>('/bounces', {
      address: args.operands[0],
      scope: args.text('scope'),
      reason: args.choice('reason', REASONS),
      detail: args.text('detail'),
      until: args.text('until'),
    })
    out.rows(suppressions, COLUMNS)
    return undefined
  },
}

const remove: Command = {
  summary: 'Lifts the suppression of an address',
  operands: 'ADDRESS',
  count: [1, 1],
  options: SCOPE,
  async run(invocation) {
    const { args, out } = invocation
    const address = args.operands[0]!
    const api = await invocation.api()
    const { removed } = await api.delete<{ removed: number }>(`/bounces/${segment(address)}`, {
      scope: args.text('scope'),
    })
    out.done(`${address} may be written to again (${removed} lifted)`, { address, removed })
    return undefined
  },
}

const list: Command = {
  summary: 'Lists suppressed addresses',
  options: {
    reason: { type: 'string', help: `only ${REASONS.join(', ')}` },
    limit: { type: 'string', value: 'N', help: 'at most so many (default: 100)' },
  },
  async run(invocation) {
    const { args, out } = invocation
    const api = await invocation.api()
    const reason = args.choice('reason', REASONS)
    const limit = args.whole('limit', 1) ?? 100
    out.rows(await eachPage<Suppression>(api, '/bounces', 'suppressions', { reason }, limit), COLUMNS)
    return undefined
  },
}

const check: Command = {
  summary: 'Tells whether an address is suppressed and why; exit code 1 when it is',
  operands: 'ADDRESS',
  count: [1, 1],
  async run(invocation) {
    const { args, out } = invocation
    const api = await invocation.api()
    const found = await api.get<{ suppressed: boolean; suppressions: readonly Suppression[] }>(
      `/bounces/${segment(args.operands[0]!)}`,
    )
    if (out.json) out.record(found)
    else if (found.suppressed) out.rows(found.suppressions, COLUMNS)
    else out.note(`${args.operands[0]} is not suppressed`)
    return found.suppressed ? EX.FAILURE : EX.OK
  },
}

const importList: Command = {
  summary: 'Adds the addresses of a CSV file (- for standard input)',
  operands: 'FILE',
  count: [1, 1],
  help: 'Columns: address, and optionally scope, reason, detail, until. Lines that are refused are named; exit code 65 when there are any.',
  async run(invocation) {
    const { args, out, io } = invocation
    const body = await readAll(source(invocation, args.operands[0]!, io.stdin)).catch((error: unknown) => {
      if (error instanceof Fault) throw error
      throw new Fault(`${args.operands[0]} cannot be read: ${messageOf(error)}`, {
        code: 'no-input',
        exitCode: EX.NOINPUT,
      })
    })
    const api = await invocation.api()
    const report = await api.postText<{ added: number; refused: readonly { line: number; problem: string }[] }>(
      '/bounces/import',
      'text/csv',
      body,
    )
    for (const { line, problem } of report.refused) out.note(`line ${line}: ${problem}`)
    out.done(`${report.added} added, ${report.refused.length} refused`, report)
    return report.refused.length === 0 ? EX.OK : EX.DATAERR
  },
}

function source({ io }: Invocation, name: string, stdin: Readable): Readable {
  return name === '-' ? stdin : createReadStream(resolve(io.cwd, name))
}

const exportList: Command = {
  summary: 'Writes the whole list as CSV',
  operands: '[FILE]',
  count: [0, 1],
  async run(invocation) {
    const { args, io } = invocation
    const api = await invocation.api()
    const lines = await api.stream('/bounces/export')
    const [file] = args.operands
    if (file !== undefined && file !== '-')
      await pipeline(lines, createWriteStream(resolve(io.cwd, file), { mode: 0o600 }))
    else for await (const chunk of lines) io.stdout.write(chunk)
    return undefined
  },
}

export const suppress: Group = {
  summary: 'Who must not be written to again.',
  commands: { add, remove, list, check, import: importList, export: exportList },
}
