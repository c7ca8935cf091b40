import t, { type Test } from 'tap'
import { load, scriptedMx } from '#world'
import { DaemonRig, DOMAIN } from '../daemon/daemon-rig.ts'

const CONNECTIONS = 50

/** A daemon with 50 connections to hosts that never finish: half trickle a byte each 250 ms, half took a message and stay silent. */
async function entangled(t: Test): Promise<DaemonRig> {
  const rig = await DaemonRig.open({ bad: 'stallafterdot' })
  const tarpit = await scriptedMx({ host: '127.0.0.3', port: rig.mx.port, behaviour: 'tarpit' })
  t.teardown(() => tarpit[Symbol.asyncDispose]())
  for (let n = 0; n < CONNECTIONS; n++) {
    rig.dns.set(`mx${n}.test`, { A: [n % 2 === 0 ? '127.0.0.2' : '127.0.0.3'] })
    rig.dns.set(`d${n}.test`, { MX: [[10, `mx${n}.test`]] })
  }
  const { acked } = await load({
    ...{ port: rig.ports.trusted, sessions: 4, messages: CONNECTIONS, from: `app@${DOMAIN}` },
    to: (n) => `u@d${n}.test`,
  })
  t.equal(acked.size, CONNECTIONS)
  const under = async (): Promise<boolean> => {
    const { connections } = await rig.api.get<{ connections: number }>('/status')
    return connections >= CONNECTIONS && tarpit.open === CONNECTIONS / 2
  }
  t.ok(await rig.until(under, 40_000), `${CONNECTIONS} connections are open`)
  return rig
}

void t.test(`I-19: TERM with ${CONNECTIONS} connections that never finish ends it within 10 s with 0`, async (t) => {
  t.setTimeout(120_000)
  await using rig = await entangled(t)
  const began = performance.now()
  t.equal(await rig.end('SIGTERM'), 0)
  const tookMs = performance.now() - began
  t.comment(`ended after ${Math.round(tookMs)} ms`)
  t.ok(tookMs < 10_000, `${Math.round(tookMs)} ms`)
  await rig.start()
  const { messages } = await rig.api.get<{ messages: { recipient: { domain: string; maybe_duplicate: boolean } }[] }>(
    '/queue?status=ready,leased,deferred&limit=200',
  )
  t.equal(messages.length, CONNECTIONS, 'all of it is still there')
  const flagged = messages.filter(({ recipient }) => recipient.maybe_duplicate)
  t.equal(flagged.length, CONNECTIONS / 2, 'those that were sent and not answered are flagged, and no others')
  t.ok(flagged.every(({ recipient }) => Number(recipient.domain.slice(1, -5)) % 2 === 0))
})

void t.test('I-19: a second TERM ends it at once, and loses nothing', async (t) => {
  t.setTimeout(120_000)
  await using rig = await entangled(t)
  rig.process?.kill('SIGTERM')
  t.ok(await rig.until(() => rig.output.includes('relevo stops')))
  const began = performance.now()
  t.equal(await rig.end('SIGTERM'), 'SIGTERM')
  t.ok(performance.now() - began < 2000, `${Math.round(performance.now() - began)} ms`)
  await rig.start()
  const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
  t.equal((queue.ready ?? 0) + (queue.leased ?? 0) + (queue.deferred ?? 0), CONNECTIONS)
})
