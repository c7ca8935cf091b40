import { existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { messageOf } from '#base'
import { bad, type Check, good, type Patient, skipped } from './check.ts'

const MIN_DESCRIPTORS = 16_384
/** File systems on another machine, by their magic number: locks and syncs there are not to be relied on. */
const NETWORK_FILE_SYSTEMS = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x65735546, 'FUSE'],
])

/** Where the mail is kept. */
export function disk({ config }: Patient): Check[] {
  const { data_dir: directory, queue } = config
  try {
    const { bavail, bsize, type, files, ffree } = statfsSync(directory)
    const free = bavail * bsize
    const mib = Math.round(free / 1_048_576)
    const needed = Math.round(queue.min_free_bytes / 1_048_576)
    const found: Check[] = [
      free >= 4 * queue.min_free_bytes
        ? good('disk', `${directory} has ${mib} MiB free`)
        : bad(
            'disk',
            free < queue.min_free_bytes ? 'fail' : 'warn',
            `${directory} has ${mib} MiB free; below ${needed} MiB no mail is taken`,
            'Free some space, or move data_dir to a larger disk.',
          ),
    ]
    if (files > 0 && ffree * 100 < files)
      found.push(
        bad(
          'disk',
          'warn',
          `${directory} has only ${ffree} inodes free`,
          'Remove small files there, or move data_dir.',
        ),
      )
    const network = NETWORK_FILE_SYSTEMS.get(type)
    if (network !== undefined)
      found.push(
        bad(
          'disk',
          'fail',
          `${directory} lies on ${network}`,
          'Use a local disk: a sync to a network file system is not a promise.',
        ),
      )
    const { mode } = statSync(directory)
    if ((mode & 0o007) !== 0)
      found.push(
        bad('disk', 'warn', `${directory} can be entered by every user of this machine`, `Run: chmod 700 ${directory}`),
      )
    return found
  } catch (error) {
    return [
      bad(
        'disk',
        'fail',
        `${directory}: ${messageOf(error)}`,
        'Make the directory and give it to the user that Relevo runs as.',
      ),
    ]
  }
}

/** What the running daemon may open. */
export function limits({ config, status }: Patient): Check[] {
  const pid = status === null ? null : daemonPid(config.data_dir)
  if (pid === null) return [skipped('limits', 'the daemon is not running, so its limits cannot be seen')]
  try {
    const [, soft = ''] = /^Max open files\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8')) ?? []
    const most = soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft)
    return [
      most >= MIN_DESCRIPTORS
        ? good('limits', `the daemon may open ${soft} files`)
        : bad(
            'limits',
            'warn',
            `the daemon may open only ${soft} files and connections`,
            `Set LimitNOFILE=${MIN_DESCRIPTORS} in its unit.`,
          ),
    ]
  } catch {
    return [skipped('limits', `the limits of process ${pid} belong to another user; run this as root`)]
  }
}

/** Whose process holds the store: the file beside its lock names it. */
function daemonPid(directory: string): number | null {
  try {
    const pid = Number(/\d+/.exec(readFileSync(`${directory}/relevo.pid`, 'utf8'))?.[0])
    return Number.isInteger(pid) && existsSync(`/proc/${pid}`) ? pid : null
  } catch {
    return null
  }
}

/** Whether somebody keeps the clock right: DKIM, TLS and waits need it. */
export function clock(): Check[] {
  if (existsSync('/run/systemd/timesync/synchronized')) return [good('clock', 'systemd-timesyncd keeps the clock')]
  const keepers = [
    '/run/chrony/chronyd.pid',
    '/var/run/chrony/chronyd.pid',
    '/run/ntpd.pid',
    '/var/run/ntpd.pid',
    '/run/openntpd.pid',
  ]
  if (keepers.some((path) => existsSync(path))) return [good('clock', 'a time server keeps the clock')]
  return [
    bad(
      'clock',
      'warn',
      'nothing seems to keep the clock of this machine',
      'Install chrony or enable systemd-timesyncd (timedatectl set-ntp true).',
    ),
  ]
}
