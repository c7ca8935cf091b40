import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type CertificateFiles, ensureCertificates } from './certificates.ts'
import { LocalApi } from './local-api.ts'

export const ROOT = join(import.meta.dirname, '../..')
export const DOMAIN = 'quickstart.test'
const USER = 'app'
const START_WITHIN_MS = 30_000

export type Ports = {
  readonly starttls: number
  readonly tls: number
  readonly inbound: number
  readonly http: number
  readonly metrics: number
}
export const PORTS: Ports = { starttls: 1587, tls: 1465, inbound: 1025, http: 8025, metrics: 9464 }

export type Secrets = { readonly username: string; readonly password: string; readonly token: string }

/** A running daemon of the quick start and how to reach it. */
export type Running = {
  readonly directory: string
  readonly configFile: string
  readonly logFile: string
  readonly ports: Ports
  readonly certificates: CertificateFiles
  readonly api: LocalApi
  readonly process: ChildProcess
}

/** Port 0 stands for any free one. */
export async function choosePorts(any: boolean): Promise<Ports> {
  if (any) {
    const [starttls, tls, inbound, http, metrics] = await Promise.all([1, 2, 3, 4, 5].map(anyPort))
    return { starttls: starttls!, tls: tls!, inbound: inbound!, http: http!, metrics: metrics! }
  }
  for (const [name, port] of Object.entries(PORTS).slice(0, 4))
    if ((await freePort(port)) === 0)
      throw new Error(
        `port ${port} (${name}) is taken; stop what uses it (see: ss -ltnp 'sport = :${port}') or add --any-port`,
      )
  return { ...PORTS, metrics: (await freePort(PORTS.metrics)) || (await freePort(0)) }
}

/** Writes the configuration and starts `relevo serve` on it; resolves when it takes mail. */
export async function start(directory: string, ports: Ports): Promise<Running> {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const certificates = await ensureCertificates(directory, 'relevo.localhost', Date.now())
  const configFile = join(directory, 'relevo.toml')
  const logFile = join(directory, 'relevo.log')
  writeFileSync(configFile, configuration(directory, ports, certificates))
  const log = openSync(logFile, 'a')
  const process = spawn(join(ROOT, 'scripts/relevo'), ['serve', '--config', configFile], {
    stdio: ['ignore', log, log],
  })
  // However this ends, the daemon does not outlive it.
  globalThis.process.once('exit', () => process.kill('SIGTERM'))
  const api = new LocalApi(join(directory, 'data/control.sock'))
  const running = { directory, configFile, logFile, ports, certificates, api, process }
  await untilReady(running)
  return running
}

/** The first domain, a credential and a token; made once, kept beside the data with mode 0600. */
export async function ensureAccess({ directory, api }: Running): Promise<Secrets> {
  const { domains } = await api.get<{ domains: { name: string }[] }>('/domains')
  if (!domains.some(({ name }) => name === DOMAIN)) await api.post('/domains', { name: DOMAIN })
  const file = join(directory, 'access.json')
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Secrets
  const { credentials } = await api.get<{ credentials: { username: string }[] }>('/credentials')
  if (credentials.some(({ username }) => username === USER)) await api.delete(`/credentials/${USER}`)
  const { password } = await api.post<{ password: string }>('/credentials', { username: USER, allowed: [DOMAIN] })
  const { token } = await api.post<{ token: string }>('/tokens', {
    name: 'quick start',
    permissions: ['send', 'queue:read', 'events:read', 'metrics:read'],
    allowed: ['*'],
  })
  const secrets = { username: USER, password, token }
  writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 })
  return secrets
}

/** SIGTERM, and the code it ended with. */
export async function stop({ process }: Running): Promise<number | null> {
  if (process.exitCode !== null) return process.exitCode
  const ended = new Promise<number | null>((resolve) => process.once('exit', resolve))
  process.kill('SIGTERM')
  return ended
}

async function untilReady({ api, process, logFile }: Running): Promise<void> {
  const began = performance.now()
  while (performance.now() - began < START_WITHIN_MS) {
    if (process.exitCode !== null) break
    const status = await api.get<{ ready: boolean }>('/status').catch(() => null)
    if (status?.ready) return
    await pause(50)
  }
  const said = readFileSync(logFile, 'utf8').trim().split('\n').slice(-3).join('\n')
  process.kill('SIGKILL')
  throw new Error(`the daemon did not start; the end of ${logFile} says:\n${said}`)
}

function configuration(directory: string, ports: Ports, files: CertificateFiles): string {
  const text = JSON.stringify
  return `# Written by scripts/quickstart.sh at each start. Sandbox: nothing leaves this machine.
mode = "sandbox"
hostname = "relevo.localhost"
data_dir = ${text(join(directory, 'data'))}

[submission]
starttls_listen = ["127.0.0.1:${ports.starttls}"]
tls_listen = ["127.0.0.1:${ports.tls}"]

[inbound]
listen = ["127.0.0.1:${ports.inbound}"]

[http]
listen = ["127.0.0.1:${ports.http}"]

[metrics]
listen = "127.0.0.1:${ports.metrics}"

[tls]
certificate_file = ${text(files.certificateFile)}
key_file = ${text(files.keyFile)}

[queue]
# A laptop's disk may be nearly full; the sandbox needs little.
min_free_bytes = 1048576

[reputation]
# So that a handful of refusals already shows how mail is handed over.
min_samples = 5
`
}

/** One below those that the system gives to outgoing connections, so that none of them takes it meanwhile. */
async function anyPort(): Promise<number> {
  const port = 20_000 + Math.floor(Math.random() * 12_000)
  return (await freePort(port)) || anyPort()
}

/** The port when it is free, else 0. */
function freePort(port: number): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(0))
    server.listen(port, '127.0.0.1', () => {
      const { port: bound } = server.address() as { port: number }
      server.close(() => resolve(bound))
    })
  })
}
