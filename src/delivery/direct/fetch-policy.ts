import { request } from 'node:https'
import type { Socket } from 'node:net'
import { connect } from 'node:tls'
import { type Clock, messageOf } from '#base'
import { guardedConnect } from '../guarded-connect.ts'
import type { Resolver } from './resolver.ts'

/** How a policy file could not be had, in the words of TLS reporting (RFC 8460 §4.3.2.2). */
export type FetchFault = 'sts-policy-fetch-error' | 'sts-webpki-invalid'
export type Fetched =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly fault: FetchFault; readonly detail: string }

export type FetchParts = {
  readonly resolver: Resolver
  readonly clock: Clock
  readonly families: 'both' | 'ipv4' | 'ipv6'
  readonly allowNetworks: readonly string[]
  readonly ca: readonly string[] | undefined
  readonly port: number
}

/** RFC 8461 §3.3 suggests a minute and 64 KiB; a delivery waits for it, so less time. */
const TIMEOUT_MS = 15_000
const CONNECT_MS = 5000
const MAX_BYTES = 65_536
const MAX_ADDRESSES = 4

class Refused extends Error {
  readonly fault: FetchFault
  constructor(fault: FetchFault, detail: string) {
    super(detail)
    this.fault = fault
  }
}

/**
 * The policy file of a domain: HTTPS with a certificate valid for `mta-sts.<domain>`, no redirect followed, text/plain, at most
 * 64 KiB (RFC 8461 §3.3). Never rejects.
 */
export async function fetchPolicy(domain: string, parts: FetchParts): Promise<Fetched> {
  const host = `mta-sts.${domain}`
  const abort = new AbortController()
  const cancel = parts.clock.after(TIMEOUT_MS, () => abort.abort())
  try {
    const socket = await connected(host, parts, abort.signal)
    try {
      return { ok: true, text: await asked(socket, host, parts.ca, abort.signal) }
    } finally {
      socket.destroy()
    }
  } catch (error) {
    if (error instanceof Refused) return { ok: false, fault: error.fault, detail: error.message }
    const detail = abort.signal.aborted ? `no answer within ${TIMEOUT_MS} ms` : messageOf(error)
    return { ok: false, fault: 'sts-policy-fetch-error', detail: detail.slice(0, 200) }
  } finally {
    cancel()
  }
}

async function connected(host: string, parts: FetchParts, signal: AbortSignal): Promise<Socket> {
  const { resolver, clock, families, allowNetworks: allow, port } = parts
  const wanted: readonly (4 | 6)[] = families === 'ipv4' ? [4] : families === 'ipv6' ? [6] : [4, 6]
  const answers = await Promise.all(wanted.map((family) => resolver.addresses(host, family)))
  const addresses = answers.flatMap((answer) => (answer.kind === 'records' ? answer.records : []))
  let why = 'it has no address'
  for (const address of addresses.slice(0, MAX_ADDRESSES)) {
    const dialed = await guardedConnect({ address, port, source: '', allow }, { timeoutMs: CONNECT_MS, clock, signal })
    if (typeof dialed !== 'string') return dialed
    why = `${address}: ${dialed}`
  }
  throw new Refused('sts-policy-fetch-error', `${host} cannot be reached: ${why}`)
}

function asked(socket: Socket, host: string, ca: readonly string[] | undefined, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const secure = connect({
      socket,
      host,
      servername: host,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca: [...ca] }),
    })
    secure.once('error', (error) => {
      const untrusted = secure.authorizationError !== null && secure.authorizationError !== undefined
      reject(untrusted ? new Refused('sts-webpki-invalid', `the certificate of ${host}: ${messageOf(error)}`) : error)
    })
    const asking = request(
      {
        // No agent: it would look the name up and connect by itself.
        createConnection: () => secure,
        host,
        path: '/.well-known/mta-sts.txt',
        headers: { accept: 'text/plain', 'user-agent': 'Relevo' },
        signal,
        maxHeaderSize: 16_384,
      },
      (response) => {
        const type = (response.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase()
        // RFC 8461 §3.3: redirects are not followed, and a file of another type may have been put there by anybody.
        if (response.statusCode !== 200)
          return reject(new Refused('sts-policy-fetch-error', `${host} answers ${response.statusCode}`))
        if (type !== 'text/plain')
          return reject(new Refused('sts-policy-fetch-error', `the policy is of type ${type.slice(0, 40) || 'none'}`))
        const chunks: Buffer[] = []
        let bytes = 0
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > MAX_BYTES) return reject(new Refused('sts-policy-fetch-error', 'the policy is over 64 KiB'))
          chunks.push(chunk)
          return undefined
        })
        response.once('error', reject)
        response.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
        return undefined
      },
    )
    asking.once('error', reject)
    asking.end()
  })
}
