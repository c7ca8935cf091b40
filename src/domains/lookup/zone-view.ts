import type { AskedType, AskServer, DnsReply, Look, NameServer, Said, Zone } from './contract.ts'
import { saidBy, valuesOf } from './read-reply.ts'

/** Bounds of one look at one domain, so that no zone can make it long. */
const MAX_SERVERS = 6
const MAX_QUESTIONS = 600
const TRIES = 2
/** A server that has let so many questions go by is not asked again. */
const MAX_UNANSWERED = 4

export type ZoneViewOptions = {
  readonly ask: AskServer
  readonly resolvers: readonly NameServer[]
  /** 53 everywhere except in tests. */
  readonly authorityPort: number
}

const NO_ZONE = { servers: [], unknownServers: [], bogus: false, broken: false, resolverSilent: false } as const

/** The live zones as they stand at one time: each question is asked once. Never throws; what is not known is `failed`. */
export class ZoneView {
  readonly #options: ZoneViewOptions
  readonly #zones = new Map<string, Promise<Zone>>()
  readonly #asked = new Map<string, Promise<DnsReply | null>>()
  /** Server → questions without an answer; those that ever answered are not in it. */
  readonly #unanswered = new Map<string, number>()
  readonly #answering = new Set<string>()
  #questions = 0

  constructor(options: ZoneViewOptions) {
    this.#options = options
  }

  /** By the authoritative servers and by the resolver. A CNAME that leads to another zone is followed by the resolver. */
  async look(name: string, type: AskedType): Promise<Look> {
    const zone = await this.zoneOf(name)
    const [resolver, ...said] = await Promise.all([
      this.resolve(name, type),
      ...zone.servers.map(async ({ name: server, address }) => ({
        server,
        said: await this.#fromServer(address, name, type),
      })),
    ])
    return { zone, authoritative: said, resolver }
  }

  /** By the first authoritative server that answers, else by the resolver. */
  async peek(name: string, type: AskedType): Promise<Said> {
    const zone = await this.zoneOf(name)
    for (const { address } of zone.servers) {
      const said = await this.#fromServer(address, name, type)
      if (said.kind !== 'failed') return said
    }
    return this.resolve(name, type)
  }

