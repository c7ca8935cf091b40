import { type ChildProcess, fork, spawn } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { openDns } from '../../test/world/index.ts'
import { type Case, HOST, recipientDomain, SENDER, SILENT, SINK } from './contract.ts'

type Verified = { readonly taken: number; readonly different: number; readonly good: number }

/** What a run stands on: the name server and the mail host of all recipients, each in a place of its own. */
export class Ground implements AsyncDisposable {
  /** For what the subjects keep; emptied before. */
  readonly directory: string
  readonly #sink: ChildProcess
  readonly #dns: AsyncDisposable

  private constructor(directory: string, sink: ChildProcess, dns: AsyncDisposable) {
    this.directory = directory
    this.#sink = sink
    this.#dns = dns
  }

  static async open(): Promise<Ground> {
    const directory = join(import.meta.dirname, '../../.cache/bench/run')
    rmSync(directory, { recursive: true, force: true })
    mkdirSync(directory, { recursive: true })
    const zones = Object.fromEntries([
      ...Array.from({ length: 200 }, (_, n) => [recipientDomain(n), { MX: [[10, 'sink.test']] }] as const),
      ['sink.test', { A: [SINK.host] }] as const,
      ['*.silent.test', { MX: [[10, 'mx.of-silence.test']] }] as const,
      ['mx.of-silence.test', { A: [SILENT.host] }] as const,
      [HOST, { A: ['127.0.0.1'] }] as const,
      [SENDER, { MX: [[10, HOST]] }] as const,
    ])
    const dns = await openDns(zones as Parameters<typeof openDns>[0], { port: 53 })
    const sink = fork(join(import.meta.dirname, 'sink.ts'))
    await told(sink, 'ready')
    return new Ground(directory, sink, dns)
  }

  /** Sends the load there; from its first byte to the last message at the host. */
  async measure(load: Case, at: { readonly host: string; readonly port: number }): Promise<{ readonly ms: number }> {
    this.#sink.send({ ask: 'begin', wanted: load.messages })
    await told(this.#sink, 'begun')
    const all = told(this.#sink, 'all')
    const began = performance.timeOrigin + performance.now()
    const child = spawn(process.execPath, [join(import.meta.dirname, 'load.ts'), JSON.stringify({ ...at, load })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const code = await new Promise((resolve) => child.once('exit', resolve))
    if (code !== 0) throw new Error(`the load on ${at.port} ended with ${code}`)
    const { atMs } = (await all) as unknown as { atMs: number }
    return { ms: atMs - began }
  }

  /** Messages that the host took since the last load began, how many different ones, and how many with good signatures. */
  async verify(keys: ReadonlyMap<string, string>): Promise<Verified> {
    this.#sink.send({ ask: 'verify', keys: [...keys] })
    return (await told(this.#sink, 'verified')) as unknown as Verified
  }

  /** Calls at each urgent message that the host takes. */
  onUrgent(listener: (number: number) => void): void {
    this.#sink.on('message', (message: { is: string; number?: number }) => {
      if (message.is === 'urgent') listener(message.number!)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sink.disconnect()
    await this.#dns[Symbol.asyncDispose]()
  }
}

function told(child: ChildProcess, is: string): Promise<Record<string, unknown>> {
  return new Promise((resolve) => {
    const listener = (message: { is: string }): void => {
      if (message.is !== is) return
      child.off('message', listener)
      resolve(message)
    }
    child.on('message', listener)
  })
}
