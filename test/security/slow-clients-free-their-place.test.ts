// CWE-400 "slowloris": whoever connects and does not go on, sends a byte at a time, or does not read what it is answered,
// loses its place after a deadline on every listener, and costs nobody else anything.
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { silentLog, systemClock } from '#base'
import { type ControlParts, ControlServer, Metrics, type MetricsParts } from '#control'
import { tempDir } from '#world'
import { PORTS, type Port, Wall } from './wall.ts'

const IDLE_S = 1
/** Deadline, the look of once a second, a half-closed end of five seconds, and a loaded machine. */
const SMTP_BOUND_MS = 15_000
const LIMITS = { headersMs: 1000, requestMs: 2000, idleMs: 1500, keepAliveMs: 1000, maxConnections: 20 }

await using wall = await Wall.open({
  submission: `idle_timeout = ${IDLE_S}`,
  inbound: `idle_timeout = ${IDLE_S}`,
})

/** Milliseconds until the other side ended the connection; `act` is called five times a second until then. */
async function untilClosed(socket: Socket, boundMs: number, act: () => void = () => {}, read = true): Promise<number> {
  const began = performance.now()
  let open = true
  socket.on('error', () => {})
  socket.on('close', () => {
    open = false
  })
  socket.on('end', () => socket.destroy())
  if (read) socket.resume()
  else socket.pause()
  while (open && performance.now() - began < boundMs) {
    act()
    await pause(200)
  }
  socket.destroy()
  return performance.now() - began
}

const tcp = (port: number): Socket => connect(port, '127.0.0.1')
const at = (port: Port): number => wall.portOf(port)

await t.test('SMTP, on each port', async (t) => {
  const cases: Record<string, () => Promise<number>> = {}
  for (const port of PORTS) {
    cases[`${port}: says nothing`] = () => untilClosed(tcp(at(port)), SMTP_BOUND_MS)
    cases[`${port}: a byte at a time`] = () => {
      const socket = tcp(at(port))
      // On 465 these are the first bytes of a TLS record.
      const bytes =
        port === '465' ? Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1]) : Buffer.from('EHLO a.test but no line end')
      let sent = 0
      return untilClosed(socket, SMTP_BOUND_MS, () => socket.write(bytes.subarray(sent, ++sent)))
    }
  }
  for (const port of ['25', '587'] as const)
    cases[`${port}: no handshake after STARTTLS`] = () => {
      const socket = tcp(at(port))
      socket.write('EHLO a.test\r\nSTARTTLS\r\n')
      return untilClosed(socket, SMTP_BOUND_MS, () => socket.write('\x16'))
    }
  cases['465: nothing after the handshake'] = () =>
    untilClosed(connectTls({ port: at('465'), host: '127.0.0.1', rejectUnauthorized: false }), SMTP_BOUND_MS)
  const local = join(wall.rig.directory, 'data/submit.sock')
  cases['local programs: say nothing'] = () => untilClosed(connect(local), SMTP_BOUND_MS)
  cases['local programs: a byte at a time'] = () => {
    const socket = connect(local)
    return untilClosed(socket, SMTP_BOUND_MS, () => socket.write('x'))
  }
  const took = await Promise.all(Object.entries(cases).map(async ([name, run]) => [name, await run()] as const))
  for (const [name, ms] of took) t.ok(ms < SMTP_BOUND_MS, `${name}: ended after ${ms.toFixed(0)} ms`)
  t.ok(
    await wall.rig.until(async () => (await wall.rig.api.get<{ sessions: number }>('/status')).sessions === 0),
    'all places are free again',
  )
})

