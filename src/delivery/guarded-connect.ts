import { lookup } from 'node:dns/promises'
import { isIP, connect as netConnect, type Socket } from 'node:net'
import type { Clock } from '#base'
import { checkAddress } from './checked-address.ts'

export type Target = {
  /** An IP address, or the name of a host that the administrator wrote (a relay). */
  readonly address: string
  readonly port: number
  /** Local address to start from; empty: the system chooses. */
  readonly source: string
  /** CIDRs or single addresses that are allowed although special (`delivery.allow_networks`). */
  readonly allow: readonly string[]
}

export type Dialing = { readonly timeoutMs: number; readonly clock: Clock; readonly signal?: AbortSignal }

const UNREACHABLE = new Set([
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'EADDRNOTAVAIL',
  'EACCES',
  'EPERM',
  'EINVAL',
])

/**
 * The one way out of this process to a host that is not ours (MX, relay, policy server): look up, check the address, connect
 * to the address that was checked. Nothing else in src opens a connection outward (test/architecture.test.ts).
 * @returns the socket, connected, or a named reason: `special-address-<why>`, `name-not-found`, `connection-refused`, `connect-timeout`,
 * `connection-reset`, `host-unreachable`, `connection-error`, `aborted`
 */
export async function guardedConnect(target: Target, dialing: Dialing): Promise<Socket | string> {
  if (dialing.signal?.aborted) return 'aborted'
  const address = await checked(target)
  if (isIP(address) === 0) return address
  return dial(target, address, dialing)
}

/** The first address that may be connected to, or why there is none. */
async function checked({ address, allow }: Target): Promise<string> {
  const found = isIP(address) === 0 ? await addressesOf(address) : [address]
  let why = 'name-not-found'
  for (const one of found) {
    const result = checkAddress(one, allow)
    if (result.ok) return one
    why = `special-address-${result.error.reason}`
  }
  return why
}

/** As the system knows the name, its hosts file included. */
async function addressesOf(name: string): Promise<readonly string[]> {
  try {
    return (await lookup(name, { all: true })).map(({ address }) => address)
  } catch {
    return []
  }
}

function dial({ port, source }: Target, host: string, { timeoutMs, clock, signal }: Dialing): Promise<Socket | string> {
  if (signal?.aborted) return Promise.resolve('aborted')
  return new Promise((resolve) => {
    const local = source === '' ? {} : { localAddress: source }
    const socket = netConnect({ host, port, noDelay: true, keepAlive: false, ...local })
    const cancel = clock.after(timeoutMs, () => finish('connect-timeout'))
    const onAbort = (): void => finish('aborted')
    signal?.addEventListener('abort', onAbort, { once: true })
    function finish(outcome: Socket | string): void {
      cancel()
      signal?.removeEventListener('abort', onAbort)
      if (typeof outcome === 'string') socket.destroy()
      resolve(outcome)
    }
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') finish('connection-refused')
      else if (error.code === 'ETIMEDOUT') finish('connect-timeout')
      else if (error.code === 'ECONNRESET') finish('connection-reset')
      else finish(UNREACHABLE.has(error.code ?? '') ? 'host-unreachable' : 'connection-error')
    })
    socket.once('connect', () => finish(socket))
  })
}
