import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { systemClock } from '#base'
import { askServer } from '#delivery'
import type { NameServer } from '#domains'
import { type TempDir, tempDir } from '#world'

const UNPACKED = join(import.meta.dirname, '../../.cache/debian')
const TRIPLET = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
const LIBRARIES = join(UNPACKED, 'usr/lib', TRIPLET)

const SETPRIV = '/usr/bin/setpriv'
const ENVIRONMENT = { ...process.env, LD_LIBRARY_PATH: LIBRARIES, NODE_OPTIONS: '' }

function program(name: 'nsd' | 'unbound'): string | null {
  return [join(UNPACKED, 'usr/sbin', name), join('/usr/sbin', name)].find((path) => existsSync(path)) ?? null
}

/** What is missing for these tests, with the remedy; null: nothing. */
export function missingNameServers(): string | null {
  const missing = (['nsd', 'unbound'] as const).filter((name) => {
    const path = program(name)
    // A library of another release may lack.
    return path === null || spawnSync(path, [name === 'nsd' ? '-v' : '-V'], { env: ENVIRONMENT }).status !== 0
  })
  return missing.length === 0
    ? null
    : `${missing.join(', ')} (remedy: run scripts/test.sh, which unpacks them beside the tests, or install Debian’s)`
}

/** Loopback addresses of the servers: two that serve the zones, and some that do not as they should. */
export const FIRST = '127.53.0.1'
export const SECOND = '127.53.0.2'
/** Serves nothing: REFUSED. */
export const LAME = '127.53.0.3'
/** Never answers. */
export const SILENT = '127.53.0.4'
/** Answers what is no DNS. */
export const BABBLING = '127.53.0.5'
/** Serves the root and test., which hand the zones on. */
const PARENT = '127.53.0.6'

export type Zones = {
  /** Zone → its text, without SOA and NS of the apex, which are put before. */
  readonly zones: Readonly<Record<string, string>>
  /** Zones that the second server has in another form. */
  readonly second?: Readonly<Record<string, string>>
  /** Zone → addresses of its servers (default: the first and the second). */
  readonly servers?: Readonly<Record<string, readonly string[]>>
  /** Delegated and configured, but without a zone file: SERVFAIL. */
  readonly empty?: readonly string[]
  /** Zones whose DNSSEC does not hold. */
  readonly bogus?: readonly string[]
}

/** Real name servers (nsd) and a real resolver (unbound) of the test's own, on one chosen port. */
export class NameServers implements AsyncDisposable {
  readonly port: number
  readonly resolver: NameServer
  readonly #room: TempDir
  readonly #children: ChildProcess[] = []
  readonly #sockets: Socket[] = []

  private constructor(room: TempDir, port: number) {
    this.#room = room
    this.port = port
    this.resolver = { address: FIRST, port: port + 1 }
  }

  static async open(zones: Zones): Promise<NameServers> {
    for (let tries = 1; ; tries++) {
      const port = 20_000 + 2 * Math.floor(Math.random() * 6000)
      const servers = new NameServers(await tempDir(), port)
      try {
        await servers.#start(zones)
        return servers
      } catch (error) {
        await servers[Symbol.asyncDispose]()
        if (tries === 4) throw error
      }
    }
  }

  /** Until what the resolver remembers as not being there has been forgotten. */
  async untilForgotten(): Promise<void> {
    await pause(1200)
  }

  get options() {
    return { ask: askServer(systemClock, 700), resolvers: [this.resolver], authorityPort: this.port }
  }

