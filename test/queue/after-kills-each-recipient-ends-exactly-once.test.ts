import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import { systemClock } from '#base'
import { DamagedContent } from '#queue'
import { tempDir } from '#world'
import { FINAL, settlement } from '../contract/queue-messages.ts'
import { contentFor, DOMAINS, openBusyQueue } from './busy-queue-rig.ts'

const KILLS = Number(process.env.RELEVO_KILLS ?? 3)
const SCRIPT = join(import.meta.dirname, 'busy-queue.ts')

/** Runs a process that accepts and settles, kills it at some moment, and adds what it had said by then. */
async function killOne(directory: string, kill: number, said: Map<string, Set<string>>): Promise<void> {
  const child = spawn(process.execPath, [SCRIPT, directory, `k${kill}`], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>
  const lines = createInterface({ input: child.stdout })
  let ended = 0
  // Not the same moment of a batch each time.
  const enough = 150 + kill * 41
  lines.on('line', (line) => {
    const [what = '', id = ''] = line.split(' ')
    said.get(what)!.add(id)
    if (what === 'ended' && ++ended === enough) child.kill('SIGKILL')
  })
  const [[code, signal]] = await Promise.all([exited, once(lines, 'close')])
  if (signal !== 'SIGKILL') throw new Error(`the process ended by itself with ${code}`)
}

void t.test(`${KILLS} × kill -9 while delivering and compacting: each recipient ends exactly once`, async (t) => {
  t.setTimeout(120_000)
  await using directory = await tempDir()
  const said = new Map(['accepted', 'ended', 'wrong'].map((what) => [what, new Set<string>()]))
  for (let kill = 0; kill < KILLS; kill++) await killOne(directory.path, kill, said)

  await using busy = await openBusyQueue(directory.path)
  const { queue, opened } = busy
  const outcomes = async (): Promise<Map<string, number>> => {
    const counts = new Map<string, number>()
    for (const { type, message_id } of await opened.events())
      if ((FINAL as readonly string[]).includes(type)) counts.set(message_id!, (counts.get(message_id!) ?? 0) + 1)
    return counts
  }
  const before = await outcomes()
  const accepted = said.get('accepted')!
  t.ok(accepted.size >= KILLS * 150, `${accepted.size} accepted, ${before.size} ended`)
  t.same([...said.get('wrong')!], [], 'no content was another than the one accepted')
  t.same(
    [...said.get('ended')!].filter((id) => !before.has(id)),
    [],
    'an outcome that was answered stands',
  )

  let drained = 0
  const deliver = async (domain: string): Promise<void> => {
    for (;;) {
      const [claim] = await queue.claim(domain)
      if (claim === undefined) return
      const { id } = claim.message
      if (!(await queue.content(id)).equals(contentFor(id))) t.fail(`${id} has another content`)
      await queue.settle([settlement(claim, 'sent', { atMs: systemClock.now() })])
      drained += 1
    }
  }
  const moved = readdirSync(join(directory.path, 'segments'))
  t.notOk(moved.includes('00000001.seg'), `${moved.length} segments, the first was compacted`)
  const { rows } = await queue.list({ states: ['deferred'] }, null, 1000)
  t.ok(
    rows.some(({ id, size }) => size > 16_384 && id.startsWith('k0-')),
    'what was deferred in it is still there',
  )
  await queue.steer('retry', {}, 'test', { dryRun: false, limit: 100_000 })
  await Promise.all(DOMAINS.flatMap((domain) => Array.from({ length: 20 }, () => deliver(domain))))
  const after = await outcomes()
  t.ok(drained > 0, `${drained} were left to deliver`)
  t.same(
    [...accepted].filter((id) => after.get(id) !== 1),
    [],
    'each that was accepted ended exactly once',
  )
  t.same(
    [...after.values()].filter((n) => n !== 1),
    [],
  )
  const counts = await queue.counts()
  t.equal(counts.sent + counts.bounced, after.size, 'the counts are those of the outcomes')
  t.same(await opened.countedStates(), { sent: counts.sent, bounced: counts.bounced })
  await t.rejects(queue.content([...accepted][0]!), DamagedContent)
  await queue.reclaimSpace()
  t.ok(readdirSync(join(directory.path, 'segments')).length <= 1, 'no segment is left but the one that is written')
})
