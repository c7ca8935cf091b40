import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { createRequire } from 'node:module'
import { createServer, type Server, type Socket } from 'node:net'

type Question = { readonly name: string; readonly type: string }
type ResourceRecord = { readonly name: string; readonly type: string; readonly ttl: number; readonly data: unknown }
type Packet = {
  readonly id: number
  readonly type: 'query' | 'response'
  readonly flags: number
  readonly questions: readonly Question[]
  readonly answers: readonly ResourceRecord[]
  readonly authorities?: readonly ResourceRecord[]
  readonly additionals?: readonly { readonly type: string; readonly udpPayloadSize?: number }[]
}
const dns = createRequire(import.meta.url)('dns-packet') as {
  encode(packet: Packet): Buffer
  decode(bytes: Buffer): Packet
}

export type DnsFault =
  | 'servfail'
  | 'refused'
  | 'nxdomain'
  /** Never answers. */
  | 'silence'
  /** Answers over TCP only. */
  | 'truncate'
  /** Answers that are not DNS. */
  | 'garbage'
  /** Answers under another id, as a spoofer would. */
  | 'wrong-id'

/** What is at a name. A name without an entry does not exist; an entry without a type has no such data. */
export type DnsEntry = {
  readonly A?: readonly string[]
  readonly AAAA?: readonly string[]
  readonly MX?: readonly (readonly [preference: number, exchange: string])[]
  readonly TXT?: readonly string[]
  readonly CNAME?: string
  readonly PTR?: readonly string[]
  readonly TLSA?: readonly {
    readonly usage: number
    readonly selector: number
    readonly matchingType: number
    readonly certificate: Buffer
  }[]
  readonly ttl?: number
  readonly fault?: DnsFault
  /** Not signed: AD is not set on an answer that has something of it. */
  readonly insecure?: true
}

export type DnsQuery = { readonly name: string; readonly type: string; readonly transport: 'udp' | 'tcp' }

export interface DnsServer extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** `127.0.0.1:5353`, as `delivery.dns_servers` takes it. */
  readonly address: string
  /** Every question, in order. */
  readonly queries: readonly DnsQuery[]
  /** How often a name was asked for (of a type). */
  count(name: string, type?: string): number
  /** Puts, replaces or (null) removes a name. `*.example.test` is a wildcard. */
  set(name: string, entry: DnsEntry | null): void
  /** A fault of the whole server; null ends it. */
  fail(fault: DnsFault | null): void
  /** A Node resolver that asks this server only. */
  resolver(): Resolver
}

export type DnsOptions = {
  /** Sets AD on every answer, as a validating resolver does. */
  readonly authentic?: boolean
  /** TTL of negative answers, seconds. */
  readonly negativeTtl?: number
  /** Default: one that is free. */
  readonly port?: number
}

const RCODE = { servfail: 2, nxdomain: 3, refused: 5 } as const
const AUTHORITATIVE = 1 << 10
const TRUNCATED = 1 << 9
const RECURSION_AVAILABLE = 1 << 7
const AUTHENTIC = 1 << 5
const TTL = 300
const PLAIN_UDP_BYTES = 512
const MAX_CNAMES = 8

