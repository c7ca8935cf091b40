import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** Of a server as a hoster gives it, with what the proof itself needs. libatomic1 is what docs/deployment.md asks for. */
const PACKAGES = 'systemd,systemd-sysv,dbus,libpam-systemd,iproute2,python3-minimal,libatomic1,ca-certificates'
const BOOT_MS = 120_000

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** A fresh Debian by debootstrap, made once and kept. */
export function debianRoot(cache: string, release: string): string {
  const root = join(cache, release)
  if (existsSync(root)) return root
  mkdirSync(cache, { recursive: true })
  const partial = `${root}.partial`
  rmSync(partial, { recursive: true, force: true })
  const args = ['--variant=minbase', `--include=${PACKAGES}`, release, partial, 'http://deb.debian.org/debian']
  execFileSync('debootstrap', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  renameSync(partial, root)
  return root
}

/** A machine whose init is the systemd of its own Debian, without a network but loopback (systemd-nspawn). Its disk is thrown away. */
export class Machine implements AsyncDisposable {
  readonly #directory: string
  readonly #root: string
  #nspawn: ChildProcess | undefined
  #init = 0

  private constructor(directory: string) {
    this.#directory = directory
    this.#root = join(directory, 'root')
  }

  /** @param binds what of this machine can be read there, as `here:there` */
  static async boot(base: string, cache: string, binds: readonly string[]): Promise<Machine> {
    const machine = new Machine(mkdtempSync(join(cache, 'machine-')))
    try {
      await machine.#boot(base, binds)
    } catch (error) {
      await machine[Symbol.asyncDispose]()
      throw error
    }
    return machine
  }

  async #boot(base: string, binds: readonly string[]): Promise<void> {
    const [upper, work] = ['upper', 'work'].map((name) => join(this.#directory, name)) as [string, string]
    for (const path of [upper, work, this.#root]) mkdirSync(path, { mode: 0o755 })
    const layers = `lowerdir=${base},upperdir=${upper},workdir=${work}`
    execFileSync('mount', ['-t', 'overlay', 'relevo-prove', '-o', layers, this.#root])
    writeFileSync(join(this.#root, 'etc/machine-id'), '')
    writeFileSync(join(this.#root, 'etc/hostname'), 'mail\n')
    const nspawn = spawn(
      'systemd-nspawn',
      [
        ...['--quiet', '--directory', this.#root, '--register=no', '--keep-unit', '--private-network', '--boot'],
        ...['--machine', `relevo-prove-${process.pid}`, ...binds.map((bind) => `--bind-ro=${bind}`)],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    this.#nspawn = nspawn
    let words = ''
    for (const stream of [nspawn.stdout, nspawn.stderr])
      stream.on('data', (data: Buffer) => {
        words = (words + data.toString()).slice(-4000)
      })
    const began = performance.now()
    while (performance.now() - began < BOOT_MS && nspawn.exitCode === null) {
      await pause(250)
      const [init] = readFileSync(`/proc/${nspawn.pid}/task/${nspawn.pid}/children`, 'utf8').trim().split(' ')
      this.#init = Number(init)
      if (this.#init > 0 && /running|degraded/.test((await this.run('systemctl is-system-running')).stdout)) return
    }
    throw new Error(`the machine does not start: ${words}`)
  }

  /** Runs a script of sh as its root. */
  async run(script: string): Promise<Ran> {
    const child = spawn(
      'nsenter',
      [
        ...['-t', String(this.#init), '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w', '--', 'env', '-i', 'HOME=/root'],
        ...['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL=C.UTF-8', 'sh', '-c', script],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString()
    })
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString()
    })
    const [code] = (await once(child, 'close')) as [number | null]
    return { code: code ?? -1, stdout, stderr }
  }

  /** Its output; whatever fails ends the proof. */
  async must(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(script)
    if (code !== 0) throw new Error(`${script}: ${code}\n${stdout}${stderr}`)
    return stdout.trim()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const nspawn = this.#nspawn
    if (nspawn !== undefined && nspawn.exitCode === null) {
      const ended = once(nspawn, 'exit')
      if (this.#init > 0) await this.run('systemctl poweroff')
      await Promise.race([ended, pause(30_000)])
      if (nspawn.exitCode === null) {
        nspawn.kill('SIGKILL')
        await ended
      }
    }
    try {
      execFileSync('umount', ['-l', this.#root], { stdio: 'ignore' })
    } catch {
      // It was never mounted.
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
