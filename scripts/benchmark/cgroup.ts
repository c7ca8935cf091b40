import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const V1 = '/sys/fs/cgroup/cpuacct'
const V2 = '/sys/fs/cgroup'

/** Processor time and memory of everything that was started in it, children that ended included. */
export class ControlGroup {
  readonly path: string
  readonly #v1: boolean
  #peakKiB = 0
  #sampling: NodeJS.Timeout | null = null

  constructor(name: string) {
    this.#v1 = existsSync(join(V1, 'cpuacct.usage'))
    this.path = join(this.#v1 ? V1 : V2, `relevo-bench-${process.pid}-${name}`)
    mkdirSync(this.path, { recursive: true })
  }

  cpuSeconds(): number {
    if (this.#v1) return Number(readFileSync(join(this.path, 'cpuacct.usage'), 'utf8')) / 1e9
    return Number(/usage_usec (\d+)/.exec(readFileSync(join(this.path, 'cpu.stat'), 'utf8'))?.[1]) / 1e6
  }

  /** From here on the proportional memory (PSS) of all its processes is looked at, four times a second. */
  watchMemory(): void {
    this.#peakKiB = 0
    this.#sampling = setInterval(() => {
      let sum = 0
      for (const pid of this.pids())
        try {
          sum += Number(/^Pss: +(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0)
        } catch {
          // It has ended.
        }
      this.#peakKiB = Math.max(this.#peakKiB, sum)
    }, 250)
  }

  /** MiB */
  peakMemory(): number {
    if (this.#sampling !== null) clearInterval(this.#sampling)
    this.#sampling = null
    return this.#peakKiB / 1024
  }

  pids(): readonly number[] {
    return readFileSync(join(this.path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number)
  }

  async end(): Promise<void> {
    for (let tries = 0; tries < 100 && this.pids().length > 0; tries++) {
      for (const pid of this.pids())
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          // It has ended.
        }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    rmdirSync(this.path)
  }
}

/** Words that start a program inside a control group. */
export function inside(group: string, words: readonly string[]): [string, string[]] {
  return ['sh', ['-c', `echo $$ >"$0/cgroup.procs" && exec "$@"`, group, ...words]]
}

export function write(path: string, text: string, mode = 0o644): void {
  writeFileSync(path, text, { mode })
}