  /** Other contents of zones on both servers, from now on. */
  async change(zones: Readonly<Record<string, string>>): Promise<void> {
    for (const [zone, text] of Object.entries(zones))
      for (const side of ['first', 'second']) this.#write(side, zone, text)
    for (const child of this.#children.slice(1, 3)) child.kill('SIGHUP')
    await pause(700)
  }

  async #start({ zones, second = {}, servers = {}, empty = [], bogus = [] }: Zones): Promise<void> {
    const names = [...Object.keys(zones), ...empty]
    const serversOf = (zone: string): readonly string[] => servers[zone] ?? [FIRST, SECOND]
    // The parent names the servers, with their addresses as glue.
    const delegations = (parent: string): string =>
      names
        .filter((zone) => zone !== parent && zone.endsWith(`.${parent}`) && zone.split('.').length === 2)
        .map((zone) =>
          serversOf(zone)
            .map((address, i) => `${zone}. NS ns${i + 1}.${zone}.\nns${i + 1}.${zone}. A ${address}`)
            .join('\n'),
        )
        .join('\n')
    mkdirSync(this.#room.join('parent'))
    this.#write('parent', 'test', delegations('test'), [PARENT])
    this.#write('parent', 'root', `test. NS ns1.test.\nns1.test. A ${PARENT}\n`, [PARENT], '.')
    for (const side of ['first', 'second']) {
      mkdirSync(this.#room.join(side))
      for (const [zone, text] of Object.entries(zones))
        this.#write(side, zone, side === 'second' ? (second[zone] ?? text) : text, serversOf(zone))
    }
    const served = names
    const [probe = 'test'] = Object.keys(zones)
    this.#nsd('parent', PARENT, ['root', 'test'])
    this.#nsd('first', FIRST, served)
    this.#nsd('second', SECOND, served)
    this.#nsd('lame', LAME, [])
    await Promise.all([this.#quiet(SILENT, null), this.#quiet(BABBLING, Buffer.from('this is not an answer'))])
    this.#unbound(served, serversOf, bogus)
    await this.#until({ address: PARENT, port: this.port }, 'test')
    await this.#until({ address: FIRST, port: this.port }, probe)
    await this.#until({ address: SECOND, port: this.port }, probe)
    await this.#until(this.resolver, probe)
  }

  #write(
    side: string,
    zone: string,
    text: string,
    addresses: readonly string[] = [FIRST, SECOND],
    origin = `${zone}.`,
  ): void {
    const dot = origin === '.' ? '' : `.${origin}`
    const own = addresses.map((address, i) => `@ NS ns${i + 1}${dot || '.'}\nns${i + 1}${dot || '.'} A ${address}`)
    const inBailiwick = /\.arpa$/.test(zone) ? own.map((line) => line.split('\n')[0]!) : own
    writeFileSync(
      this.#room.join(side, `${zone}.zone`),
      `$ORIGIN ${origin}\n$TTL 3600\n@ SOA ns1${dot || '.'} root${dot || '.'} ${Math.floor(performance.now())} 3600 600 86400 1\n${inBailiwick.join('\n')}\n${text}\n`,
    )
  }

  #nsd(side: string, address: string, zones: readonly string[]): void {
    const directory = this.#room.join(side)
    mkdirSync(directory, { recursive: true })
    const entries = zones
      .map((zone) => `zone:\n  name: "${zone === 'root' ? '.' : zone}"\n  zonefile: "${zone}.zone"\n`)
      .join('')
    writeFileSync(
      join(directory, 'nsd.conf'),
      `server:
  ip-address: ${address}@${this.port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "${directory}"
  pidfile: ""
  database: ""
  xfrdfile: "${directory}/xfrd"
  xfrdir: "${directory}"
  zonelistfile: "${directory}/zones"
  logfile: "${directory}/log"
  zonefiles-check: yes
remote-control:
  control-enable: no
${entries}`,
    )
    this.#run('nsd', ['-d', '-c', join(directory, 'nsd.conf')])
  }

  #unbound(zones: readonly string[], serversOf: (zone: string) => readonly string[], bogus: readonly string[]): void {
    const directory = this.#room.join('resolver')
    mkdirSync(directory)
    const stub = (zone: string, addresses: readonly string[]): string =>
      `stub-zone:\n  name: "${zone}"\n  stub-no-cache: no\n${addresses.map((address) => `  stub-addr: ${address}@${this.port}\n`).join('')}`
    writeFileSync(
      join(directory, 'unbound.conf'),
      `server:
  interface: ${this.resolver.address}@${this.resolver.port}
  do-not-query-localhost: no
  username: ""
  chroot: ""
  directory: "${directory}"
  pidfile: ""
  use-syslog: no
  logfile: "${directory}/log"
  num-threads: 1
  do-ip6: no
  access-control: 127.0.0.0/8 allow
  local-zone: "test." nodefault
  local-zone: "113.0.203.in-addr.arpa." nodefault
  module-config: "validator iterator"
${bogus.map((zone) => `  trust-anchor: "${zone}. DS 12345 13 2 ${'ab'.repeat(32)}"\n`).join('')}
remote-control:
  control-enable: no
${stub('.', [PARENT])}${stub('test', [PARENT])}${zones.map((zone) => stub(zone, serversOf(zone))).join('')}`,
    )
    this.#run('unbound', ['-d', '-c', join(directory, 'unbound.conf')])
  }

  #run(name: 'nsd' | 'unbound', args: readonly string[]): void {
    // They go with the test, however that ends.
    const [file = '', ...all] = existsSync(SETPRIV)
      ? [SETPRIV, '--pdeathsig', 'TERM', program(name)!, ...args]
      : [program(name)!, ...args]
    this.#children.push(spawn(file, all, { stdio: 'ignore', env: ENVIRONMENT }))
  }

  #quiet(address: string, answer: Buffer | null): Promise<void> {
    const socket = createSocket('udp4')
    this.#sockets.push(socket)
    if (answer !== null) socket.on('message', (_, peer) => socket.send(answer, peer.port, peer.address))
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.bind(this.port, address, () => resolve())
    })
  }

  async #until(server: NameServer, zone: string): Promise<void> {
    const ask = askServer(systemClock, 300)
    for (let i = 0; i < 60; i++) {
      const reply = await ask(server, { name: zone, type: 'SOA', recursive: true })
      if (reply?.rcode === 'NOERROR' && reply.answers.length > 0) return
      await pause(50)
    }
    throw new Error(`${server.address}:${server.port} does not serve ${zone}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.close()
    const ended = this.#children
      .filter((child) => child.exitCode === null && child.signalCode === null)
      .map((child) => new Promise((resolve) => child.once('exit', resolve)))
    for (const child of this.#children) child.kill('SIGTERM')
    await Promise.all(ended)
    await this.#room[Symbol.asyncDispose]()
  }
}
