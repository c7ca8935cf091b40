import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { load } from '#world'
import { DaemonRig, DOMAIN } from './daemon-rig.ts'

const KILLS = 6
const SESSIONS = 4

void t.test(
  `${KILLS} × kill -9 under load: nothing acknowledged is lost, copies are at most one a connection`,
  async (t) => {
    t.setTimeout(120_000)
    await using rig = await DaemonRig.open()
    const stop = new AbortController()
    const loading = load({
      port: rig.ports.trusted,
      sessions: SESSIONS,
      signal: stop.signal,
      from: `app@${DOMAIN}`,
      to: (n) => `u${n}@good.test`,
    })
    for (let kill = 0; kill < KILLS; kill++) {
      const before = rig.taken().size
      t.ok(await rig.until(() => rig.taken().size > before), `it delivers before kill ${kill + 1}`)
      await pause(200 + Math.random() * 800)
      t.equal(await rig.end('SIGKILL'), 'SIGKILL')
      await rig.start()
    }
    await pause(500)
    stop.abort()
    const { acked, unanswered } = await loading
    const settled = async (): Promise<boolean> => {
      const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
      return queue.ready === 0 && queue.leased === 0
    }
    t.ok(await rig.until(settled, 60_000), 'the queue runs empty')
    const taken = rig.taken()
    const lost = [...acked].filter((id) => !taken.has(id))
    const copies = [...taken.values()].reduce((sum, count) => sum + count - 1, 0)
    const strangers = [...taken.keys()].filter((id) => !acked.has(id) && !unanswered.has(id))
    t.comment(`${KILLS} kills, ${acked.size} acknowledged, ${lost.length} lost, ${copies} copies`)
    t.ok(acked.size > 100, `${acked.size} acknowledged`)
    t.same(lost, [])
    t.same(strangers, [], 'nothing was sent that was not handed in')
    t.ok(copies <= KILLS * 20, `${copies} copies`)

    const sent = new Map<string, number>()
    let flagged = 0
    for (let after = 0; ; ) {
      const page = await rig.api.get<{
        events: { recipient: string; type: string; detail: { maybeDuplicate?: boolean } }[]
        next_after: number | null
      }>(`/events?type=sent&limit=1000&after=${after}`)
      for (const { recipient, detail } of page.events) {
        sent.set(recipient, (sent.get(recipient) ?? 0) + 1)
        if (detail.maybeDuplicate) flagged += 1
      }
      if (page.next_after === null) break
      after = page.next_after
    }
    t.same(
      [...sent.values()].filter((n) => n !== 1),
      [],
      'each recipient has exactly one outcome',
    )
    t.ok(flagged >= copies, `${copies} copies, ${flagged} flagged as possible ones`)
  },
)
