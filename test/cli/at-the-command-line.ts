import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { type Io, run } from '#cli'

export const LAUNCHER = join(import.meta.dirname, '../../scripts/relevo')

export type Seen = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

class Kept extends Writable {
  text = ''
  isTTY = false
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8')
    done()
  }
}

export type Around = {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly stdin?: string
  readonly terminal?: boolean
}

/** Runs one command line in this process, with streams and environment of its own. */
export async function relevo(argv: readonly string[], around: Around = {}): Promise<Seen> {
  const stdout = new Kept()
  const stderr = new Kept()
  stdout.isTTY = around.terminal === true
  const io: Io = {
    env: around.env ?? {},
    pid: 0,
    monotonicNs: () => 0n,
    cwd: around.cwd ?? '/',
    stdin: Readable.from(around.stdin === undefined ? [] : [Buffer.from(around.stdin)]),
    stdout,
    stderr,
    catchSignals: () => new AbortController().signal,
    onHangup: () => {},
  }
  const code = await run(argv, io)
  return { code, stdout: stdout.text, stderr: stderr.text }
}

/** Runs a real program. */
export function spawned(
  file: string,
  argv: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, argv, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}
