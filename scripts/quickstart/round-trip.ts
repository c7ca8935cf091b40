import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { dkimVerify } from 'mailauth/lib/dkim/verify.js'
import { createTransport, type Transporter } from 'nodemailer'
import type { Observations } from './facts.ts'
import { DOMAIN, ensureAccess, ROOT, type Running, type Secrets, stop } from './installation.ts'

type Queued = {
  id: string
  sandbox: boolean
  sending_domain: string
  recipients: { address: string; state: string; due_at: string | null; tries: { class: string; provider: string }[] }[]
}
type Event = { type: string; class: string | null; detail: { hard?: boolean | null } }
type SinkMail = { id: string; door: string; mail_from: string; recipients: string[] }

const WITHIN_MS = 20_000
const OUTCOMES = ['sent', 'bounced', 'uncertain', 'suppressed', 'expired', 'cancelled']

/** Uses a running daemon as an application, a mailbox provider and an administrator would, and writes down what it saw. */
export class RoundTrip {
  readonly #running: Running
  readonly #secrets: Secrets
  readonly #mailer: Transporter

  private constructor(running: Running, secrets: Secrets) {
    this.#running = running
    this.#secrets = secrets
    this.#mailer = createTransport({
      host: '127.0.0.1',
      port: running.ports.starttls,
      requireTLS: true,
      auth: { user: secrets.username, pass: secrets.password },
      tls: { ca: readFileSync(running.certificates.caFile), servername: 'localhost' },
    })
  }

  static async run(running: Running, tell: (seen: Partial<Observations>) => void): Promise<Observations> {
    const trip = new RoundTrip(running, await ensureAccess(running))
    const seen: Record<string, unknown> = {}
    const steps: readonly (() => Promise<Partial<Observations>>)[] = [
      () => trip.#ready(),
      () => trip.#delivered(),
      () => trip.#byHttp(),
      () => trip.#bounced(),
      () => trip.#lateBounce(),
      () => trip.#forged(),
      () => trip.#greylisted(),
      () => trip.#handedOver(),
      () => trip.#stopped(),
    ]
    for (const step of steps) {
      const found = await step()
      Object.assign(seen, found)
      tell(seen)
    }
    return seen as Observations
  }

  async #ready() {
    const answer = await fetch(`http://127.0.0.1:${this.#running.ports.metrics}/readyz`)
    const { mode, ready } = (await answer.json()) as { mode: string; ready: boolean }
    return { readyz: { status: answer.status, mode, ready } }
  }

  async #delivered() {
    const to = this.#somebody('friend')
    const text = `Round trip ${randomBytes(8).toString('hex')}.\r\n`
    const messageId = `<${randomBytes(8).toString('hex')}@${DOMAIN}>`
    const { reply, protocol, verified } = await this.#sendRaw(to, text, messageId)
    const id = /queued as (\S+)$/.exec(reply)?.[1] ?? ''
    const kept = await this.#until(id, (recipient) => OUTCOMES.includes(recipient.state))
    const mails = await this.#sunk(to)
    const mail = mails[0]!
    const raw = await this.#running.api.bytes(`/sandbox/mails/${mail.id}`)
    const split = raw.indexOf('\r\n\r\n')
    const sinkMessageId = /^Message-ID: *(<[^>]*>)/im.exec(raw.subarray(0, split).toString('latin1'))?.[1] ?? ''
    return {
      submitted: { reply, id, protocol, verified },
      kept: {
        id: kept.id,
        state: kept.recipients[0]?.state ?? '',
        sandbox: kept.sandbox,
        sendingDomain: kept.sending_domain,
      },
      sunk: {
        count: mails.length,
        door: mail.door,
        mailFrom: mail.mail_from,
        bodySha256: sha256(raw.subarray(split + 4)),
      },
      sent: { bodySha256: sha256(Buffer.from(text)), messageId, sinkMessageId },
      signatures: await this.#verified(raw),
    }
  }

  /** mailauth reads the mail as it arrived, with the keys that `relevo domain show` says to publish. */
  async #verified(raw: Buffer) {
    const { dkim } = await this.#running.api.get<{ dkim: { host: string; value: string }[] }>(`/domains/${DOMAIN}`)
    const records = new Map(dkim.map(({ host, value }) => [host, value]))
    const resolver = async (name: string) => {
      const value = records.get(name)
      if (value === undefined) throw Object.assign(new Error('no such record'), { code: 'ENOTFOUND' })
      return [[value]]
    }
    const { results } = await dkimVerify(raw, { resolver } as never)
    return results.map((one: { signingDomain?: string; algo?: string; status: { result: string } }) => ({
      algorithm: one.algo ?? '',
      domain: one.signingDomain ?? '',
      result: one.status.result,
    }))
  }

  async #byHttp() {
    const to = this.#somebody('friend')
    const answer = await fetch(`http://127.0.0.1:${this.#running.ports.http}/api/email-system/queue`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.#secrets.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ from: `app@${DOMAIN}`, to, subject: 'By HTTP', text: 'Hello.' }),
    })
    const body = (await answer.json()) as { id: string; recipients: { result?: string; status?: string }[] }
    const kept = await this.#until(body.id, (recipient) => OUTCOMES.includes(recipient.state))
    const [first] = body.recipients
    return {
      http: {
        status: answer.status,
        result: first?.result ?? first?.status ?? '',
        state: kept.recipients[0]?.state ?? '',
      },
    }
  }

  async #bounced() {
    const to = this.#somebody('unknown')
    const id = idOf(await this.#send(to))
    const kept = await this.#until(id, (recipient) => OUTCOMES.includes(recipient.state))
    const events = await this.#events(id)
    const outcomes = events.filter((event) => OUTCOMES.includes(event.type))
    const entries = await this.#suppressions(to)
    const again = await this.#send(to).catch((error: { response?: string }) => error.response ?? String(error))
    return {
      bounced: {
        state: kept.recipients[0]?.state ?? '',
        class: outcomes[0]?.class ?? '',
        hard: outcomes[0]?.detail.hard ?? null,
        outcomes: outcomes.length,
      },
      suppressed: { reply: again, entries: entries.length, reason: entries[0]?.reason ?? '' },
    }
  }

  async #lateBounce() {
    const to = this.#somebody('bounce-later')
    const id = idOf(await this.#send(to))
    let event: Event | undefined
    await this.#poll(async () => {
      event = (await this.#events(id)).find((one) => one.type === 'late-bounce')
      return event !== undefined
    })
    const kept = await this.#running.api.get<Queued>(`/queue/${id}`)
    const entries = await this.#suppressions(to)
    return {
      lateBounce: {
        state: kept.recipients[0]?.state ?? '',
        event: event?.type ?? 'nothing',
        suppressed: entries.length === 1,
      },
    }
  }

  async #forged() {
    const mails = await this.#running.api.get<{ mails: SinkMail[] }>('/sandbox/mails?limit=1000')
    const real = mails.mails.find((mail) => mail.mail_from.endsWith(`@bounces.${DOMAIN}`))?.mail_from ?? ''
    // One letter of the signature changed: as close to a real one as a forger gets.
    const at = 30
    const forged = `${real.slice(0, at)}${real[at] === 'a' ? 'b' : 'a'}${real.slice(at + 1)}`
    const reply = await dialogue(this.#running.ports.inbound, [
      'EHLO forger.test',
      'MAIL FROM:<>',
      `RCPT TO:<${forged}>`,
    ])
    const recipient = mails.mails.find((mail) => mail.mail_from === real)?.recipients[0] ?? ''
    return {
      forged: { reply, entries: (await this.#suppressions(recipient)).filter((one) => one.reason === 'forged').length },
    }
  }

  async #greylisted() {
    const id = idOf(await this.#send(this.#somebody('greylist')))
    await this.#until(id, (recipient) => recipient.state === 'deferred')
    const kept = await this.#running.api.get<Queued>(`/queue/${id}`)
    const [recipient] = kept.recipients
    return {
      greylisted: {
        state: recipient?.state ?? '',
        class: recipient?.tries.at(-1)?.class ?? '',
        until: recipient?.due_at ?? null,
      },
    }
  }

  /** Google's hosts refuse our address; the rest goes on as before. */
  async #handedOver() {
    const { api } = this.#running
    await api.post('/providers', { name: 'net', host: 'smtp.relay.test', tls: 'starttls' })
    for (let i = 0; i < 6; i++) await this.#send(this.#somebody(`blocked-${i}`, 'gmail.com'))
    let verdict = ''
    await this.#poll(async () => {
      const { standings } = await api.get<{ standings: { mailbox_provider: string; verdict: string }[] }>('/reputation')
      verdict = standings.find((one) => one.mailbox_provider === 'google')?.verdict ?? ''
      return verdict === 'paused'
    })
    const google = this.#somebody('friend', 'gmail.com')
    const yahoo = this.#somebody('friend', 'yahoo.com')
    const ids = [idOf(await this.#send(google)), idOf(await this.#send(yahoo))]
    const [first] = await Promise.all(
      ids.map((id) => this.#until(id, (recipient) => OUTCOMES.includes(recipient.state))),
    )
    return {
      handedOver: {
        verdict,
        google: (await this.#sunk(google))[0]?.door ?? '',
        googleProvider: first!.recipients[0]?.tries.at(-1)?.provider ?? '',
        yahoo: (await this.#sunk(yahoo))[0]?.door ?? '',
      },
    }
  }

  async #stopped() {
    const exitCode = await stop(this.#running)
    const check = promisify(execFile)(join(ROOT, 'scripts/relevo'), [
      'db',
      'check',
      '--config',
      this.#running.configFile,
    ])
    return {
      stopped: {
        exitCode,
        storeOk: await check.then(
          () => true,
          () => false,
        ),
      },
    }
  }

  #somebody(rule: string, domain = 'example.org'): string {
    return `${rule}-${randomBytes(4).toString('hex')}@${domain}`
  }

  async #send(to: string): Promise<string> {
    const { response } = await this.#mailer.sendMail({
      from: `app@${DOMAIN}`,
      to,
      subject: 'Round trip',
      text: 'Hello.',
    })
    return response ?? ''
  }

  /** One message byte for byte, by a client of our own lines: what it saw of the certificate is its own. */
  async #sendRaw(
    to: string,
    text: string,
    messageId: string,
  ): Promise<{ reply: string; protocol: string; verified: boolean }> {
    const { certificates, ports } = this.#running
    const plain = new Dialogue(createConnection({ port: ports.starttls, host: '127.0.0.1' }))
    await plain.say(null)
    await plain.say('EHLO client.test')
    await plain.say('STARTTLS')
    const secure = connectTls({
      socket: plain.release(),
      ca: readFileSync(certificates.caFile),
      servername: 'localhost',
    })
    await once(secure, 'secureConnect')
    const [protocol, verified] = [secure.getProtocol() ?? '', secure.authorized]
    const session = new Dialogue(secure)
    await session.say('EHLO client.test')
    const { username, password } = this.#secrets
    await session.say(`AUTH PLAIN ${Buffer.from(`\0${username}\0${password}`).toString('base64')}`)
    await session.say(`MAIL FROM:<app@${DOMAIN}>`)
    await session.say(`RCPT TO:<${to}>`)
    await session.say('DATA')
    const head = `From: Quick start <app@${DOMAIN}>\r\nTo: <${to}>\r\nSubject: Round trip\r\nMessage-ID: ${messageId}`
    const reply = await session.say(`${head}\r\n\r\n${text}.`)
    secure.end('QUIT\r\n')
    return { reply, protocol, verified }
  }

  async #sunk(to: string): Promise<SinkMail[]> {
    const { mails } = await this.#running.api.get<{ mails: SinkMail[] }>('/sandbox/mails?limit=1000')
    return mails.filter((mail) => mail.recipients.includes(to))
  }

  async #events(id: string): Promise<Event[]> {
    return (await this.#running.api.get<{ events: Event[] }>(`/events?message_id=${id}`)).events
  }

  async #suppressions(address: string): Promise<{ reason: string }[]> {
    const path = `/bounces/${encodeURIComponent(address)}`
    return (await this.#running.api.get<{ suppressions: { reason: string }[] }>(path)).suppressions
  }

  async #until(id: string, done: (recipient: Queued['recipients'][number]) => boolean): Promise<Queued> {
    let kept: Queued | null = null
    await this.#poll(async () => {
      kept = await this.#running.api.get<Queued>(`/queue/${id}`)
      return kept.recipients.every(done)
    })
    return kept!
  }

  /** Asks again until it is so, or the time is over; what is then seen is judged by the facts. */
  async #poll(ask: () => Promise<boolean>): Promise<void> {
    const began = performance.now()
    while (!(await ask()) && performance.now() - began < WITHIN_MS) await pause(50)
  }
}

function idOf(reply: string): string {
  return /queued as (\S+)$/.exec(reply)?.[1] ?? ''
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Says the lines one after the other; the reply to the last. */
async function dialogue(port: number, lines: readonly string[]): Promise<string> {
  const session = new Dialogue(createConnection({ port, host: '127.0.0.1' }))
  let reply = await session.say(null)
  for (const line of lines) reply = await session.say(line)
  session.release().destroy()
  return reply
}

/** A line, then its whole reply. */
class Dialogue {
  readonly #socket: Socket
  #text = ''
  #waiting: ((reply: string) => void) | null = null
  readonly #onData = (chunk: Buffer): void => {
    this.#text += chunk.toString('latin1')
    const last = /(?:^|\n)(\d{3} [^\n]*)\r\n$/.exec(this.#text)
    if (last === null) return
    this.#text = ''
    this.#waiting?.(last[1]!.trim())
  }

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', this.#onData)
  }

  /** Null only waits (for the greeting). */
  say(line: string | null): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting = resolve
      this.#socket.once('error', reject)
      if (line !== null) this.#socket.write(`${line}\r\n`)
    })
  }

  release(): Socket {
    this.#socket.off('data', this.#onData)
    return this.#socket
  }
}
