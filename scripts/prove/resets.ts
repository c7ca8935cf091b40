// Ten thousand connections that are reset at a random byte: clients at every listener, in clear and over TLS, and mail hosts in the
// middle of their words. The process lives, mail goes on, nothing acknowledged is lost.
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { AS_USUAL, load, type Script, scriptedMx } from '#world'
import { DaemonRig, DOMAIN } from '../../test/daemon/daemon-rig.ts'
import { optionsOf } from './crash/options.ts'

const options = optionsOf(
  'resets.ts',
  'connections reset at a random byte, on every side; nothing ends and nothing is lost',
  {
    plain: [8000, 'resets by clients in clear text'],
    tls: [1000, 'resets by clients over TLS, the handshake included'],
    hosts: [1000, 'resets by mail hosts'],
    together: [40, 'at one time'],
  },
)
const DIALOGUE = Buffer.from(
  `EHLO x.test\r\nMAIL FROM:<app@${DOMAIN}>\r\nRCPT TO:<u@good.test>\r\nDATA\r\nFrom: app@${DOMAIN}\r\nSubject: x\r\n\r\n${'text\r\n'.repeat(50)}.\r\nQUIT\r\n`,
)
const STAGES = ['connect', 'ehlo', 'starttls', 'mail', 'rcpt', 'data', 'dot', 'quit'] as const

await using rig = await DaemonRig.open({
  delivery: 'retry_after = [1, 2]\nlifetime = 3600',
  submission: 'max_connections = 4000\nmax_connections_per_address = 4000',
})
const reset = (socket: Socket): void => {
  socket.on('error', () => {})
  socket.resetAndDestroy()
}

/** Says so many bytes of the dialogue, waits a little, and is gone. */
async function plain(port: number): Promise<void> {
  const bytes = Math.floor(options.random() * DIALOGUE.length)
  const waitMs = options.random() * 15
  await new Promise<void>((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('close', () => resolve())
    socket.on('error', () => {})
    socket.once('connect', () => {
      socket.write(DIALOGUE.subarray(0, bytes))
      setTimeout(() => reset(socket), waitMs)
    })
  })
}

async function tls(port: number): Promise<void> {
  const waitMs = options.random() * 40
  await new Promise<void>((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('close', () => resolve())
    socket.on('error', () => {})
    setTimeout(() => reset(socket), waitMs)
    socket.once('data', () => {
      socket.write('EHLO x.test\r\n')
      socket.once('data', () => {
        socket.write('STARTTLS\r\n')
        socket.once('data', () => {
          const secure = connectTls({ socket, rejectUnauthorized: false }, () => secure.write('EHLO x.test\r\n'))
          secure.on('error', () => {})
        })
      })
    })
  })
}

async function many(count: number, one: (n: number) => Promise<void>): Promise<void> {
  let begun = 0
  const lane = async (): Promise<void> => {
    while (begun < count) await one(begun++)
  }
  await Promise.all(Array.from({ length: options.together }, lane))
}

const { pid } = rig.process!
const stop = new AbortController()
const loading = load({
  ...{ port: rig.ports.trusted, sessions: 2, signal: stop.signal, from: `app@${DOMAIN}`, pauseMs: 20 },
  to: (n) => `u${n}@good.test`,
})
// A host resets the first connection of each domain at a stage drawn for it, and is good at the next.
const met = new Set<string>()
await using hosts = await scriptedMx({
  ...{ host: '127.0.0.4', port: rig.mx.port },
  behaviour: Object.fromEntries(
    STAGES.map((stage) => [
      stage,
      (session: { connection: number; reset(): void }) => {
        const drawn = STAGES[session.connection % STAGES.length]
        if (drawn !== stage || met.size >= options.hosts) return AS_USUAL
        met.add(`${session.connection}`)
        session.reset()
        return undefined
      },
    ]),
  ) as Script,
})
for (let n = 0; n < options.hosts; n++) {
  rig.dns.set(`r${n}.test`, { MX: [[10, `mxr${n}.test`]] })
  rig.dns.set(`mxr${n}.test`, { A: ['127.0.0.4'] })
}
const toHosts = await load({
  ...{ port: rig.ports.trusted, sessions: 4, messages: options.hosts, from: `app@${DOMAIN}` },
  to: (n) => `u@r${n}.test`,
})
await many(options.plain, (n) =>
  plain([rig.ports.trusted, rig.ports.inbound, rig.ports.http, rig.ports.starttls][n % 4]!),
)
await many(options.tls, (n) => tls([rig.ports.starttls, rig.ports.inbound][n % 2]!))
await rig.until(() => met.size >= options.hosts, 120_000)
await pause(500)
stop.abort()
const { acked } = await loading
const delivered = await rig.until(() => [...acked].every((id) => rig.taken().has(id)), 60_000)
const waiting = await rig.api.get<{ queue: Record<string, number> }>('/status')
const result = {
  seed: options.seed,
  plain: options.plain,
  tls: options.tls,
  byHosts: met.size,
  acked: acked.size + toHosts.acked.size,
  delivered,
  takenByResettingHosts: hosts.taken.length,
  queue: waiting.queue,
  samePid: rig.process?.pid === pid && rig.process?.exitCode === null,
}
console.log(JSON.stringify({ ...result, holds: result.samePid && delivered }))
process.exitCode = result.samePid && delivered ? 0 : 1
