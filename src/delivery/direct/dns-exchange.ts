import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import dnsPacket, { type Packet, type RecordType } from 'dns-packet'
import type { Clock } from '#base'

export type NameServer = { readonly address: string; readonly port: number }

/** How a server is asked. Default: as a resolver, with its checks. */
export type Asking = {
  /** False: for what an authoritative server has itself. */
  readonly recursive?: boolean
  /** CD (RFC 4035 §3.2.2): the answer is wanted although DNSSEC says it is forged. */
  readonly checkingDisabled?: boolean
}

/** Fits an Ethernet frame without fragments (DNS flag day 2020). */
const UDP_BYTES = 1232
const MAX_TCP_BYTES = 65_535

/**
 * One question to one server: UDP, and TCP when the answer was cut short. Each question has its own socket, so its own
 * random source port, and its own id; a datagram that does not answer it is passed over.
 * @returns null when no answer came within `timeoutMs`, or none that could be read
 */
export async function exchange(
  server: NameServer,
  name: string,
  type: RecordType,
  clock: Clock,
  timeoutMs: number,
  { recursive = true, checkingDisabled = false }: Asking = {},
): Promise<Packet | null> {
  const id = randomInt(65_536)
  const question = dnsPacket.encode({
    type: 'query',
    id,
    // AD in a question asks for the AD bit of the answer (RFC 6840 §5.7).
    flags:
      (recursive ? dnsPacket.RECURSION_DESIRED : 0) |
      dnsPacket.AUTHENTIC_DATA |
      (checkingDisabled ? dnsPacket.CHECKING_DISABLED : 0),
    questions: [{ type, name }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: UDP_BYTES,
        flags: 0,
        extendedRcode: 0,
        ednsVersion: 0,
        flag_do: false,
        options: [],
      } as never,
    ],
  })
  const answers = (packet: Packet): boolean => {
    const asked = packet.questions?.[0]
    return packet.type === 'response' && packet.id === id && asked?.type === type && same(asked.name, name)
  }
  const short = await overUdp(server, question, answers, clock, timeoutMs)
  if (short === null || !short.flag_tc) return short
  return overTcp(server, question, answers, clock, timeoutMs)
}

type Answer = Packet & { readonly flag_tc?: boolean }

function overUdp(
  server: NameServer,
  question: Buffer,
  answers: (packet: Packet) => boolean,
  clock: Clock,
  timeoutMs: number,
): Promise<Answer | null> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(server.address) ? 'udp6' : 'udp4')
    const cancel = clock.after(timeoutMs, () => finish(null))
    let done = false
    function finish(packet: Answer | null): void {
      if (done) return
      done = true
      cancel()
      socket.close()
      resolve(packet)
    }
    socket.on('error', () => finish(null))
    socket.on('message', (datagram) => {
      const packet = decode(datagram)
      if (packet !== null && answers(packet)) finish(packet)
    })
    // Connected: the kernel passes on what comes from this server only, and tells of a closed port.
    // A connect that fails (no route, no port free) is told to the callback, whatever its type says.
    socket.connect(server.port, server.address, (error?: Error) => {
      if (error !== undefined) finish(null)
      else if (!done) socket.send(question)
    })
  })
}

function overTcp(
  server: NameServer,
  question: Buffer,
  answers: (packet: Packet) => boolean,
  clock: Clock,
  timeoutMs: number,
): Promise<Answer | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: server.address, port: server.port })
    const cancel = clock.after(timeoutMs, () => finish(null))
    const chunks: Buffer[] = []
    let got = 0
    function finish(packet: Answer | null): void {
      cancel()
      socket.destroy()
      resolve(packet)
    }
    socket.on('error', () => finish(null))
    socket.on('end', () => finish(null))
    socket.on('connect', () => {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(question.length)
      socket.write(Buffer.concat([length, question]))
    })
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      got += chunk.length
      if (got > MAX_TCP_BYTES + 2) {
        finish(null)
        return
      }
      if (got < 2) return
      const all = Buffer.concat(chunks)
      const length = all.readUInt16BE(0)
      if (all.length < length + 2) return
      const packet = decode(all.subarray(2, 2 + length))
      finish(packet !== null && answers(packet) ? packet : null)
    })
  })
}

function decode(datagram: Buffer): Answer | null {
  try {
    return dnsPacket.decode(datagram) as Answer
  } catch {
    return null
  }
}

function same(a: string, b: string): boolean {
  return a.toLowerCase().replace(/\.$/, '') === b.toLowerCase().replace(/\.$/, '')
}
