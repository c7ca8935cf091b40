import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { load, RawClient } from '#world'
import { DaemonRig, DOMAIN } from '../daemon/daemon-rig.ts'
import { smallDisk } from '../queue/small-disk.ts'

const KIB = 1024

async function answerToMail(rig: DaemonRig): Promise<string> {
  const client = await RawClient.open(rig.ports.trusted)
  await client.reply()
  await client.ask('EHLO app.test')
  const { lines } = await client.ask(`MAIL FROM:<app@${DOMAIN}>`)
  client.close()
  return lines[0]!
}

const hand = (rig: DaemonRig, messages: number, name: string) =>
  load({
    ...{ port: rig.ports.trusted, sessions: 4, messages, from: `app@${DOMAIN}` },
    to: (n) => `${name}${n}@good.test`,
  })

void t.test('I-10: a full disk is answered 452 4.3.1, deliveries go on, and it comes back by itself', async (t) => {
  t.setTimeout(120_000)
  const disk = await smallDisk(t, 48)
  if (disk === null) return
  await using rig = await DaemonRig.open({ dataDirectory: join(disk.path, 'data'), delivery: 'retry_after = [1]' })
  // Mail that waits while the disk fills: its host does not answer yet.
  rig.dns.set('later.test', { fault: 'servfail' })
  const waiting = await load({
    ...{ port: rig.ports.trusted, sessions: 4, messages: 60, from: `app@${DOMAIN}` },
    to: (n) => `w${n}@later.test`,
  })
  t.equal(waiting.acked.size, 60)

  disk.fill(900 * KIB)
  t.ok(await rig.until(async () => (await answerToMail(rig)).startsWith('452 4.3.1')), 'MAIL is answered 452 4.3.1')
  const late = await hand(rig, 20, 'late')
  t.equal(late.acked.size, 0)
  t.ok(
    late.refused.every((answer) => /\b452 4\.3\.1 /.test(answer)),
    String(late.refused[0]),
  )
  const before = rig.taken().size
  rig.dns.set('later.test', { MX: [[10, 'mx.test']], ttl: 1 })
  t.ok(
    await rig.until(() => rig.taken().size - before === 60, 40_000),
    `${rig.taken().size - before} delivered meanwhile`,
  )

  // Not a byte more: what peers take waits to be recorded.
  disk.fill()
  await pause(1500)
  t.equal(rig.process?.exitCode, null, 'it lives')
  disk.empty()
  t.ok(await rig.until(async () => (await answerToMail(rig)).startsWith('250 ')), 'it takes mail again by itself')
  const { acked } = await hand(rig, 100, 'after')
  t.equal(acked.size, 100)
  const all = [...waiting.acked, ...acked]
  t.ok(await rig.until(() => all.every((id) => rig.taken().has(id))), 'nothing that was acknowledged is lost')
  t.same(
    [...rig.taken().values()].filter((count) => count > 1),
    [],
    'and nothing was sent twice',
  )
})

void t.test('I-10, I-19: TERM on a full disk ends it in time, and what was sent is not sent again', async (t) => {
  t.setTimeout(120_000)
  const disk = await smallDisk(t, 48)
  if (disk === null) return
  await using rig = await DaemonRig.open({ dataDirectory: join(disk.path, 'data') })
  const stop = new AbortController()
  const loading = load({
    ...{ port: rig.ports.trusted, sessions: 4, signal: stop.signal, from: `app@${DOMAIN}`, pauseMs: 5 },
    to: (n) => `u${n}@good.test`,
  })
  await rig.until(() => rig.taken().size > 50)
  disk.fill()
  await pause(1500)
  stop.abort()
  const began = performance.now()
  t.equal(await rig.end('SIGTERM'), 0)
  const tookMs = performance.now() - began
  t.ok(tookMs < 10_000, `${Math.round(tookMs)} ms`)
  const { acked } = await loading
  disk.empty()
  await rig.start()
  t.ok(await rig.until(() => [...acked].every((id) => rig.taken().has(id))), 'nothing that was acknowledged is lost')
  const copies = [...rig.taken().values()].reduce((sum, count) => sum + count - 1, 0)
  t.equal(copies, 0, 'what was taken and could not be recorded was noted')
})