/** A name server for the test's own world, over UDP and TCP on a free port of 127.0.0.1. */
export async function openDns(zones: Readonly<Record<string, DnsEntry>>, options: DnsOptions = {}): Promise<DnsServer> {
  const entries = new Map<string, DnsEntry>()
  const queries: DnsQuery[] = []
  let fault: DnsFault | null = null
  for (const [name, entry] of Object.entries(zones)) entries.set(plain(name), entry)

  function find(name: string): DnsEntry | undefined {
    const exact = entries.get(name)
    if (exact) return exact
    const labels = name.split('.')
    for (let i = 1; i < labels.length; i++) {
      const wild = entries.get(`*.${labels.slice(i).join('.')}`)
      if (wild) return wild
    }
    return undefined
  }

  function answer(query: Packet, transport: 'udp' | 'tcp'): Buffer | null {
    const question = query.questions[0]
    if (!question) return null
    const name = plain(question.name)
    queries.push({ name, type: question.type, transport })
    const trouble = fault ?? find(name)?.fault ?? null
    if (trouble === 'silence') return null
    if (trouble === 'garbage') return Buffer.from('this is not an answer')
    const reply = (rcode: number, answers: readonly ResourceRecord[] = [], more = 0): Buffer => {
      const signed = [name, ...answers.map((one) => one.name)].every((one) => find(one)?.insecure !== true)
      const flags = AUTHORITATIVE | RECURSION_AVAILABLE | (options.authentic && signed ? AUTHENTIC : 0)
      return dns.encode({
        id: trouble === 'wrong-id' ? query.id ^ 0x5555 : query.id,
        type: 'response',
        flags: flags | rcode | more,
        questions: query.questions,
        answers,
        authorities: answers.length === 0 ? [soa(name)] : [],
      })
    }
    if (trouble === 'servfail' || trouble === 'refused' || trouble === 'nxdomain') return reply(RCODE[trouble])
    if (trouble === 'truncate' && transport === 'udp') return reply(0, [], TRUNCATED)
    const { exists, records } = lookUp(name, question.type)
    const whole = reply(exists ? 0 : RCODE.nxdomain, records)
    const room = query.additionals?.find((record) => record.type === 'OPT')?.udpPayloadSize ?? PLAIN_UDP_BYTES
    return transport === 'udp' && whole.length > room ? reply(0, [], TRUNCATED) : whole
  }

  function lookUp(start: string, type: string): { exists: boolean; records: ResourceRecord[] } {
    const records: ResourceRecord[] = []
    let name = start
    for (let hop = 0; hop < MAX_CNAMES; hop++) {
      const entry = find(name)
      if (!entry) return { exists: [...entries.keys()].some((known) => known.endsWith(`.${name}`)), records }
      const ttl = entry.ttl ?? TTL
      if (entry.CNAME !== undefined && type !== 'CNAME') {
        records.push({ name, type: 'CNAME', ttl, data: plain(entry.CNAME) })
        name = plain(entry.CNAME)
        continue
      }
      for (const data of dataOf(entry, type)) records.push({ name, type, ttl, data })
      break
    }
    return { exists: true, records }
  }

  function soa(name: string): ResourceRecord {
    const ttl = options.negativeTtl ?? 60
    const data = {
      ...{ mname: 'ns.test', rname: 'root.test', serial: 1 },
      ...{ refresh: 3600, retry: 600, expire: 86_400, minimum: ttl },
    }
    return { name: name.split('.').slice(-1)[0] || '.', type: 'SOA', ttl, data }
  }

  const { udp, tcp, sockets } = await listen(answer, options.port ?? 0)
  const { port } = udp.address()

  return {
    host: '127.0.0.1',
    port,
    address: `127.0.0.1:${port}`,
    queries,
    count: (name, type) =>
      queries.filter((query) => query.name === plain(name) && (type === undefined || query.type === type)).length,
    set(name, entry) {
      if (entry) entries.set(plain(name), entry)
      else entries.delete(plain(name))
    },
    fail(next) {
      fault = next
    },
    resolver() {
      const resolver = new Resolver({ timeout: 2000, tries: 2 })
      resolver.setServers([`127.0.0.1:${port}`])
      return resolver
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await Promise.all([
        new Promise<void>((done) => udp.close(() => done())),
        new Promise<void>((done) => tcp.close(() => done())),
      ])
    },
  }
}

function plain(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}

function dataOf(entry: DnsEntry, type: string): readonly unknown[] {
  switch (type) {
    case 'A':
      return entry.A ?? []
    case 'AAAA':
      return entry.AAAA ?? []
    case 'PTR':
      return entry.PTR ?? []
    case 'TLSA':
      return entry.TLSA ?? []
    case 'CNAME':
      return entry.CNAME === undefined ? [] : [entry.CNAME]
    case 'MX':
      return (entry.MX ?? []).map(([preference, exchange]) => ({ preference, exchange: plain(exchange) || '.' }))
    case 'TXT':
      return (entry.TXT ?? []).map((text) => text.match(/[\s\S]{1,255}/g) ?? [''])
    default:
      return []
  }
}

type Answer = (query: Packet, transport: 'udp' | 'tcp') => Buffer | null

/** UDP and TCP on the same port; another one when TCP has it already. */
async function listen(
  answer: Answer,
  port: number,
): Promise<{ udp: ReturnType<typeof createSocket>; tcp: Server; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>()
  for (let attempt = 0; ; attempt++) {
    const udp = createSocket('udp4')
    await new Promise<void>((ready) => udp.bind(port, '127.0.0.1', ready))
    const tcp = createServer((socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      serveTcp(socket, answer)
    })
    const free = await new Promise<boolean>((resolve) => {
      tcp.once('error', () => resolve(false))
      tcp.listen(udp.address().port, '127.0.0.1', () => resolve(true))
    })
    if (!free) {
      udp.close()
      if (attempt > 20) throw new Error('no port free for both UDP and TCP')
      continue
    }
    udp.on('message', (message, peer) => {
      const query = decoded(message)
      const reply = query && answer(query, 'udp')
      if (reply) udp.send(reply, peer.port, peer.address, () => {})
    })
    udp.on('error', () => {})
    return { udp, tcp, sockets }
  }
}

function serveTcp(socket: Socket, answer: Answer): void {
  let pending: Buffer = Buffer.alloc(0)
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const length = pending.readUInt16BE(0)
      const query = decoded(pending.subarray(2, 2 + length))
      pending = pending.subarray(2 + length)
      const reply = query && answer(query, 'tcp')
      if (!reply) continue
      const size = Buffer.alloc(2)
      // What does not fit is said all the same, as a hostile server would.
      size.writeUInt16BE(Math.min(reply.length, 65_535))
      socket.write(Buffer.concat([size, reply]))
    }
  })
}

function decoded(bytes: Buffer): Packet | null {
  try {
    return dns.decode(bytes)
  } catch {
    return null
  }
}
