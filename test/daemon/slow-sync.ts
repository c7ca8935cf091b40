import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

/** For as long as it stands, each sync to disk of the process takes half a minute: a disk that hangs. By strace. */
export class SlowSync implements AsyncDisposable {
  readonly #tracer: ChildProcess

  private constructor(tracer: ChildProcess) {
    this.#tracer = tracer
  }

  static async of(pid: number): Promise<SlowSync> {
    const syncs = 'fsync,fdatasync'
    const tracer = spawn(
      'strace',
      [
        ...['-f', '-qq', '-o', '/dev/null', '-e', `trace=${syncs}`, '-e', `inject=${syncs}:delay_enter=30000000`],
        ...['-p', String(pid)],
      ],
      { stdio: 'ignore' },
    )
    while (!/^TracerPid:\s+[1-9]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) {
      if (tracer.exitCode !== null) throw new Error(`strace ended with ${tracer.exitCode}`)
      await pause(20)
    }
    await pause(500) // its other threads
    return new SlowSync(tracer)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#tracer.exitCode !== null || this.#tracer.signalCode !== null) return
    const ended = once(this.#tracer, 'exit')
    this.#tracer.kill('SIGTERM')
    await ended
  }
}
