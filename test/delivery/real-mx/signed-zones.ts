import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { systemClock } from '#base'
import { Resolver } from '#delivery'
import { ENVIRONMENT, program, run } from './unpacked.ts'

const SERVER = '127.77.0.1'
const VALIDATOR = '127.77.0.2'

/**
 * A real name server (nsd) and a real validating resolver (unbound) with three zones: `signed.test`, signed; `plain.test`, not signed;
 * `bogus.test`, whose signature does not fit what its parent would say of it.
 */
export class SignedZones implements AsyncDisposable {
  /** `127.77.0.2:port`, as `delivery.dns_servers` takes it. */
  readonly address: string
  readonly #children: ChildProcess[]

  private constructor(address: string, children: ChildProcess[]) {
    this.address = address
    this.#children = children
  }

  /** @param records lines of each zone, names relative to it */
  static async open(
    directory: string,
    port: number,
    records: { readonly signed: string; readonly plain: string; readonly bogus: string },
  ): Promise<SignedZones> {
    const at = (name: string): string => join(directory, name)
    const head = (zone: string): string =>
      `$ORIGIN ${zone}.\n$TTL 60\n@ SOA ns.${zone}. root.${zone}. 1 3600 600 86400 60\n@ NS ns.${zone}.\nns A ${SERVER}\n`
    const sign = (zone: string, text: string): string => {
      writeFileSync(at(zone), `${head(zone)}${text}\n`)
      const key = run('ldns-keygen', ['-a', 'ECDSAP256SHA256', '-k', zone], directory).trim()
      run('ldns-signzone', ['-o', zone, '-f', `${zone}.signed`, zone, key], directory)
      return run('ldns-key2ds', ['-n', '-2', `${key}.key`], directory).trim()
    }
    const anchor = sign('signed.test', records.signed)
    sign('bogus.test', records.bogus)
    writeFileSync(at('plain.test'), `${head('plain.test')}${records.plain}\n`)
    const zones = [
      ['signed.test', 'signed.test.signed'],
      ['plain.test', 'plain.test'],
      ['bogus.test', 'bogus.test.signed'],
    ] as const
    writeFileSync(
      at('nsd.conf'),
      `server:
  ip-address: ${SERVER}@${port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "${directory}"
  pidfile: ""
  database: ""
  xfrdfile: "${at('xfrd')}"
  xfrdir: "${directory}"
  zonelistfile: "${at('zones')}"
  logfile: "${at('nsd.log')}"
remote-control:
  control-enable: no
${zones.map(([name, file]) => `zone:\n  name: "${name}"\n  zonefile: "${file}"\n`).join('')}`,
    )
    writeFileSync(
      at('unbound.conf'),
      `server:
  interface: ${VALIDATOR}@${port}
  do-not-query-localhost: no
  username: ""
  chroot: ""
  directory: "${directory}"
  pidfile: ""
  use-syslog: no
  logfile: "${at('unbound.log')}"
  num-threads: 1
  do-ip6: no
  access-control: 127.0.0.0/8 allow
  local-zone: "test." nodefault
  module-config: "validator iterator"
  trust-anchor: "${anchor.replace(/\s+/g, ' ')}"
  trust-anchor: "bogus.test. DS 12345 13 2 ${'ab'.repeat(32)}"
remote-control:
  control-enable: no
${zones.map(([name]) => `stub-zone:\n  name: "${name}"\n  stub-addr: ${SERVER}@${port}\n`).join('')}`,
    )
    const start = (name: string): ChildProcess =>
      spawn(program(name), ['-d', '-c', at(`${name}.conf`)], { stdio: 'ignore', env: ENVIRONMENT })
    const opened = new SignedZones(`${VALIDATOR}:${port}`, [start('nsd'), start('unbound')])
    try {
      await opened.#until()
    } catch (error) {
      await opened[Symbol.asyncDispose]()
      const said = ['nsd.log', 'unbound.log'].map((name) => readLog(at(name))).join('\n')
      throw new Error(`${String(error)}\n${said}`)
    }
    return opened
  }

  async #until(): Promise<void> {
    for (let i = 0; i < 200; i++) {
      const resolver = new Resolver({ servers: [this.address], clock: systemClock, timeoutMs: 300, rounds: 1 })
      const answer = await resolver.addresses('ns.signed.test', 4)
      if (answer.kind === 'records' && answer.secure) return
      if (this.#children.some((child) => child.exitCode !== null)) break
      await pause(50)
    }
    throw new Error('the signed zones are not served')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const alive = this.#children.filter((child) => child.exitCode === null && child.signalCode === null)
    const ended = alive.map((child) => new Promise((resolve) => child.once('exit', resolve)))
    for (const child of alive) child.kill('SIGTERM')
    await Promise.all(ended)
  }
}

function readLog(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(-1000)
  } catch {
    return ''
  }
}
