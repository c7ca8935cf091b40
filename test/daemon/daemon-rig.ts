import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { certificate, openDns, scriptedMx, tempDir } from '#world'
import { gather, PlantingApi } from './suite-secrets.ts'

export const RELEVO = join(import.meta.dirname, '../../scripts/relevo')
export const DOMAIN = 'sender.test'

export type RigOptions = {
  /** Domains whose mail goes to the scripted MX; default: good.test. */
  readonly domains?: readonly string[]
  /** More lines of the configuration, as TOML sections. */
  readonly more?: string
  readonly delivery?: string
  /** More lines of the section [submission], and of [inbound]. */
  readonly submission?: string
  readonly inbound?: string
  /** How a second host, of bad.test, behaves. */
  readonly bad?: NonNullable<Parameters<typeof scriptedMx>[0]>['behaviour']
  /** The name of that host, by which its mailbox provider is known. */
  readonly badName?: string
  /** How the host of the good domains behaves; default: as a good one. */
  readonly good?: NonNullable<Parameters<typeof scriptedMx>[0]>['behaviour']
  /** Where its data lies; default: in the directory of the rig. */
  readonly dataDirectory?: string
  /** Lines of the section [queue]. */
  readonly queue?: string
  /** Program and arguments that start it, such as `prlimit --nofile=60`; it must become the daemon by exec. */
  readonly prefix?: readonly string[]
}

/** A real daemon process in live mode whose whole internet is a name server and a mail host of the test. */
export class DaemonRig implements AsyncDisposable {
  readonly directory: string
  readonly configFile: string
  readonly ports: {
    readonly trusted: number
    readonly starttls: number
    readonly tls: number
    readonly inbound: number
    readonly http: number
    readonly metrics: number
  }
  readonly mx: Awaited<ReturnType<typeof scriptedMx>>
  readonly dns: Awaited<ReturnType<typeof openDns>>
  readonly dataDirectory: string
  readonly api: PlantingApi
  readonly #prefix: readonly string[]
  readonly #stack: AsyncDisposableStack
  process: ChildProcess | null = null
  output = ''

  private constructor(
    directory: string,
    options: RigOptions,
    parts: Pick<DaemonRig, 'ports' | 'mx' | 'dns'>,
    stack: AsyncDisposableStack,
  ) {
    this.directory = directory
    this.configFile = join(directory, 'relevo.toml')
    this.ports = parts.ports
    this.mx = parts.mx
    this.dns = parts.dns
    this.dataDirectory = options.dataDirectory ?? join(directory, 'data')
    this.api = new PlantingApi(join(this.dataDirectory, 'control.sock'))
    this.#prefix = options.prefix ?? []
    this.#stack = stack
  }

  /** A port chosen as free may be taken by another test before the daemon has it: then all is begun anew. */
  static async open(options: RigOptions = {}): Promise<DaemonRig> {
    for (let tries = 1; ; tries++) {
      const rig = await DaemonRig.#prepare(options)
      try {
        await rig.start()
        await rig.api.post('/domains', { name: DOMAIN })
        return rig
      } catch (error) {
        await rig[Symbol.asyncDispose]()
        if (tries === 4 || !rig.output.includes('another program has it')) throw error
      }
    }
  }

