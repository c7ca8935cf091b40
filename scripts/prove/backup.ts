// Fills a store, accepts mail as fast as it goes, and makes a backup meanwhile: what a second of acceptance gives with and
// without it, the longest wait for an answer, and how long the backup and its restore take. Then looks whether the copy is sound
// and whether all that was answered before it is in it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newId, systemClock } from '#base'
import { checkQueue, queueKeeping, queueWorker } from '#queue'
import { backupStore, checkStore, restoreStore } from '#store'
import { body, message } from '../../test/contract/queue-messages.ts'
import { openSqlite, queueDefaults } from '../../test/contract/sqlite-driver.ts'
import { optionsOf } from './crash/options.ts'

if (process.env.RELEVO_PROVE_BACKUP !== undefined) {
  const [directory = '', target = ''] = process.env.RELEVO_PROVE_BACKUP.split('|')
  await backupStore({ directory, target, rooms: [queueKeeping], version: 'prove', clock: systemClock })
  process.exit(0)
}
const options = optionsOf('backup.ts', 'a backup while mail is accepted: what it costs, and what is in it', {
  messages: [100_000, 'messages in the store before, 4 KiB each, one in ten 100 KiB'],
  callers: [50, 'callers that accept at once'],
  seconds: [5, 'acceptance without a backup, to compare with'],
})
const say = (text: string): void => {
  if (!options.json) console.log(text)
}
const room = mkdtempSync(join(tmpdir(), 'relevo-backup-'))
using _removed = { [Symbol.dispose]: () => rmSync(room, { recursive: true, force: true }) }
const directory = join(room, 'data')
const opened = await openSqlite(directory, { min_free_bytes: 0 })
const small = body('small', 4096)
const large = body('large', 100_000)
const answered: string[] = []

async function acceptOne(n: number): Promise<void> {
  const id = newId(systemClock.now())
  const to = [`u${n}@d${n % 100}.example`]
  await opened.store.accept(message(to, { id, content: new Uint8Array(n % 10 === 0 ? large : small) }), [])
  answered.push(id)
}

/** Accepts until told to stop; the longest wait for an answer, and how many a second. */
async function accepting(until: () => boolean): Promise<{ perSec: number; p99Ms: number; longestMs: number }> {
  const startMs = systemClock.monotonicMs()
  const waits: number[] = []
  await Promise.all(
    Array.from({ length: options.callers }, async () => {
      while (!until()) {
        const beforeMs = systemClock.monotonicMs()
        await acceptOne(answered.length)
        waits.push(systemClock.monotonicMs() - beforeMs)
      }
    }),
  )
  waits.sort((a, b) => a - b)
  const seconds = (systemClock.monotonicMs() - startMs) / 1000
  return {
    perSec: Math.round(waits.length / seconds),
    p99Ms: Math.round(waits[Math.floor(waits.length * 0.99)] ?? 0),
    longestMs: Math.round(waits.at(-1) ?? 0),
  }
}

await accepting(() => answered.length >= options.messages)
say(`${answered.length} messages are kept`)
const endMs = systemClock.monotonicMs() + options.seconds * 1000
const without = await accepting(() => systemClock.monotonicMs() >= endMs)
say(`without: ${JSON.stringify(without)}`)

const before = answered.length
const target = join(room, 'backup')
const beginMs = systemClock.monotonicMs()
const child = spawn(process.execPath, [import.meta.filename], {
  env: { ...process.env, RELEVO_PROVE_BACKUP: `${directory}|${target}` },
  stdio: ['ignore', 'inherit', 'inherit'],
})
let over = false
const ended = once(child, 'exit').then(([code]) => {
  over = true
  if (code !== 0) throw new Error(`the backup ended with ${code}`)
})
const during = await accepting(() => over)
await ended
const backupSeconds = seconds(beginMs)
const logMiB = mebibytes(statSync(join(directory, 'relevo.db-wal')).size)
say(`during: ${JSON.stringify(during)}, ${backupSeconds} s, log of writes ${logMiB} MiB`)
await opened[Symbol.asyncDispose]()

const wrong = checkStore(target, [checkQueue]).filter(({ ok }) => !ok)
const { name, migrations } = queueWorker(queueDefaults)
const restoreMs = systemClock.monotonicMs()
const back = join(room, 'restored')
const manifest = await restoreStore({
  ...{ source: target, directory: back, rooms: [queueKeeping], modules: [{ name, migrations }] },
  ...{ fingerprint: '', nowMs: systemClock.now() },
})
const restoreSeconds = seconds(restoreMs)
let missing = 0
{
  await using restored = await openSqlite(back)
  for (const id of answered.slice(0, before)) if ((await restored.store.message(id)) === null) missing += 1
}
const backupMiB = mebibytes(manifest.files.reduce((sum, { bytes }) => sum + bytes, 0))
console.log(
  JSON.stringify({
    ...{ messages: before, backupMiB, backupSeconds, restoreSeconds, without, during, logMiB },
    ...{ held: manifest.counts.unsettled_recipients, missing, wrong },
  }),
)
process.exitCode = missing === 0 && wrong.length === 0 ? 0 : 1

function seconds(sinceMs: number): number {
  return Number(((systemClock.monotonicMs() - sinceMs) / 1000).toFixed(1))
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1_048_576)
}
