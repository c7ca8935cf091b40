import { getServers } from 'node:dns'
import { readFileSync } from 'node:fs'
import type { Clock } from '#base'
import type { NameServer } from './dns-exchange.ts'

const FILE = '/etc/resolv.conf'
/** The file is read again at most this often: it changes when the network does. */
const REREAD_MS = 30_000
/** As the resolver of the C library reads it. */
const MAX_SERVERS = 3

/** The name servers of the system, as they stand now: a machine that moves to another network is followed. */
export class SystemServers {
  readonly #clock: Clock
  readonly #file: string
  #servers: readonly NameServer[] = getServers().slice(0, MAX_SERVERS).map(serverOf)
  #readMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock, file = FILE) {
    this.#clock = clock
    this.#file = file
  }

  list(): readonly NameServer[] {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#readMs >= REREAD_MS) {
      this.#readMs = nowMs
      const found = this.#read()
      if (found.length > 0) this.#servers = found
    }
    return this.#servers
  }

  /** None when there is no such file, or nothing in it: those known are kept. */
  #read(): readonly NameServer[] {
    try {
      return readFileSync(this.#file, 'latin1')
        .split('\n')
        .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
        .slice(0, MAX_SERVERS)
        .map((address) => ({ address, port: 53 }))
    } catch {
      return []
    }
  }
}

/** `address`, `address:port`, `[v6]:port` or a bare IPv6 address. */
export function serverOf(text: string): NameServer {
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(text)
  if (bracketed) return { address: bracketed[1]!, port: Number(bracketed[2] ?? 53) }
  const colon = text.indexOf(':')
  // One colon is a port, several are an IPv6 address.
  if (colon >= 0 && colon === text.lastIndexOf(':'))
    return { address: text.slice(0, colon), port: Number(text.slice(colon + 1)) }
  return { address: text, port: 53 }
}