  static async #prepare(options: RigOptions): Promise<DaemonRig> {
    await using stack = new AsyncDisposableStack()
    const { path } = stack.use(await tempDir())
    const mx = stack.use(await scriptedMx({ behaviour: options.good ?? 'good' }))
    if (options.bad !== undefined)
      stack.use(await scriptedMx({ host: '127.0.0.2', port: mx.port, behaviour: options.bad }))
    const domains = options.domains ?? ['good.test']
    const badName = options.badName ?? 'mx.bad.test'
    const zones = Object.fromEntries([
      ...domains.map((domain) => [domain, { MX: [[10, 'mx.test']] }] as const),
      ['mx.test', { A: ['127.0.0.1'] }],
      ['bad.test', { MX: [[10, badName]] }],
      [badName, { A: ['127.0.0.2'] }],
      [DOMAIN, { MX: [[10, 'mx.test']] }],
    ])
    const dns = stack.use(await openDns(zones as Parameters<typeof openDns>[0]))
    const [trusted, starttls, tls, inbound, http, metrics] = await Promise.all([0, 0, 0, 0, 0, 0].map(freePort))
    const ports = {
      ...{ trusted: trusted!, starttls: starttls!, tls: tls! },
      ...{ inbound: inbound!, http: http!, metrics: metrics! },
    }
    const { cert, key } = await certificate(['mail.sender.test', 'localhost', '127.0.0.1'])
    writeFileSync(join(path, 'cert.pem'), cert)
    writeFileSync(join(path, 'key.pem'), key, { mode: 0o600 })
    writeFileSync(
      join(path, 'relevo.toml'),
      `mode = "live"
hostname = "mail.sender.test"
data_dir = ${JSON.stringify(options.dataDirectory ?? join(path, 'data'))}
[submission]
starttls_listen = ["127.0.0.1:${starttls}"]
tls_listen = ["127.0.0.1:${tls}"]
trusted_listen = ["127.0.0.1:${trusted}"]
trusted_networks = ["127.0.0.0/8"]
trusted_domains = ["${DOMAIN}"]
${options.submission ?? ''}
[inbound]
listen = ["127.0.0.1:${inbound}"]
${options.inbound ?? ''}
[http]
listen = ["127.0.0.1:${http}"]
[metrics]
listen = "127.0.0.1:${metrics}"
[tls]
certificate_file = ${JSON.stringify(join(path, 'cert.pem'))}
key_file = ${JSON.stringify(join(path, 'key.pem'))}
[queue]
min_free_bytes = 1048576
${options.queue ?? ''}
[delivery]
port = ${mx.port}
dns_servers = ["127.0.0.1:${dns.port}"]
allow_networks = ["127.0.0.0/8"]
ip = "ipv4"
${options.delivery ?? ''}
${options.more ?? ''}
`,
    )
    return new DaemonRig(path, options, { ports, mx, dns }, stack.move())
  }

  /** Starts the process and waits until it takes mail. */
  async start(withinMs = 60_000): Promise<void> {
    this.launch()
    const began = performance.now()
    while (performance.now() - began < withinMs) {
      if (this.process?.exitCode !== null) break
      const status = await this.api.get<{ ready: boolean }>('/status').catch(() => null)
      if (status?.ready) return
      await pause(25)
    }
    throw new Error(`the daemon did not start: ${this.output.slice(-2000)}`)
  }

  /** @param prefix program and arguments that start it, instead of those of the rig */
  launch(prefix: readonly string[] = this.#prefix): ChildProcess {
    const [program = RELEVO, ...before] = [...prefix, RELEVO]
    const child = spawn(program, [...before, 'serve', '--config', this.configFile], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const keep = (data: Buffer): void => {
      this.output = (this.output + data.toString()).slice(-200_000)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    this.process = child
    return child
  }

  /** The signal, and the code (or the signal) it ended with. */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    const child = this.process
    if (child === null || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
      child.once('exit', (code, by) => resolve(code ?? by)),
    )
    child.kill(signal)
    return ended
  }

  /** Ids (X-World-Id) that the mail host took, with how often. */
  taken(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { content } of this.mx.taken) {
      const id = /^X-World-Id: *(\S+)/im.exec(content.subarray(0, 4000).toString('latin1'))?.[1] ?? ''
      counts.set(id, (counts.get(id) ?? 0) + 1)
    }
    return counts
  }

  async until(what: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<boolean> {
    const began = performance.now()
    while (performance.now() - began < withinMs) {
      if (await what()) return true
      await pause(50)
    }
    return false
  }

  /** Resident memory of the daemon, MiB. */
  rssMiB(): number {
    const status = readFileSync(`/proc/${this.process?.pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end('SIGKILL')
    gather(this.output, this.dataDirectory)
    await this.#stack.disposeAsync()
  }
}

/** A free port below those that the system gives to outgoing connections, so that none of them takes it meanwhile. */
function freePort(): Promise<number> {
  const port = 20_000 + Math.floor(Math.random() * 12_000)
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(freePort()))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(port)))
  })
}
