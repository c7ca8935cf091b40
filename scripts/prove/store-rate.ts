// store-rate.ts [DIRECTORY]: how many small writes a second the store commits, from many callers at once and from one.
// Every answer is a commit on the disk. The directory (default: a new one in the temporary directory) is removed at the end.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkStore, openDatabase, Records } from '#store'
import { ownHelp } from './own-help.ts'

ownHelp(import.meta.filename, process.argv)

const directory = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'relevo-store-rate-'))
const CALLERS = 200
const MANY = 40_000
const ONE = 1000

async function run(records: Records, callers: number, writes: number): Promise<readonly number[]> {
  const tookMs: number[] = []
  let left = writes
  const one = async (): Promise<void> => {
    while (left > 0) {
      const name = `${callers}-${left--}`
      const startMs = performance.now()
      await records.write(records.query.insertInto('settings').values({ name, value: 'v', updated_ms: 1 }))
      tookMs.push(performance.now() - startMs)
    }
  }
  await Promise.all(Array.from({ length: callers }, one))
  return tookMs.sort((a, b) => a - b)
}

try {
  for (const [callers, writes] of [
    [CALLERS, MANY],
    [1, ONE],
  ] as const) {
    const before = commits()
    let tookMs: readonly number[]
    let elapsedMs: number
    {
      await using database = await openDatabase({ directory, modules: [] })
      const records = new Records(database)
      const startMs = performance.now()
      tookMs = await run(records, callers, writes)
      elapsedMs = performance.now() - startMs
    }
    const at = (share: number): number => Number(tookMs[Math.floor((tookMs.length - 1) * share)]!.toFixed(2))
    console.log(
      JSON.stringify({
        callers,
        writes,
        perSec: Math.round((writes / elapsedMs) * 1000),
        commits: commits() - before,
        p50Ms: at(0.5),
        p99Ms: at(0.99),
        maxMs: at(1),
      }),
    )
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}

function commits(): number {
  return Number.parseInt(checkStore(directory).find(({ check }) => check === 'commits')?.detail ?? '0', 10) || 0
}
