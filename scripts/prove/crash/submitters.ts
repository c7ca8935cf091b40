import { Agent, request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { load } from '#world'
import { type DaemonRig, DOMAIN } from '../../../test/daemon/daemon-rig.ts'
import type { Ledger } from './ledger.ts'

const RETRY_MS = 50

export type SubmitterOptions = {
  readonly smtp: number
  readonly http: number
  /** A pause of each submitter after each message, ms. */
  readonly pauseMs: number
  /** The domain of recipient `n`; default: good.test. */
  readonly domain?: () => string
  /** Beside small messages, which every second submitter hands in: content in segment files. Bytes. */
  readonly largeBytes?: number
  /** Messages over one SMTP connection; default: 100. */
  readonly perConnection?: number
}

export type Submitted = {
  readonly httpAcked: number
  /** Answers 202 that named a message taken before the crash. */
  readonly httpRepeated: number
  readonly refused: ReadonlyMap<string, number>
}

/**
 * Hands in mail by SMTP and HTTP until told to stop, over crashes and restarts. An HTTP request that was not answered is
 * repeated with the same Idempotency-Key until it is. Messages by HTTP have two recipients.
 */
export async function submit(
  rig: DaemonRig,
  ledger: Ledger,
  options: SubmitterOptions,
  signal: AbortSignal,
): Promise<Submitted> {
  const domain = options.domain ?? (() => 'good.test')
  const refused = new Map<string, number>()
  const refusedAs = (answer: string): void => {
    const kind = answer.slice(0, 60)
    refused.set(kind, (refused.get(kind) ?? 0) + 1)
  }
  let httpAcked = 0
  let httpRepeated = 0
  const token = await tokenOf(rig)

  async function overSmtp(session: number): Promise<void> {
    const names = new Map<number, string>()
    const { refused: answers } = await load({
      port: rig.ports.trusted,
      sessions: 1,
      signal,
      from: `app@${DOMAIN}`,
      pauseMs: options.pauseMs,
      perConnection: options.perConnection ?? 100,
      bodyBytes: session % 2 === 1 ? (options.largeBytes ?? 24_000) : 1000,
      to: (n) => {
        const name = `s${session}-${n}@${domain()}`
        names.set(n, name)
        ledger.tried.add(name)
        return name
      },
      onAcked: (n) => {
        ledger.acked.add(names.get(n)!)
        names.delete(n)
      },
    })
    for (const answer of answers) refusedAs(answer)
  }

  async function overHttp(session: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let n = 0; !signal.aborted; n++) {
      const to = [1, 2].map((part) => `h${session}-${n}-${part}@${domain()}`)
      for (const name of to) ledger.tried.add(name)
      const body = JSON.stringify({ from: `app@${DOMAIN}`, to, subject: `prove ${n}`, text: 'x'.repeat(800) })
      for (;;) {
        const answer = await post(agent, rig.ports.http, token, `key-${session}-${n}`, body)
        if (answer.status === 202) {
          for (const name of to) ledger.acked.add(name)
          httpAcked += 1
          if (answer.body.includes('"repeated":true')) httpRepeated += 1
          break
        }
        if (answer.status !== 0) refusedAs(`${answer.status} ${answer.body}`)
        if (answer.status >= 400 && answer.status < 429 && answer.status !== 408) break
        if (signal.aborted) return agent.destroy()
        await pause(RETRY_MS)
      }
      await pause(options.pauseMs)
    }
    agent.destroy()
  }

  await Promise.all([
    ...Array.from({ length: options.smtp }, (_, i) => overSmtp(i)),
    ...Array.from({ length: options.http }, (_, i) => overHttp(i)),
  ])
  return { httpAcked, httpRepeated, refused }
}

/** The daemon may be killed while it is asked for one. */
async function tokenOf(rig: DaemonRig): Promise<string> {
  const wanted = { name: `prove-${Math.random()}`, permissions: ['send'], allowed: [DOMAIN] }
  for (;;) {
    const made = await rig.api.post<{ token: string }>('/tokens', wanted).catch(() => null)
    if (made !== null) return made.token
    await pause(100)
  }
}

/** Status 0: it was not answered. */
function post(
  agent: Agent,
  port: number,
  token: string,
  key: string,
  body: string,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => {
    const failed = (): void => resolve({ status: 0, body: '' })
    const headers = {
      ...{ authorization: `Bearer ${token}`, 'idempotency-key': key },
      ...{ 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    }
    const path = '/api/email-system/queue'
    const call = request(
      { host: '127.0.0.1', port, method: 'POST', path, headers, agent, timeout: 15_000 },
      (answer) => {
        let text = ''
        answer.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text }))
        answer.on('error', failed)
        answer.on('close', failed)
      },
    )
    call.on('timeout', () => call.destroy())
    call.on('error', failed)
    call.end(body)
  })
}
