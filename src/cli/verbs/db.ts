import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { EX, Fault, systemClock } from '#base'
import type { Config } from '#config'
import type { Finding, Manifest, Progress } from '#store'
import { keyPlaceOf } from '../master-key.ts'
import type { Command, Group, Invocation } from '../verb.ts'
import { versionOfPackage } from '../version-of-package.ts'

/** Progress is told so often at most, and at the end. */
const TELL_MS = 2000

async function parts(config: Config) {
  const [store, queue] = await Promise.all([import('#store'), import('#queue')])
  const { name, migrations } = queue.queueWorker(config.queue)
  return { ...store, rooms: [queue.queueKeeping], checks: [queue.checkQueue], modules: [{ name, migrations }] }
}

async function directoryOf(invocation: Invocation): Promise<Config> {
  const config = await invocation.config()
  if (!existsSync(config.data_dir))
    throw new Fault(`there is no data directory ${config.data_dir}`, {
      code: 'not-found',
      field: 'data_dir',
      exitCode: EX.NOINPUT,
      remedy: 'Name the configuration of the installation by --config',
    })
  return config
}

function showFindings({ out }: Invocation, findings: readonly Finding[]): number {
  out.rows(findings, {
    check: (row) => row.check,
    result: (row) => (row.ok ? 'ok' : 'WRONG'),
    detail: (row) => row.detail,
    remedy: (row) => row.remedy ?? '',
  })
  return findings.every((finding) => finding.ok) ? EX.OK : EX.DATAERR
}

function teller({ out }: Invocation): (progress: Progress) => void {
  let toldMs = systemClock.monotonicMs()
  return ({ file, doneBytes, totalBytes }) => {
    const nowMs = systemClock.monotonicMs()
    if (nowMs - toldMs < TELL_MS && doneBytes < totalBytes) return
    toldMs = nowMs
    const share = totalBytes === 0 ? 100 : Math.floor((doneBytes / totalBytes) * 100)
    out.note(`${share} % (${mebibytes(doneBytes)} of ${mebibytes(totalBytes)} MiB), ${file}`)
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 1_048_576).toFixed(1)
}

const check: Command = {
  summary: 'Looks through the store without changing it; exit code 65 when something is wrong',
  operands: '[DIR]',
  count: [0, 1],
  help: 'May run beside the daemon. Every page, row and content is read and held against its checksum, so a large store takes its time. DIR: a backup, instead of the data directory.',
  async run(invocation) {
    const [given] = invocation.args.operands
    const config = given === undefined ? await directoryOf(invocation) : await invocation.config()
    const { checkStore, checks, readManifest } = await parts(config)
    const directory = given === undefined ? config.data_dir : resolve(invocation.io.cwd, given)
    if (given !== undefined) readManifest(directory)
    return showFindings(invocation, checkStore(directory, checks))
  },
}

const backup: Command = {
  summary: 'Copies the store into a new directory, while Relevo runs',
  operands: 'DIR',
  count: [1, 1],
  help: 'The copy is of one moment: rows, contents, and a manifest with checksums. The master key is not in it, only its fingerprint: keep that apart (relevo key show-recovery). Mail goes on meanwhile; the disk of data_dir needs room for what is written until the copy is done. When it is there it is checked, unless --no-check.',
  options: { 'no-check': { type: 'boolean', help: 'do not read the copy back' } },
  async run(invocation) {
    const { args, io, out } = invocation
    const config = await directoryOf(invocation)
    const { backupStore, checkStore, checks, rooms } = await parts(config)
    const target = resolve(io.cwd, args.operands[0]!)
    const manifest = await backupStore({
      ...{ directory: config.data_dir, target, rooms, version: versionOfPackage(), clock: systemClock },
      onProgress: teller(invocation),
    })
    if (!args.flag('no-check')) {
      out.note('reading it back')
      const wrong = checkStore(target, checks).filter((finding) => !finding.ok)
      if (wrong.length > 0)
        throw new Fault(
          `the copy is there, but not sound: ${wrong.map(({ check, detail }) => `${check}: ${detail}`).join('; ')}`,
          {
            code: 'damaged-store',
            exitCode: EX.DATAERR,
            remedy:
              'relevo db check tells whether the store itself is damaged; keep earlier backups until that is clear',
          },
        )
    }
    const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0)
    out.done(`${target} holds ${described(manifest)}, ${mebibytes(bytes)} MiB`, {
      directory: target,
      bytes,
      ...shown(manifest),
    })
    return undefined
  },
}

const restore: Command = {
  summary: 'Brings a backup into an empty data directory; nothing of it is sent before you release it',
  operands: 'DIR',
  count: [1, 1],
  help: 'Put the master key of that time in place first (relevo key recover, or --key-file to try one). What had not ended when the backup was made may have ended since: it comes back held, and goes on by relevo queue release --restored, which counts first.',
  options: {
    'key-file': { type: 'string', value: 'FILE', help: 'the master key (default: where the configuration says)' },
  },
  async run(invocation) {
    const { args, io, out } = invocation
    const config = await invocation.config()
    const { fingerprintOf, modules, readManifest, readMasterKey, restoreStore, rooms } = await parts(config)
    const source = resolve(io.cwd, args.operands[0]!)
    out.note(`the backup holds ${described(readManifest(source))}`)
    const manifest = await restoreStore({
      ...{ source, directory: config.data_dir, rooms, modules, nowMs: systemClock.now() },
      fingerprint: fingerprintOf(readMasterKey(keyPlaceOf(invocation, config))),
      onProgress: teller(invocation),
    })
    out.done(
      `${config.data_dir} holds ${described(manifest)}; those that had not ended are held until: relevo queue release --restored`,
      { directory: config.data_dir, ...shown(manifest) },
    )
    return undefined
  },
}

const accept: Command = {
  summary: 'Takes a damaged store as it stands, when there is no backup: what it lacks is lost',
  help: 'Stop Relevo first. Without --yes it only tells what is known to be missing. With it the commits that are missing are given up, indexes and counts are made anew, and what was altered is held.',
  options: { yes: { type: 'boolean', help: 'do it' } },
  async run(invocation) {
    const { args, out } = invocation
    const config = await directoryOf(invocation)
    const { acceptLoss, checkStore, checks, modules, rooms } = await parts(config)
    if (!args.flag('yes')) {
      const code = showFindings(invocation, checkStore(config.data_dir, checks))
      out.note(
        code === EX.OK
          ? 'nothing is missing: there is nothing to accept'
          : 'this would be taken as it is, and what is missing given up: relevo db accept-loss --yes. A backup is better',
      )
      return code
    }
    const { commits, counted, mended } = await acceptLoss({
      ...{ directory: config.data_dir, rooms, modules, nowMs: systemClock.now() },
    })
    const gap =
      counted === null
        ? `${commits} commits are there; how many were answered is not known`
        : counted > commits
          ? `${counted - commits} of ${counted} commits that were answered are given up`
          : `no commit of ${commits} is missing`
    out.done([gap, ...mended].join('; '), { commits, counted, mended })
    return undefined
  },
}

function described({ created_at: at, counts }: Manifest): string {
  return `the store of ${at}: ${Object.entries(counts)
    .map(([name, n]) => `${n} ${name.replaceAll('_', ' ')}`)
    .join(', ')}`
}

function shown({ created_at, relevo, commits, counts, master_key_fingerprint }: Manifest): Record<string, unknown> {
  return { created_at, relevo, commits, ...counts, master_key_fingerprint }
}

export const db: Group = {
  summary: 'Looks after the store.',
  commands: { check, backup, restore, 'accept-loss': accept },
}
