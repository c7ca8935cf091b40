import { setTimeout as pause } from 'node:timers/promises'
import { RawClient } from './raw-client.ts'

export type LoadOptions = {
  readonly port: number
  readonly host?: string
  readonly sessions: number
  /** Stops after so many acknowledged messages … */
  readonly messages?: number
  /** … or when this is aborted. One of the two must be given. */
  readonly signal?: AbortSignal
  readonly tls?: 'none' | 'starttls' | 'implicit'
  readonly auth?: { readonly username: string; readonly password: string }
  readonly from?: string
  /** Forward-path of message `n`. */
  readonly to?: (n: number) => string
  readonly bodyBytes?: number
  readonly perConnection?: number
  /** A pause of each session after each message, ms. */
  readonly pauseMs?: number
  /** Told when message `n` was acknowledged. */
  readonly onAcked?: (n: number) => void
}

export type LoadResult = {
  /** Ids (header `X-World-Id`) whose 250 after the dot was read to its end. */
  readonly acked: ReadonlySet<string>
  /** Ids whose content was written and whose answer never came: either way is right. */
  readonly unanswered: ReadonlySet<string>
  /** Answers other than 250 to the content or the envelope. */
  readonly refused: readonly string[]
  readonly connections: number
  /** Connections that could not be opened or broke. */
  readonly broken: number
  readonly seconds: number
}

/** How long a session waits before it tries again after its connection broke (the server may be restarting). */
const RETRY_MS = 50

/** Submits mail over several sessions at once and keeps exact account of what was acknowledged; a server that dies is tried again. */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const acked = new Set<string>()
  const unanswered = new Set<string>()
  const refused: string[] = []
  const total = options.messages ?? Number.POSITIVE_INFINITY
  const run = Math.random().toString(36).slice(2, 8)
  const startedMs = performance.now()
  let begun = 0
  let connections = 0
  let broken = 0
  const stopped = (): boolean => options.signal?.aborted === true || acked.size + refused.length >= total
  const mayBegin = (): boolean => !stopped() && acked.size + refused.length + (begun - finished) < total
  let finished = 0
  const filler = bodyOf(options.bodyBytes ?? 1024)

  async function session(): Promise<void> {
    while (mayBegin()) {
      let client: RawClient | null = null
      const onAbort = (): void => client?.close()
      try {
        client = await RawClient.open(options.port, options.host, options.tls === 'implicit')
        options.signal?.addEventListener('abort', onAbort, { once: true })
        connections++
        await greet(client, options)
        for (let n = 0; n < (options.perConnection ?? 100) && mayBegin(); n++) {
          const number = begun++
          try {
            await submit(client, number)
          } finally {
            finished++
          }
          if (options.pauseMs !== undefined) await pause(options.pauseMs)
        }
        client.write('QUIT\r\n')
      } catch {
        broken++
        if (!stopped()) await pause(RETRY_MS)
      } finally {
        options.signal?.removeEventListener('abort', onAbort)
        client?.close()
      }
    }
  }

  async function submit(client: RawClient, number: number): Promise<void> {
    const id = `${run}-${number}`
    const from = options.from ?? 'load@example.test'
    const to = options.to?.(number) ?? `rcpt-${number}@example.test`
    client.write(`MAIL FROM:<${from}>\r\nRCPT TO:<${to}>\r\nDATA\r\n`)
    const replies = [await client.reply(), await client.reply(), await client.reply()]
    const last = replies[2]
    if (replies.includes(null) || !last) throw new Error('closed')
    if (last.code !== 354) {
      refused.push(replies.map((reply) => reply?.lines[0]).join(' | '))
      await client.ask('RSET')
      return
    }
    unanswered.add(id)
    client.write(
      `From: <${from}>\r\nTo: <${to}>\r\nSubject: load ${number}\r\nX-World-Id: ${id}\r\nMessage-ID: <${id}@load.test>\r\n` +
        `Date: ${new Date().toUTCString().replace('GMT', '+0000')}\r\n\r\n${filler}.\r\n`,
    )
    const reply = await client.reply(60_000)
    if (!reply) throw new Error('closed')
    unanswered.delete(id)
    if (reply.code === 250) {
      acked.add(id)
      options.onAcked?.(number)
    } else refused.push(reply.lines[0]!)
  }

  await Promise.all(Array.from({ length: options.sessions }, () => session()))
  return { acked, unanswered, refused, connections, broken, seconds: (performance.now() - startedMs) / 1000 }
}

async function greet(client: RawClient, options: LoadOptions): Promise<void> {
  const banner = await client.reply()
  if (banner?.code !== 220) throw new Error('no banner')
  await client.ask('EHLO load.test')
  if (options.tls === 'starttls') {
    await client.ask('STARTTLS')
    await client.startTls()
    await client.ask('EHLO load.test')
  }
  if (options.auth) {
    const { username, password } = options.auth
    const reply = await client.ask(`AUTH PLAIN ${Buffer.from(`\0${username}\0${password}`).toString('base64')}`)
    if (reply.code !== 235) throw new Error(`not let in: ${reply.lines[0]}`)
  }
}

function bodyOf(bytes: number): string {
  const line = `${'The quick brown fox jumps over the lazy dog and runs on. '.repeat(2).slice(0, 76)}\r\n`
  return line.repeat(Math.max(1, Math.ceil(bytes / line.length)))
}
