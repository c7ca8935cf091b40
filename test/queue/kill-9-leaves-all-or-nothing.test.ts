import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import t from 'tap'
import { tempDir } from '#world'
import { body } from '../contract/queue-messages.ts'
import { definite } from '../contract/queue-store.ts'
import { openSqlite } from '../contract/sqlite-driver.ts'

const KILLS = Number(process.env.RELEVO_KILLS ?? 5)
/** Uneven times, so that the kills fall at different places of a commit. */
const AFTER_MS = [211, 97, 340, 163, 29]

type Row = {
  readonly id: string
  readonly state: number
  readonly tries: number
  readonly queued: number
  readonly outcomes: number
  readonly suppressed: number
  readonly born: number
  readonly kept: number
}

const LOOK = `
  SELECT m.id, r.state, m.has_content AS kept,
    (SELECT count(*) FROM attempts a WHERE a.recipient = r.key) AS tries,
    (SELECT count(*) FROM events e WHERE e.recipient_key = r.key AND e.type = 'queued') AS queued,
    (SELECT count(*) FROM events e WHERE e.recipient_key = r.key AND e.type = 'bounced') AS outcomes,
    (SELECT count(*) FROM suppressions s WHERE s.address = r.address) AS suppressed,
    (SELECT count(*) FROM messages d WHERE d.id = 'dsn-' || m.id) AS born
  FROM messages m JOIN recipients r ON r.message = m.key WHERE m.id NOT LIKE 'dsn-%'`

void t.test(
  `kill -9 while accepting and settling, ${KILLS} times: each step is there whole or not at all`,
  async (t) => {
    await using directory = await tempDir()
    const accepted = new Set<string>()
    const settled = new Set<string>()
    for (let kill = 0; kill < KILLS; kill++) {
      const child = spawn(
        process.execPath,
        [join(import.meta.dirname, 'endless-settler.ts'), directory.path, `k${kill}`],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      )
      const closed = new Promise((resolve) => child.once('close', resolve))
      const working = Promise.withResolvers<void>()
      let rest = ''
      child.stdout.on('data', (data: Buffer) => {
        const lines = (rest + data.toString()).split('\n')
        rest = lines.pop()!
        for (const line of lines) {
          const [what, id = ''] = line.split(' ')
          if (what === 'accepted') accepted.add(id)
          else if (what === 'settled') settled.add(id)
          else t.fail(`unexpected answer: ${line}`)
        }
        working.resolve()
      })
      await Promise.race([working.promise, closed])
      await pause(AFTER_MS[kill % AFTER_MS.length])
      child.kill('SIGKILL')
      await closed
    }
    t.ok(accepted.size > 20 && settled.size > 20, `${accepted.size} accepted, ${settled.size} settled`)

    await using opened = await openSqlite(directory.path)
    const db = new Sqlite(join(directory.path, 'relevo.db'), { readonly: true })
    const rows = new Map((db.prepare(LOOK).all() as Row[]).map((row) => [row.id, row]))
    t.same(
      [...accepted].filter((id) => !rows.has(id)),
      [],
      'nothing that was answered is lost',
    )
    t.same(
      [...settled].filter((id) => rows.get(id)?.state !== 6),
      [],
      'and no outcome',
    )
    const halves: unknown[] = []
    let bounced = 0
    for (const { id, state, queued, ...written } of rows.values()) {
      const done = state === 6 ? 1 : 0
      bounced += done
      const wanted = { kept: 1 - done, tries: done, outcomes: done, suppressed: done, born: done }
      if (queued !== 1 || JSON.stringify(written) !== JSON.stringify(wanted))
        halves.push({ id, state, queued, ...written })
    }
    t.same(halves, [])
    t.same(await opened.counters(), [{ name: 'bounced', period: '', value: bounced }])
    t.same(definite(await opened.store.counts()), await opened.countedStates())
    const unreadable: string[] = []
    const kept = db.prepare('SELECT id FROM messages WHERE has_content = 1').all() as { id: string }[]
    for (const { id } of kept) {
      const large = Number(id.split('-').at(-1)) % 3 === 0 ? !id.startsWith('dsn-') : id.startsWith('dsn-')
      const content = await opened.store.content(id).catch(() => null)
      if (content === null || !content.equals(body(id, large ? 40_000 : 1000))) unreadable.push(id)
    }
    db.close()
    t.ok(kept.length > 20)
    t.same(unreadable, [], 'every content that is kept is whole')
    t.same(
      (await opened.store.reclaim('node', 0)).length,
      [...rows.values()].filter(({ state }) => state === 2).length,
      'what was under way is taken back',
    )
  },
)
