import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { LocalApi } from '../../src/cli/local-api.ts'
import { certificate } from '../../test/world/index.ts'
import { inside, write } from './cgroup.ts'
import { HOST, LOGIN, SENDER, type Subject } from './contract.ts'

const RELEVO = join(import.meta.dirname, '../relevo')

/** Relevo with its defaults: both signatures, a return path for each recipient, its own DNS look-ups, events, limits. */
export class RelevoSubject implements Subject {
  readonly name = 'relevo'
  readonly version: string
  readonly plainPort = 2525
  readonly loginPort = 587
  readonly directory: string
  #process: ChildProcess | null = null
  #keys: ReadonlyMap<string, string> = new Map()

  readonly #env: NodeJS.ProcessEnv

  /** @param env what its environment has more */
  constructor(directory: string, env: NodeJS.ProcessEnv = {}) {
    this.#env = { ...process.env, ...env }
    this.directory = join(directory, 'relevo')
    this.version = (
      JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string }
    ).version
  }

  async start(group: string): Promise<void> {
    rmSync(this.directory, { recursive: true, force: true })
    const api = await this.startAgain(group)
    type Made = { readonly dkim: readonly { readonly host: string; readonly value: string }[] }
    const domain = await api.post<Made>('/domains', { name: SENDER })
    this.#keys = new Map(domain.dkim.map(({ host, value }) => [host, value]))
    await api.post('/credentials', { username: LOGIN.user, password: LOGIN.password, allowed: [SENDER] })
  }

  /** With what it keeps already. */
  async startAgain(group: string): Promise<LocalApi> {
    const { certFile, keyFile } = await certificate([HOST])
    const config = `${this.directory}.toml`
    write(
      config,
      `mode = "live"
hostname = "${HOST}"
data_dir = ${JSON.stringify(this.directory)}
[submission]
starttls_listen = ["127.0.0.1:${this.loginPort}"]
tls_listen = []
trusted_listen = ["127.0.0.1:${this.plainPort}"]
trusted_networks = ["127.0.0.0/8"]
trusted_domains = ["${SENDER}"]
max_connections_per_address = 1000
[inbound]
listen = []
[http]
listen = []
[tls]
certificate_file = ${JSON.stringify(certFile)}
key_file = ${JSON.stringify(keyFile)}
[delivery]
dns_servers = ["127.0.0.1:53"]
allow_networks = ["127.0.0.0/8"]
ip = "ipv4"
`,
    )
    const [program, args] = inside(group, [RELEVO, 'serve', '--config', config])
    this.#process = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'], env: this.#env })
    const api = new LocalApi(join(this.directory, 'control.sock'))
    for (let tries = 0; ; tries++) {
      const status = await api.get<{ ready: boolean }>('/status').catch(() => null)
      if (status?.ready) break
      if (tries > 400 || this.#process.exitCode !== null) throw new Error('relevo did not start')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return api
  }

  keys(): ReadonlyMap<string, string> {
    return this.#keys
  }

  async stop(): Promise<void> {
    const child = this.#process
    if (child === null || child.exitCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
    this.#process = null
  }
}
