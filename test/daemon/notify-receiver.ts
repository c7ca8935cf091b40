import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { hasDebianOracle } from '../mail/debian-oracle.ts'

export type Told = { readonly states: readonly string[]; readonly atUsec: number }

/** A service manager's end of NOTIFY_SOCKET, by Python: Node has no such sockets. */
export class NotifyReceiver implements AsyncDisposable {
  readonly told: Told[] = []
  readonly #child

  private constructor(path: string) {
    this.#child = spawn('python3', [join(import.meta.dirname, 'notify-receiver.py'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    createInterface(this.#child.stdout).on('line', (line) => {
      const told = JSON.parse(line) as Told
      if (told.states.some((state) => state.startsWith('BARRIER='))) return
      this.told.push(told)
    })
  }

  static possible(t: Parameters<typeof hasDebianOracle>[0]): boolean {
    return hasDebianOracle(t, 'systemd', '/usr/bin/systemd-notify') && hasDebianOracle(t, 'python3', '/usr/bin/python3')
  }

  static async open(path: string): Promise<NotifyReceiver> {
    const receiver = new NotifyReceiver(path)
    while (!existsSync(path) || receiver.told.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    receiver.told.length = 0
    return receiver
  }

  /** The first word of each state that is not a status, in order. */
  words(): string[] {
    return this.told.flatMap(({ states }) => states.filter((state) => !/^(STATUS|MONOTONIC_USEC)=/.test(state)))
  }

  count(word: string): number {
    return this.words().filter((one) => one === word).length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.kill()
    await ended
  }
}
