import { existsSync } from 'node:fs'
import { EX, Fault } from '#base'
import type { Command, Group } from '../verb.ts'

const check: Command = {
  summary: 'Looks through the store without changing it; exit code 65 when something is wrong',
  help: 'May run beside the daemon. A large store takes its time: every page is read.',
  async run(invocation) {
    const { data_dir: directory } = await invocation.config()
    if (!existsSync(directory))
      throw new Fault(`there is no data directory ${directory}`, {
        code: 'not-found',
        field: 'data_dir',
        exitCode: EX.NOINPUT,
        remedy: 'Name the configuration of the installation by --config',
      })
    const { checkStore } = await import('#store')
    const findings = checkStore(directory)
    invocation.out.rows(findings, {
      check: (row) => row.check,
      result: (row) => (row.ok ? 'ok' : 'WRONG'),
      detail: (row) => row.detail,
    })
    return findings.every((finding) => finding.ok) ? EX.OK : EX.DATAERR
  },
}

export const db: Group = { summary: 'Looks after the store.', commands: { check } }
