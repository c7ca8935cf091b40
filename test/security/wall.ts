import { randomBytes } from 'node:crypto'
import { availableParallelism, loadavg } from 'node:os'
import { RawClient } from '#world'
import { DaemonRig, DOMAIN, type RigOptions } from '../daemon/daemon-rig.ts'

export { DOMAIN, RELEVO } from '../daemon/daemon-rig.ts'

/** The listeners that take mail by SMTP, by the port they stand on in the world. */
export const PORTS = ['25', '587', '465'] as const
export type Port = (typeof PORTS)[number]

/** A real daemon in live mode, with one application that may send, attacked from outside. */
export class Wall implements AsyncDisposable {
  readonly rig: DaemonRig
  readonly username = 'shop'
  readonly password: string
  readonly token: string

  private constructor(rig: DaemonRig, password: string, token: string) {
    this.rig = rig
    this.password = password
    this.token = token
  }

  static async open(options: RigOptions = {}): Promise<Wall> {
    const rig = await DaemonRig.open(options)
    const password = `pw-${randomBytes(12).toString('hex')}`
    await rig.api.post('/credentials', { username: 'shop', password, allowed: [DOMAIN] })
    const { token } = await rig.api.post<{ token: string }>('/tokens', {
      name: 'shop',
      permissions: ['send', 'queue:read', 'events:read', 'metrics:read'],
      allowed: [DOMAIN],
    })
    return new Wall(rig, password, token)
  }

  /** The port of the real machine that stands for one of the world. */
  portOf(port: Port): number {
    const { inbound, starttls, tls } = this.rig.ports
    return { '25': inbound, '587': starttls, '465': tls }[port]
  }

  /** A session past EHLO; over TLS on 587 and 465; logged in there when asked for. */
  async session(port: Port, logIn = true): Promise<RawClient> {
    const client = await RawClient.open(this.portOf(port), '127.0.0.1', port === '465')
    await client.reply()
    await client.ask('EHLO client.test')
    if (port === '587') {
      await client.ask('STARTTLS')
      await client.startTls()
      await client.ask('EHLO client.test')
    }
    if (logIn && port !== '25') {
      const reply = await client.ask(plain(this.username, this.password))
      if (reply.code !== 235) throw new Error(`not let in: ${reply.lines[0]}`)
    }
    return client
  }

  /** POST /queue on the TCP listener. */
  async http(body: unknown, headers: Record<string, string> = {}): Promise<{ status: number; json: Answer }> {
    const response = await fetch(`http://127.0.0.1:${this.rig.ports.http}/api/email-system/queue`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
    })
    return { status: response.status, json: (await response.json()) as Answer }
  }

  /** Recipients in the queue, by state. */
  async counts(): Promise<Record<string, number>> {
    return (await this.rig.api.get<{ queue: Record<string, number> }>('/status')).queue
  }

  /** How many recipients were ever accepted. */
  async accepted(): Promise<number> {
    return Object.values(await this.counts()).reduce((sum, count) => sum + count, 0)
  }

  /** True once nothing is due or under way. */
  settled(withinMs = 20_000): Promise<boolean> {
    return this.rig.until(async () => {
      const { ready = 0, leased = 0 } = await this.counts()
      return ready === 0 && leased === 0
    }, withinMs)
  }

  /** The longest pause of the daemon's event loop since this was asked last. Milliseconds. */
  async longestPauseMs(): Promise<number> {
    const metrics = await (await fetch(`http://127.0.0.1:${this.rig.ports.metrics}/metrics`)).text()
    return Number(/^nodejs_eventloop_lag_max_seconds ([\d.e+-]+)/m.exec(metrics)?.[1]) * 1000
  }

  /**
   * The longest pause while `what` runs: the shortest of up to three tries, as if the machine had nothing else to do.
   * With more programs ready to run than cores, all of them wait that much longer.
   */
  async pauseDuring(what: () => Promise<unknown>, boundMs: number): Promise<number> {
    let best = Number.POSITIVE_INFINITY
    for (let i = 0; i < 3 && best > boundMs; i++) {
      await this.longestPauseMs()
      await what()
      const crowd = Math.max(1, loadavg()[0]! / availableParallelism())
      best = Math.min(best, (await this.longestPauseMs()) / crowd)
    }
    return best
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rig[Symbol.asyncDispose]()
  }
}

export type Answer = Record<string, unknown> & {
  readonly id?: string
  readonly field?: string
  readonly detail?: string
  readonly remedy?: string
}

export const plain = (username: string, password: string): string =>
  `AUTH PLAIN ${Buffer.from(`\0${username}\0${password}`).toString('base64')}`

/** A plain message from the application of the wall. */
export const messageTo = (to: string, text = 'Hello.'): string =>
  `From: <app@${DOMAIN}>\r\nTo: <${to}>\r\nSubject: Hello\r\n\r\n${text}`
