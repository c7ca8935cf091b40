import type { Answer, Packet } from 'dns-packet'
import type { Clock } from '#base'
import type { AskServer, DnsRecord, DnsReply, NameServer } from '#domains'
import { exchange } from './dns-exchange.ts'
import { SystemServers, serverOf } from './system-servers.ts'

const TIMEOUT_MS = 3000
/** Of one answer no more is looked at: what a zone publishes does not decide how much work it makes. */
const MAX_RECORDS = 200
/** More than any record of mail has, and little enough for patterns that look twice. */
const MAX_TXT_BYTES = 4096

/** Asks one name server one question, for those who look at zones as they stand: nothing is cached. */
export function askServer(clock: Clock, timeoutMs = TIMEOUT_MS): AskServer {
  return async (server, { name, type, recursive, checkingDisabled = false }) => {
    try {
      const packet = await exchange(server, name, type, clock, timeoutMs, { recursive, checkingDisabled })
      return packet === null ? null : replyOf(packet)
    } catch {
      // A name that somebody published and that cannot be put into a question.
      return null
    }
  }
}

/** The configured name servers, or those of the system. */
export function nameServers(configured: readonly string[], clock: Clock): readonly NameServer[] {
  return configured.length > 0 ? configured.map(serverOf) : new SystemServers(clock).list()
}

function replyOf(packet: Packet): DnsReply {
  const { rcode = '', flag_aa: authoritative = false } = packet as { rcode?: string; flag_aa?: boolean }
  const records = (section: readonly Answer[] | undefined): readonly DnsRecord[] =>
    (section ?? []).slice(0, MAX_RECORDS).flatMap((answer) => recordOf(answer) ?? [])
  return {
    rcode,
    authoritative,
    answers: records(packet.answers),
    authorities: records(packet.authorities),
    additionals: records(packet.additionals),
  }
}

function recordOf(answer: Answer): DnsRecord | null {
  const name = plain(answer.name)
  const ttlS = 'ttl' in answer ? (answer.ttl ?? 0) : 0
  switch (answer.type) {
    case 'A':
    case 'AAAA':
      return { name, ttlS, type: answer.type, value: answer.data }
    case 'CNAME':
    case 'NS':
    case 'PTR':
      return { name, ttlS, type: answer.type, value: plain(answer.data) }
    case 'MX':
      return {
        name,
        ttlS,
        type: 'MX',
        preference: answer.data.preference ?? 0,
        exchange: plain(answer.data.exchange ?? ''),
      }
    case 'TXT':
      return { name, ttlS, type: 'TXT', strings: textsOf(answer.data) }
    case 'SOA':
      return { name, ttlS, type: 'SOA' }
    default:
      return null
  }
}

function textsOf(data: unknown): readonly string[] {
  let bytes = 0
  return [data].flat().flatMap((one) => {
    const text = Buffer.isBuffer(one) ? one.toString('latin1') : String(one)
    bytes += text.length
    return bytes <= MAX_TXT_BYTES ? [text] : []
  })
}

function plain(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}
