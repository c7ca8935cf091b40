import { readdirSync } from 'node:fs'
import t from 'tap'
import { load, RawClient } from '#world'
import { DaemonRig, DOMAIN } from '../daemon/daemon-rig.ts'

void t.test('I-13: with no descriptors left clients wait or get 421, nothing crashes, nothing is lost', async (t) => {
  t.setTimeout(120_000)
  // What it holds at rest, and a dozen for clients, hosts and files together.
  const atRest = await (async () => {
    await using rig = await DaemonRig.open()
    return readdirSync(`/proc/${rig.process?.pid}/fd`).length
  })()
  const limit = atRest + 14
  await using rig = await DaemonRig.open({ prefix: ['prlimit', `--nofile=${limit}`], delivery: 'retry_after = [1]' })
  const standing = await RawClient.open(rig.ports.trusted)
  await standing.reply()
  const { pid } = rig.process!

  const stop = new AbortController()
  const loading = load({
    ...{
      port: rig.ports.trusted,
      sessions: 3,
      signal: stop.signal,
      from: `app@${DOMAIN}`,
      pauseMs: 5,
      perConnection: 20,
    },
    to: (n) => `u${n}@good.test`,
    // Contents in segment files, which are opened too.
    bodyBytes: 20_000,
  })
  await rig.until(() => rig.taken().size > 20)
  const crowd = await Promise.all(Array.from({ length: 100 }, () => RawClient.open(rig.ports.trusted)))
  const answers = await Promise.all(crowd.map((client) => client.reply(3000).catch(() => null)))
  const greeted = answers.filter((answer) => answer?.code === 220).length
  const sent = answers.filter((answer) => answer?.code === 421).length
  t.comment(`limit ${limit}; of 100 clients ${greeted} were greeted, ${sent} got 421, the others wait or were closed`)
  t.ok(greeted < 100, 'not everybody can be served')
  t.match(await standing.ask('NOOP'), { code: 250 }, 'a session that stood goes on')
  for (const client of crowd) client.close()
  stop.abort()
  const { acked } = await loading
  t.ok(acked.size > 20, `${acked.size} acknowledged`)
  t.match(
    await load({
      port: rig.ports.trusted,
      sessions: 1,
      messages: 20,
      from: `app@${DOMAIN}`,
      to: (n) => `z${n}@good.test`,
    }),
    {
      refused: [],
    },
  )
  t.ok(await rig.until(() => [...acked].every((id) => rig.taken().has(id)), 60_000), 'all of it is taken')
  t.equal(rig.process?.pid, pid)
  t.equal(rig.process?.exitCode, null, 'the same process lives')
  standing.close()
})
