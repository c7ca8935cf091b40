import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { DnsFault } from '#world'

/** A call of the running daemon that fails, and how. `files`: only on these files of the data directory. */
export type CallFault = {
  readonly kind: 'call'
  readonly call: string
  readonly errors: readonly string[]
  readonly files?: readonly string[]
  /** Of the n-th call of a thread: n is drawn from 1 to this. */
  readonly upTo: number
  readonly touches: 'disk' | 'network'
  /** The daemon is started with it: these calls are rare later on. */
  readonly atStart?: true
}
export type AnswerFault = { readonly kind: 'dns'; readonly fault: DnsFault }

const STORE_FILES = ['data/relevo.db', 'data/relevo.db-wal', 'data/relevo.commits'] as const
const disk = (call: string, errors: readonly string[], upTo: number, more: Partial<CallFault> = {}): CallFault => ({
  ...{ kind: 'call', call, errors, upTo, touches: 'disk' },
  ...more,
})
const network = (call: string, errors: readonly string[], upTo: number): CallFault => ({
  ...{ kind: 'call', call, errors, upTo, touches: 'network' },
})

/** In the order of the run, again and again. */
export const FAULTS: readonly (CallFault | AnswerFault)[] = [
  disk('pwrite64', ['EIO', 'ENOSPC', 'EDQUOT'], 40),
  disk('fdatasync', ['EIO', 'ENOSPC'], 20),
  disk('fsync', ['EIO'], 8),
  disk('write', ['EIO', 'ENOSPC'], 10, { files: STORE_FILES }),
  network('accept4', ['EMFILE', 'ENFILE', 'ECONNABORTED', 'ENOBUFS', 'ENOMEM'], 3),
  network('connect', ['ECONNREFUSED', 'ETIMEDOUT', 'ENETUNREACH', 'EADDRNOTAVAIL', 'ENOBUFS'], 6),
  { kind: 'dns', fault: 'servfail' },
  disk('openat', ['EMFILE', 'EIO', 'ENOSPC'], 4),
  disk('pread64', ['EIO'], 12),
  disk('rename', ['EIO', 'ENOSPC'], 1, { atStart: true }),
  disk('openat', ['EMFILE', 'EIO', 'EACCES'], 200, { atStart: true }),
  disk('fdatasync', ['EIO'], 4, { atStart: true }),
  disk('pwrite64', ['EIO', 'ENOSPC'], 8, { atStart: true }),
  { kind: 'dns', fault: 'silence' },
  network('socket', ['EMFILE', 'ENOBUFS'], 4),
  disk('ftruncate', ['EIO'], 2),
  { kind: 'dns', fault: 'garbage' },
  disk('unlink', ['EIO'], 1),
  { kind: 'dns', fault: 'wrong-id' },
  { kind: 'dns', fault: 'refused' },
]

/** The arguments of strace that let the n-th such call fail, and all after it when `lasting`. */
export function straceOf(fault: CallFault, error: string, n: number, lasting: boolean, log: string, root: string) {
  const files = (fault.files ?? []).flatMap((file) => ['-P', `${root}/${file}`])
  const inject = `inject=${fault.call}:error=${error}:when=${n}${lasting ? '+' : ''}`
  return ['-f', '-o', log, ...files, '-e', `trace=${fault.call}`, '-e', inject]
}

/** How often it has happened so far. */
export function injected(log: string): number {
  try {
    return readFileSync(log, 'latin1').split('(INJECTED)').length - 1
  } catch {
    return 0
  }
}

/** strace on a running process, until disposed of. */
export class Tracer implements AsyncDisposable {
  readonly #strace: ChildProcess
  readonly #ended: Promise<unknown>

  private constructor(strace: ChildProcess) {
    this.#strace = strace
    this.#ended = new Promise((resolve) => strace.once('exit', resolve))
  }

  static async attach(pid: number, args: readonly string[]): Promise<Tracer> {
    const strace = spawn('strace', [...args, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] })
    const tracer = new Tracer(strace)
    await Promise.race([new Promise((resolve) => strace.stderr!.once('data', resolve)), tracer.#ended, pause(3000)])
    strace.stderr!.resume()
    return tracer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#strace.exitCode === null && this.#strace.signalCode === null) this.#strace.kill('SIGINT')
    // What it traces may hang in a call that a lost disk does not answer.
    await Promise.race([this.#ended, pause(3000)])
    this.#strace.kill('SIGKILL')
  }
}
