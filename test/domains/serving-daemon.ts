import { type ChildProcess, spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { type TempDir, tempDir } from '#world'
import { LAUNCHER, relevo, type Seen } from '../cli/at-the-command-line.ts'
import type { NameServers } from './name-servers.ts'

/** The real daemon whose DNS are the test's name servers, and the command line beside it. */
export class ServingDaemon implements AsyncDisposable {
  readonly room: TempDir
  #child: ChildProcess | null = null

  private constructor(room: TempDir) {
    this.room = room
  }

  static async furnish(dns: NameServers, more = '', mode = 'sandbox'): Promise<ServingDaemon> {
    const daemon = new ServingDaemon(await tempDir())
    await writeFile(
      daemon.room.join('relevo.toml'),
      `mode = "${mode}"
hostname = "mail.host.test"
data_dir = "data"
[submission]
starttls_listen = []
tls_listen = []
[inbound]
listen = ["127.0.0.1:0"]
[http]
listen = ["127.0.0.1:0"]
[metrics]
listen = ""
[delivery]
dns_servers = ["${dns.resolver.address}:${dns.resolver.port}"]
[dns]
public_addresses = ["203.0.113.5"]
authority_port = ${dns.port}
${more}`,
    )
    return daemon
  }

  async start(): Promise<void> {
    this.#child = spawn(LAUNCHER, ['serve', '--config', this.room.join('relevo.toml')], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    for (let i = 0; i < 400; i++) {
      if ((await this.run('status')).code === 0) return
      if (this.#child.exitCode !== null) break
      await pause(25)
    }
    throw new Error('the daemon did not start')
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child === null || child.exitCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
    this.#child = null
  }

  run(...argv: readonly string[]): Promise<Seen> {
    return relevo([...argv, '--config', this.room.join('relevo.toml')], { cwd: this.room.path })
  }

  async json<T>(...argv: readonly string[]): Promise<T> {
    const { stdout, stderr } = await this.run(...argv, '--json')
    if (stdout === '') throw new Error(`relevo ${argv.join(' ')}: ${stderr}`)
    return JSON.parse(stdout) as T
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.room[Symbol.asyncDispose]()
  }
}