await t.test('a client that talks and never reads is not answered into memory', async (t) => {
  const before = wall.rig.rssMiB()
  const socket = tcp(at('587'))
  socket.write('EHLO a.test\r\n')
  const noops = 'NOOP\r\n'.repeat(10_000)
  const sessions = async (): Promise<number> => (await wall.rig.api.get<{ sessions: number }>('/status')).sessions
  socket.on('error', () => {})
  socket.pause()
  const began = performance.now()
  let written = 0
  do {
    // What the kernel takes of both sides is some megabytes; then nothing more goes out.
    for (let i = 0; i < 20 && socket.writableLength < 1_000_000; i++) socket.write(noops)
    await pause(100)
    written = socket.bytesWritten - socket.writableLength
  } while ((await sessions()) > 0 && performance.now() - began < 40_000)
  t.equal(await sessions(), 0, `ended after ${(performance.now() - began).toFixed(0)} ms, ${written} bytes of commands`)
  socket.destroy()
  const grew = wall.rig.rssMiB() - before
  t.ok(grew < 60, `${grew.toFixed(0)} MiB more`)
})

await t.test('HTTP: the API, the local socket and the metrics', async (t) => {
  await using directory = await tempDir()
  // Only what a listener itself needs: no route is entered here.
  const own: Record<string, unknown> = {
    clock: systemClock,
    log: silentLog,
    limits: LIMITS,
    more: () => {},
    sink: null,
  }
  const parts = new Proxy(own, { get: (target, name) => (name in target ? target[String(name)] : {}) }) as ControlParts
  await using api = await ControlServer.open(parts, true)
  const port = await api.listenTcp('127.0.0.1', 0)
  await using local = await ControlServer.open(parts, true)
  const path = `${directory.path}/s.sock`
  await local.listenUnix(path)
  const metrics = new Metrics({
    ...{ hub: { listen: () => {} }, log: silentLog, limits: LIMITS, queueCounts: async () => ({}) },
    ...{ backlog: () => 0, sessions: () => 0, connections: () => 0, refusedReturnPaths: () => 0 },
    ...{
      storeStats: () => ({ writes: 0, queued: 0 }),
      readiness: async () => ({ ready: true, mode: 'live', problems: [] }),
    },
  } as unknown as MetricsParts)
  const metricsPort = await metrics.listen('127.0.0.1', 0)
  const listeners: readonly [string, () => Socket][] = [
    ['API', () => tcp(port)],
    ['local socket', () => connect(path)],
    ['metrics', () => tcp(metricsPort)],
  ]
  const boundMs = 40_000
  const runs = listeners.flatMap(([name, open]) => {
    const silent = untilClosed(open(), boundMs)
    const head = open()
    const bytes = 'GET /metrics HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy'
    let sent = 0
    const slowHead = untilClosed(head, boundMs, () => head.write(bytes[sent++] ?? 'y'))
    const body = open()
    body.write(
      'POST /api/email-system/domains HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{',
    )
    const slowBody = untilClosed(body, boundMs, () => body.write(' '))
    const deaf = open()
    // More answers than the kernel's buffers of both sides take.
    const asks = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(50_000)
    deaf.write(asks)
    // Who does not read sees the end only by writing.
    const neverReads = untilClosed(deaf, boundMs, () => deaf.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), false)
    return Object.entries({ silent, slowHead, slowBody, neverReads }).map(
      async ([what, ms]) => [`${name}: ${what}`, await ms] as const,
    )
  })
  for (const [what, ms] of await Promise.all(runs)) t.ok(ms < boundMs, `${what}: ended after ${ms.toFixed(0)} ms`)
  const crowd = Array.from({ length: 60 }, () =>
    tcp(port)
      .on('error', () => {})
      .resume(),
  )
  await pause(700)
  const inside = crowd.filter((socket) => socket.readyState === 'open').length
  t.ok(inside <= LIMITS.maxConnections, `${inside} of 60 stay connected`)
  for (const socket of crowd) socket.destroy()
  await metrics[Symbol.asyncDispose]()
})

await t.test('the daemon still takes mail at once', async (t) => {
  const client = await wall.session('587')
  t.equal((await client.ask('NOOP')).code, 250)
  client.close()
})
