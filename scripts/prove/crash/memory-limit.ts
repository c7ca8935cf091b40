import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const V1 = '/sys/fs/cgroup/memory'
const V2 = '/sys/fs/cgroup'
const MIB = 1_048_576

/** A control group with a limit of memory, of either version. Needs root. */
export class MemoryLimit implements Disposable {
  readonly #path: string
  readonly #version: 1 | 2
  /** Program and arguments that start another inside of it. */
  readonly prefix: readonly string[]

  constructor(name: string, megabytes: number) {
    this.#version = existsSync(V1) ? 1 : 2
    this.#path = join(this.#version === 1 ? V1 : V2, name)
    mkdirSync(this.#path)
    writeFileSync(join(this.#path, this.#version === 1 ? 'memory.limit_in_bytes' : 'memory.max'), `${megabytes * MIB}`)
    this.prefix = ['sh', '-c', `echo $$ >${join(this.#path, 'cgroup.procs')} && exec "$0" "$@"`]
  }

  /** Processes of it that the kernel has killed. */
  killed(): number {
    const file = this.#version === 1 ? 'memory.oom_control' : 'memory.events'
    return Number(/^oom_kill (\d+)/m.exec(readFileSync(join(this.#path, file), 'utf8'))?.[1] ?? 0)
  }

  /** The most it held at one time, what the system keeps of files for it included. MiB. */
  peakMiB(): number {
    const file = this.#version === 1 ? 'memory.max_usage_in_bytes' : 'memory.peak'
    return Math.round(Number(readFileSync(join(this.#path, file), 'utf8')) / MIB)
  }

  [Symbol.dispose](): void {
    rmdirSync(this.#path)
  }
}