  async resolve(name: string, type: AskedType): Promise<Said> {
    return saidBy(await this.#resolver(name, type), name, type)
  }

  zoneOf(name: string): Promise<Zone> {
    let zone = this.#zones.get(name)
    if (zone === undefined) {
      zone = this.#findZone(name)
      this.#zones.set(name, zone)
    }
    return zone
  }

  async #findZone(name: string): Promise<Zone> {
    if (name === '') return { apex: '', ...NO_ZONE }
    let bogus = false
    let reply = await this.#resolver(name, 'SOA')
    if (reply?.rcode === 'SERVFAIL') {
      const unchecked = await this.#resolver(name, 'SOA', true)
      if (unchecked !== null && answered(unchecked)) {
        bogus = true
        reply = unchecked
      }
    }
    const parent = parentOf(name)
    if (reply === null && parent === '') return { apex: '', ...NO_ZONE, resolverSilent: true }
    if (reply === null || !answered(reply))
      return parent === '' ? { apex: '', ...NO_ZONE, broken: true } : this.#byParent(name, parent)
    const apex = [...reply.answers, ...reply.authorities].find(
      (record) => record.type === 'SOA' && isAtOrAbove(record.name, name),
    )?.name
    if (apex === undefined) return parent === '' ? { apex: '', ...NO_ZONE } : this.zoneOf(parent)
    if (apex !== name) {
      const zone = await this.zoneOf(apex)
      return zone.apex === apex ? { ...zone, bogus: zone.bogus || bogus } : { ...zone, apex }
    }
    const names = await this.#resolver(apex, 'NS', bogus)
    return { apex, ...NO_ZONE, bogus, ...(await this.#addressesOf(valuesOf(saidBy(names, apex, 'NS')), [], bogus)) }
  }

  /** The resolver gives no answer: the parent's servers say whom the zone was given to. */
  async #byParent(name: string, parent: string): Promise<Zone> {
    const above = await this.zoneOf(parent)
    // The parent is in the same trouble, so the zone begins there or higher.
    if (above.broken || above.resolverSilent || above.servers.length === 0) return above
    for (const { address } of above.servers) {
      const reply = await this.#ask({ address, port: this.#options.authorityPort }, name, 'NS', false)
      if (reply === null || !answered(reply)) continue
      const delegation = [...reply.answers, ...reply.authorities].filter((record) => record.type === 'NS')
      const apex = delegation[0]?.name
      if (apex === undefined) return { ...above, broken: true }
      const glue = reply.additionals.flatMap((record) =>
        record.type === 'A' || record.type === 'AAAA' ? [{ name: record.name, address: record.value }] : [],
      )
      const names = delegation.flatMap((record) => (record.type === 'NS' ? [record.value] : []))
      return { apex, ...NO_ZONE, broken: true, ...(await this.#addressesOf(names, glue, false)) }
    }
    return { ...above, broken: true }
  }

  async #addressesOf(
    names: readonly string[],
    glue: readonly { readonly name: string; readonly address: string }[],
    bogus: boolean,
  ): Promise<Pick<Zone, 'servers' | 'unknownServers'>> {
    const found = await Promise.all(
      [...names].sort().map(async (name) => {
        const given = glue.filter((one) => one.name === name).map(({ address }) => address)
        if (given.length > 0) return { name, addresses: given, unknown: false }
        const four = saidBy(await this.#resolver(name, 'A', bogus), name, 'A')
        if (four.kind === 'records') return { name, addresses: four.values, unknown: false }
        const six = saidBy(await this.#resolver(name, 'AAAA', bogus), name, 'AAAA')
        return { name, addresses: valuesOf(six), unknown: six.kind === 'nodata' || six.kind === 'nxdomain' }
      }),
    )
    return {
      servers: found
        .flatMap(({ name, addresses }) => addresses.slice(0, 1).map((address) => ({ name, address })))
        .slice(0, MAX_SERVERS),
      unknownServers: found.filter(({ unknown }) => unknown).map(({ name }) => name),
    }
  }

  async #fromServer(address: string, name: string, type: AskedType): Promise<Said> {
    const reply = await this.#ask({ address, port: this.#options.authorityPort }, name, type, false)
    // RFC 1035 §4.1.1: a server that has the zone says so by AA; one that only refers or repeats is lame.
    if (reply !== null && answered(reply) && !reply.authoritative) return { kind: 'failed', reason: 'lame' }
    const said = saidBy(reply, name, type)
    if (said.kind === 'failed' || said.kind === 'records' || said.cname === null) return said
    const beyond = await this.resolve(said.cname, type)
    return beyond.kind === 'failed' ? said : { ...beyond, cname: said.cname }
  }

  async #resolver(name: string, type: AskedType, checkingDisabled = false): Promise<DnsReply | null> {
    let last: DnsReply | null = null
    for (const server of this.#options.resolvers) {
      const reply = await this.#ask(server, name, type, true, checkingDisabled)
      if (reply !== null && answered(reply)) return reply
      last = reply ?? last
    }
    return last
  }

  #ask(
    server: NameServer,
    name: string,
    type: AskedType,
    recursive: boolean,
    checkingDisabled = false,
  ): Promise<DnsReply | null> {
    const key = `${server.address}:${server.port} ${type} ${name} ${checkingDisabled}`
    let reply = this.#asked.get(key)
    if (reply === undefined) {
      reply = this.#try(server, { name, type, recursive, checkingDisabled })
      this.#asked.set(key, reply)
    }
    return reply
  }

  async #try(server: NameServer, question: Parameters<AskServer>[1]): Promise<DnsReply | null> {
    const key = `${server.address}:${server.port}`
    for (let tries = 0; tries < TRIES; tries++) {
      if ((this.#unanswered.get(key) ?? 0) >= MAX_UNANSWERED && !this.#answering.has(key)) return null
      this.#questions += 1
      if (this.#questions > MAX_QUESTIONS || !askable(question.name)) return null
      const reply = await this.#options.ask(server, question)
      if (reply !== null) {
        this.#answering.add(key)
        return reply
      }
      this.#unanswered.set(key, (this.#unanswered.get(key) ?? 0) + 1)
    }
    return null
  }
}

function answered(reply: DnsReply): boolean {
  return reply.rcode === 'NOERROR' || reply.rcode === 'NXDOMAIN'
}

function parentOf(name: string): string {
  const dot = name.indexOf('.')
  return dot < 0 ? '' : name.slice(dot + 1)
}

export function isAtOrAbove(upper: string, name: string): boolean {
  return upper === '' || upper === name || name.endsWith(`.${upper}`)
}

/** RFC 1035 §2.3.4. */
function askable(name: string): boolean {
  return name.length <= 253 && name.split('.').every((label) => label !== '' && label.length <= 63)
}
