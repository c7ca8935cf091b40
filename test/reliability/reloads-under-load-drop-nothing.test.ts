import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { load, RawClient } from '#world'
import { DaemonRig, DOMAIN } from '../daemon/daemon-rig.ts'

const RELOADS = 200

void t.test(`I-18: ${RELOADS} reloads under load, half of them of a broken file, drop nothing`, async (t) => {
  t.setTimeout(150_000)
  await using rig = await DaemonRig.open()
  const standing = await RawClient.open(rig.ports.trusted)
  await standing.reply()
  await standing.ask('EHLO app.test')
  const stop = new AbortController()
  const loading = load({
    ...{ port: rig.ports.trusted, sessions: 4, signal: stop.signal, from: `app@${DOMAIN}`, pauseMs: 10 },
    to: (n) => `u${n}@good.test`,
  })
  const good = readFileSync(rig.configFile, 'utf8')
  let [used, refused] = [0, 0]
  for (let n = 0; n < RELOADS; n++) {
    const broken = n % 2 === 1
    writeFileSync(rig.configFile, broken ? `${good}\nnonsense = ${n}\n` : good)
    rig.output = ''
    rig.process?.kill('SIGHUP')
    const words = broken ? 'the new configuration is not used' : 'were read again'
    if (!(await waitFor(() => rig.output.includes(words)))) continue
    if (broken) refused += 1
    else used += 1
  }
  t.equal(used, RELOADS / 2, 'each good file was read')
  t.equal(refused, RELOADS / 2, 'each broken one was refused')
  t.match(await standing.ask('NOOP'), { code: 250 }, 'a session stood through all of it')
  await pause(200)
  stop.abort()
  const { acked, refused: refusals, broken } = await loading
  t.same(refusals, [])
  t.ok(broken <= 4, `${broken} connections broke: those that the end of the load cut off`)
  t.ok(await rig.until(() => [...acked].every((id) => rig.taken().has(id))), `${acked.size} acknowledged, all taken`)
  t.same(
    [...rig.taken().values()].filter((count) => count > 1),
    [],
  )
  standing.close()
})

async function waitFor(what: () => boolean): Promise<boolean> {
  for (let i = 0; i < 4000 && !what(); i++) await pause(5)
  return what()
}
