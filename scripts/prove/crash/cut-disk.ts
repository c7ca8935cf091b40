import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * Runs this command again in a mount namespace of its own, and ends with its result: what is mounted here is then held by nobody
 * else, such as a process that was started meanwhile in a network namespace, which takes a copy of all mounts along.
 */
export function moveToOwnMounts(): void {
  if (process.env.RELEVO_OWN_MOUNTS === '1') return
  const again = ['-m', process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const env = { ...process.env, RELEVO_OWN_MOUNTS: '1' }
  process.exit(spawnSync('unshare', again, { stdio: 'inherit', env }).status ?? 1)
}

/**
 * A file system of its own on a loop device, whose power can be cut: what was not written to the device by then is gone,
 * the journal's unwritten part included, and every later call fails. Needs root.
 */
export class CutDisk implements Disposable {
  readonly path: string
  readonly #image: string

  constructor(directory: string, fileSystem: 'ext4' | 'xfs', megabytes = 1024) {
    this.path = join(directory, 'disk')
    this.#image = join(directory, 'disk.img')
    mkdirSync(this.path)
    execFileSync('truncate', ['-s', `${megabytes}M`, this.#image])
    execFileSync(`mkfs.${fileSystem}`, ['-q', this.#image], { stdio: 'pipe' })
    execFileSync('mount', ['-o', 'loop', this.#image, this.path], { stdio: 'pipe' })
  }

  /** FS_IOC_SHUTDOWN without flushing the log. */
  async cut(): Promise<void> {
    await run('xfs_io', ['-x', '-c', 'shutdown', this.path])
  }

  /** Power again: all caches of it are forgotten, and the journal is played back. Its users must be gone. */
  async restore(): Promise<void> {
    for (let tries = 1; ; tries++)
      try {
        await run('umount', [this.path])
        await run('mount', ['-o', 'loop', this.#image, this.path])
        return
      } catch (error) {
        if (tries === 200) throw error
        await pause(100)
      }
  }

  [Symbol.dispose](): void {
    try {
      execFileSync('umount', ['-l', this.path], { stdio: 'pipe' })
    } finally {
      rmSync(this.#image, { force: true })
    }
  }
}
