import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import type { DaemonRig } from '../../../test/daemon/daemon-rig.ts'

const MIB = 1_048_576
/** Tables that grow with mail; the audit grows with what people do. */
const TABLES = ['messages', 'recipients', 'attempts', 'events', 'bodies', 'idempotency', 'inbound_mail'] as const

/** What the daemon holds at this moment, by name. Sizes in MiB. */
export type Sample = Readonly<Record<string, number>>

export function sample(rig: DaemonRig): Sample {
  const status = readFileSync(`/proc/${rig.process?.pid}/status`, 'utf8')
  const file = join(rig.dataDirectory, 'relevo.db')
  using database = new Reading(file)
  return {
    rssMiB: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024,
    threads: Number(/Threads:\s+(\d+)/.exec(status)?.[1]),
    descriptors: readdirSync(`/proc/${rig.process?.pid}/fd`).length,
    walMiB: sizeOf(`${file}-wal`) / MIB,
    fileMiB: sizeOf(file) / MIB,
    segmentsMiB: segmentsOf(rig.dataDirectory) / MIB,
    ...Object.fromEntries(TABLES.map((table) => [`${table}Rows`, database.rows(table)])),
  }
}

/** The longest wait of the event loop since this was last asked, and the wait that one in a thousand is longer than. Milliseconds. */
export async function loopDelay(rig: DaemonRig): Promise<{ readonly p999Ms: number; readonly maxMs: number }> {
  const text = await (await fetch(`http://127.0.0.1:${rig.ports.metrics}/metrics`)).text()
  const of = (quantile: string): number =>
    Number(new RegExp(`relevo_event_loop_delay_seconds\\{quantile="${quantile}"\\} (\\S+)`).exec(text)?.[1]) * 1000
  return { p999Ms: of('0.999'), maxMs: of('1') }
}

export type Slope = { readonly mean: number; readonly first: number; readonly last: number; readonly growth: number }

/** The straight line through the values: its ends, and the growth from one to the other as a share of the mean. */
export function slopeOf(values: readonly number[]): Slope {
  const n = values.length
  const mean = values.reduce((sum, value) => sum + value, 0) / n
  const middle = (n - 1) / 2
  let above = 0
  let below = 0
  for (const [i, value] of values.entries()) {
    above += (i - middle) * (value - mean)
    below += (i - middle) ** 2
  }
  const slope = below === 0 ? 0 : above / below
  const [first, last] = [mean - slope * middle, mean + slope * middle]
  return { mean, first, last, growth: mean === 0 ? 0 : (last - first) / mean }
}

class Reading implements Disposable {
  readonly #database: Sqlite.Database

  constructor(file: string) {
    this.#database = new Sqlite(file, { readonly: true })
  }

  rows(table: string): number {
    return (this.#database.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}

function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0
}

function segmentsOf(directory: string): number {
  const path = join(directory, 'segments')
  if (!existsSync(path)) return 0
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
}
