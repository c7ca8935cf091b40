import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { type Clock, silentLog, systemClock } from '#base'
import type { Config } from '#config'
import {
  Acceptor,
  Credentials,
  type InboundKind,
  InboundServer,
  SubmissionServer,
  type SuppressionEntry,
  type TlsMaterial,
} from '#intake'
import { ProcessLimiter } from '#limits'
import type { AcceptResult, NewEvent, NewMessage } from '#queue'
import { openDatabase, Records } from '#store'

// What the intake tests stand on: real listeners on loopback, a real certificate, the real store, and a queue that keeps
// what it accepts in an array (or fails the way it is told to).

type Test = { teardown(fn: () => unknown): unknown }

let shared: Promise<{ readonly records: Records; close(): Promise<void> }> | null = null
let users = 0
const LINGER_MS = 300

async function openStore() {
  const directory = await mkdtemp(join(tmpdir(), 'relevo-intake-'))
  const database = await openDatabase({ directory, modules: [] })
  return {
    records: new Records(database),
    async close() {
      await database[Symbol.asyncDispose]()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/**
 * Empty Records over the store's real threads. The tests of a file run one after another and share one data directory,
 * which goes when no further test asked for it.
 */
export async function openRecords(t: Test): Promise<Records> {
  shared ??= openStore()
  users += 1
  t.teardown(() => {
    users -= 1
    setTimeout(() => {
      if (users > 0 || shared === null) return
      const ending = shared
      shared = null
      void ending.then((store) => store.close())
    }, LINGER_MS)
  })
  const { records } = await shared
  const { query } = records
  await records.write(query.deleteFrom('credentials'), query.deleteFrom('tokens'), query.deleteFrom('inbound_mail'))
  return records
}

/** The rows of `inbound_mail`, read past the server. */
export type InboundRow = {
  readonly kind: string
  readonly mail_from: string
  readonly rcpt_to: string
  readonly client_address: string
  readonly content: Uint8Array
  readonly processed_ms: number | null
}

/** A listener for bounces: `token@bounces.example.com` and the postmaster are known, all else of those domains is not. */
export async function openInbound(t: Test, options: { readonly records?: Records; readonly clock?: Clock } = {}) {
  const records = options.records ?? (await openRecords(t))
  const clock = options.clock ?? systemClock
  const limiter = new ProcessLimiter(clock)
  const refused: string[] = []
  let kicks = 0
  const known = new Map<string, InboundKind>([
    ['token@bounces.example.com', 'bounce'],
    ['postmaster@mail.relevo.test', 'postmaster'],
  ])
  const server = await InboundServer.open(
    'mail.relevo.test',
    {
      listen: ['127.0.0.1:0'],
      max_message_bytes: 100_000,
      max_connections: 50,
      idle_timeout: 300,
      local_domains: [],
      forward_to: '',
      forward_per_hour: 20,
    },
    certificate(),
    {
      records,
      limiter,
      clock,
      log: silentLog,
      recognise: (address) => {
        const kind = known.get(address.toLowerCase())
        return kind === undefined ? null : { kind }
      },
      isOurDomain: (domain) => domain === 'bounces.example.com' || domain === 'mail.relevo.test',
      onInbound: () => {
        kicks += 1
      },
      onRefused: (why) => refused.push(why),
    },
  )
  t.teardown(async () => {
    await server.stop(200)
    await limiter[Symbol.asyncDispose]()
  })
  const rows = async (): Promise<InboundRow[]> =>
    (await records.read(records.query.selectFrom('inbound_mail').selectAll().orderBy('seq'))) as unknown as InboundRow[]
  return { server, refused, rows, kicks: () => kicks, port: server.addresses[0]!.port }
}

export class MemoryQueue {
  readonly messages: NewMessage[] = []
  readonly events: NewEvent[] = []
  readonly #keys = new Map<string, { id: string; fingerprint: string }>()
  /** Thrown at the next accept, and at all later ones, until cleared. */
  fault: Error | null = null
  waiting = 0
  /** Milliseconds a commit takes. */
  commitMs = 0

  async accept(message: NewMessage, events: readonly NewEvent[]): Promise<AcceptResult> {
    if (this.commitMs > 0) await new Promise((resolve) => setTimeout(resolve, this.commitMs))
    if (this.fault !== null) throw this.fault
    const { idempotency } = message
    if (idempotency !== undefined) {
      const key = `${idempotency.scope} ${idempotency.key}`
      const earlier = this.#keys.get(key)
      if (earlier !== undefined)
        return { kind: 'repeated', id: earlier.id, same: earlier.fingerprint === idempotency.fingerprint }
      this.#keys.set(key, { id: message.id, fingerprint: idempotency.fingerprint })
    }
    this.messages.push(message)
    this.events.push(...events)
    return { kind: 'accepted', id: message.id }
  }

  backlog(): number {
    return this.waiting
  }
}

let pair: TlsMaterial | null = null

/** One self-signed certificate for localhost a process. */
export function certificate(name = 'localhost'): TlsMaterial {
  if (pair !== null && name === 'localhost') return pair
  const directory = mkdtempSync(join(tmpdir(), 'relevo-intake-'))
  const file = (base: string): string => join(directory, base)
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name},IP:127.0.0.1`]
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-out',
      file('c'),
      '-keyout',
      file('k'),
      ...subject,
    ],
    { stdio: 'ignore' },
  )
  const made: TlsMaterial = { cert: readFileSync(file('c')), key: readFileSync(file('k')), minVersion: 'TLSv1.2' }
  rmSync(directory, { recursive: true })
  if (name === 'localhost') pair = made
  return made
}

export const DEFAULTS: Config['submission'] = {
  starttls_listen: ['127.0.0.1:0'],
  tls_listen: ['127.0.0.1:0'],
  trusted_listen: [],
  trusted_networks: [],
  trusted_domains: [],
  max_message_bytes: 1_048_576,
  max_recipients: 10,
  suppressed: 'refuse',
  hide_client_address: false,
  max_connections: 200,
  max_connections_per_address: 100,
  max_failed_logins: 10,
  max_errors: 20,
  idle_timeout: 30,
  max_backlog: 100,
}

export const PASSWORD = 'correct horse battery'

export type RigOptions = {
  readonly settings?: Partial<Config['submission']>
  readonly tls?: TlsMaterial | null
  readonly clock?: Clock
  readonly suppressed?: ReadonlyMap<string, SuppressionEntry>
  readonly isStorageLow?: () => boolean
  readonly contentBudgetBytes?: number
  readonly sandbox?: boolean
  readonly credential?: {
    readonly allowed?: readonly string[]
    readonly ratePerHour?: number
    readonly defaultTags?: readonly string[]
    readonly expiresMs?: number
  }
}

/** A whole submission server for `example.com` and `example.org` with the user `app`, who may send as example.com. */
export async function openRig(t: Test, options: RigOptions = {}) {
  const clock = options.clock ?? systemClock
  const records = await openRecords(t)
  const queue = new MemoryQueue()
  const credentials = new Credentials(records, clock)
  const settings = { ...DEFAULTS, ...options.settings }
  await credentials.create({ username: 'app', password: PASSWORD, allowed: ['example.com'], ...options.credential })
  const domains = new Map([
    ['example.com', { active: true }],
    ['example.org', { active: true }],
    ['asleep.example', { active: false }],
  ])
  const limiter = new ProcessLimiter(clock)
  const storeFaults: unknown[] = []
  const acceptor = new Acceptor(
    {
      hostname: 'mail.relevo.test',
      hideClientAddress: settings.hide_client_address,
      maxBacklog: settings.max_backlog,
      lifetimeMs: 345_600_000,
      sandbox: () => options.sandbox ?? true,
    },
    { queue, domains, limiter, clock, log: silentLog, onStoreFailed: (error) => storeFaults.push(error) },
  )
  const tls = options.tls === undefined ? certificate() : options.tls
  const server = await SubmissionServer.open('mail.relevo.test', settings, tls, {
    acceptor,
    credentials,
    suppression: { check: async (address) => options.suppressed?.get(address.toLowerCase()) ?? null },
    clock,
    log: silentLog,
    ...(options.isStorageLow === undefined ? {} : { isStorageLow: options.isStorageLow }),
    ...(options.contentBudgetBytes === undefined ? {} : { contentBudgetBytes: options.contentBudgetBytes }),
  })
  t.teardown(async () => {
    await server.stop(200)
    await limiter[Symbol.asyncDispose]()
  })
  const port = (kind: 'starttls' | 'tls' | 'trusted'): number =>
    server.addresses.find((entry) => entry.kind === kind)!.address.port
  return { server, queue, acceptor, credentials, domains, records, storeFaults, port }
}

/** A raw client: bytes out, whole replies in. */
export class Wire {
  #socket: Socket
  #text = ''
  #closed = false
  #wake: () => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#attach(socket)
  }

  static open(port: number): Wire {
    return new Wire(connect({ port, host: '127.0.0.1' }))
  }

  static openTls(port: number, options: ConnectionOptions = {}): Wire {
    return new Wire(connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options }))
  }

  #attach(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1')
      this.#wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#closed = true
      this.#wake()
    })
  }

  get socket(): Socket {
    return this.#socket
  }

  write(text: string | Buffer): void {
    this.#socket.write(text as string, 'latin1')
  }

  /** The next reply with all its lines, CRLF between; null when the connection ended instead. */
  async reply(timeoutMs = 10_000): Promise<string | null> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const match = /^(?:\d{3}-[^\r\n]*\r\n)*\d{3}(?: [^\r\n]*)?\r\n/.exec(this.#text)
      if (match !== null) {
        this.#text = this.#text.slice(match[0].length)
        return match[0].slice(0, -2)
      }
      if (this.#closed) return null
      await this.#change(deadline)
    }
  }

  async say(line: string): Promise<string | null> {
    this.write(`${line}\r\n`)
    return this.reply()
  }

  /** Waits for the end of the connection; answers what came before it. */
  async end(timeoutMs = 10_000): Promise<string> {
    const deadline = performance.now() + timeoutMs
    while (!this.#closed) await this.#change(deadline)
    return this.#text
  }

  async starttls(): Promise<void> {
    await this.say('STARTTLS')
    this.#socket.removeAllListeners()
    const socket = connectTls({ socket: this.#socket, rejectUnauthorized: false })
    this.#socket = socket
    this.#attach(socket)
    await new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('error', reject)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #change(deadline: number): Promise<void> {
    const left = deadline - performance.now()
    if (left <= 0) throw new Error(`nothing more came; so far: ${JSON.stringify(this.#text.slice(-300))}`)
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, left)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

export const plain = (username: string, password: string): string =>
  `AUTH PLAIN ${Buffer.from(`\0${username}\0${password}`).toString('base64')}`

/** A session over implicit TLS that is logged in. */
export async function loggedIn(port: number): Promise<Wire> {
  const wire = Wire.openTls(port)
  await wire.reply()
  await wire.say('EHLO client.example')
  await wire.say(plain('app', PASSWORD))
  return wire
}

export const MESSAGE = ['From: App <app@example.com>', 'To: you@example.net', 'Subject: hello', '', 'Hello.', ''].join(
  '\r\n',
)

/** Hands in one message; answers the reply to its end. */
export async function submit(wire: Wire, content = MESSAGE, to = ['you@example.net'], from = 'app@example.com') {
  const mail = await wire.say(`MAIL FROM:<${from}>`)
  if (!mail?.startsWith('250')) return mail
  for (const address of to) await wire.say(`RCPT TO:<${address}>`)
  const data = await wire.say('DATA')
  if (!data?.startsWith('354')) return data
  wire.write(`${content.replace(/^\./gm, '..')}\r\n.\r\n`)
  return wire.reply()
}
