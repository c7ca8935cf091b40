import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { EX, Fault } from '#base'
import { keyPlaceOf } from '../master-key.ts'
import type { Command, Group, Option } from '../verb.ts'

const KEY_FILE: Readonly<Record<string, Option>> = {
  'key-file': { type: 'string', value: 'FILE', help: 'the master key (default: where the configuration says)' },
}

const showRecovery: Command = {
  summary: 'Shows the master key in a form to write down, once',
  help: 'Nine short lines with checksums. Keep them apart from the machine and from its backups: with both, everything sealed in the store can be read; without them a lost key cannot be made again. Shown once for each key.',
  async run(invocation) {
    const api = await invocation.api()
    const { fingerprint, lines } = await api.post<{ fingerprint: string; lines: string[] }>('/keys/recovery', {})
    if (invocation.json) invocation.out.done('', { fingerprint, lines })
    else {
      invocation.out.note(`master key ${fingerprint}: write these lines down, they are shown once`)
      invocation.out.raw(`${lines.join('\n')}\n`)
      invocation.out.note('read them back at need with: relevo key recover')
    }
    return undefined
  },
}

const rotate: Command = {
  summary: 'Puts a new master key in the place of the old one, while Relevo runs',
  help: 'Backups made before keep the old key: keep its written form as long as them. With --new-key-file the daemon only wraps its records with that key; put the file where Relevo reads its key before the next start.',
  options: {
    'new-key-file': { type: 'string', value: 'FILE', help: 'a key of your own making, 32 bytes in base64' },
  },
  async run(invocation) {
    const file = invocation.args.text('new-key-file')
    let body = {}
    if (file !== undefined) {
      const { readKeyFile } = await import('#store')
      body = { new_key: readKeyFile(file).toString('base64') }
    }
    const api = await invocation.api()
    const done = await api.post<{ fingerprint: string; path: string | null }>('/keys/rotate', body)
    invocation.out.done(
      done.path === null
        ? `the records are wrapped with ${done.fingerprint}: put that key in place before the next start, which is refused otherwise`
        : `the master key is ${done.fingerprint} now, in ${done.path}; write it down: relevo key show-recovery`,
      done,
    )
    return undefined
  },
}

const check: Command = {
  summary: 'Tells whether the master key is the one of the store; exit code 65 when not',
  help: 'May run beside the daemon. The key itself is never shown, only its fingerprint.',
  options: KEY_FILE,
  async run(invocation) {
    const config = await invocation.config()
    const { checkKey, readMasterKey } = await import('#store')
    const findings = checkKey(config.data_dir, readMasterKey(keyPlaceOf(invocation, config)))
    invocation.out.rows(findings, {
      check: (row) => row.check,
      result: (row) => (row.ok ? 'ok' : 'WRONG'),
      detail: (row) => row.detail,
      remedy: (row) => row.remedy ?? '',
    })
    return findings.every((finding) => finding.ok) ? EX.OK : EX.DATAERR
  },
}

const recover: Command = {
  summary: 'Makes the master key again from its written form, read from standard input',
  help: 'Nine lines, with or without their numbers. The key is written where the configuration says (or to --key-file), never over another one, and only when it is the one of the store that is there.',
  options: KEY_FILE,
  async run(invocation) {
    const config = await invocation.config()
    const { checkKey, fingerprintOf, giveToOwner, pathOfKey, readRecovery, writeKey } = await import('#store')
    const path = pathOfKey({ ...keyPlaceOf(invocation, config), credentialFile: null })
    if (existsSync(path))
      throw new Fault(`${path} is there already`, {
        code: 'exists',
        exitCode: EX.CANTCREAT,
        remedy: 'relevo key check tells whether it is the right one; move a wrong one aside',
      })
    if (invocation.io.stdin.isTTY === true) invocation.out.note('type the nine lines, then Ctrl-D')
    const chunks: Buffer[] = []
    for await (const chunk of invocation.io.stdin) chunks.push(chunk as Buffer)
    const key = readRecovery(Buffer.concat(chunks).toString('utf8'))
    const wrong = checkKey(config.data_dir, key).find((finding) => !finding.ok)
    if (wrong !== undefined)
      throw new Fault(wrong.detail, {
        code: 'wrong-master-key',
        exitCode: EX.DATAERR,
        ...(wrong.remedy === undefined ? {} : { remedy: wrong.remedy }),
      })
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeKey(path, key)
    if (dirname(path) === config.data_dir) giveToOwner(config.data_dir)
    invocation.out.done(`the master key ${fingerprintOf(key)} is in ${path}`, {
      fingerprint: fingerprintOf(key),
      path,
    })
    return undefined
  },
}

export const key: Group = {
  summary: 'Looks after the master key, with which secrets are sealed.',
  commands: { 'show-recovery': showRecovery, rotate, check, recover },
}
