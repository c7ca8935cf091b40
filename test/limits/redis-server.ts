import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const UNPACKED = join(import.meta.dirname, '../../.cache/debian')
export const REMEDY =
  'run scripts/test.sh, which unpacks redis-server beside the tests, or install Debian’s redis-server'

function program(): { path: string; libraries: string } | null {
  const unpacked = join(UNPACKED, 'usr/bin/redis-server')
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
  if (existsSync(unpacked)) return { path: unpacked, libraries: join(UNPACKED, 'usr/lib', triplet) }
  const installed = spawnSync('sh', ['-c', 'command -v redis-server'], { encoding: 'utf8' }).stdout.trim()
  return installed === '' ? null : { path: installed, libraries: '' }
}

/** A real redis-server on a unix socket of its own; `kill` is kill -9, `start` begins it again with empty memory. */
export class RedisServer {
  readonly url: string
  readonly #directory: string
  readonly #keeps: 'nothing' | 'file'
  #process: ChildProcess | null = null

  private constructor(directory: string, keeps: 'nothing' | 'file') {
    this.#directory = directory
    this.#keeps = keeps
    this.url = join(directory, 'redis.sock')
  }

  /** @param keeps `file`: what it holds is written to an append-only file, and read again by the next start */
  static async start(keeps: 'nothing' | 'file' = 'nothing'): Promise<RedisServer | null> {
    if (program() === null) return null
    const server = new RedisServer(await mkdtemp(join(tmpdir(), 'relevo-redis-')), keeps)
    await server.start()
    return server
  }

  async start(): Promise<void> {
    const found = program()!
    const quiet = [
      '--port',
      '0',
      '--unixsocket',
      this.url,
      '--save',
      '',
      '--appendonly',
      this.#keeps === 'file' ? 'yes' : 'no',
      '--dir',
      this.#directory,
    ]
    this.#process = spawn(found.path, quiet, {
      stdio: 'ignore',
      env: { ...process.env, LD_LIBRARY_PATH: found.libraries },
    })
    for (let i = 0; i < 200; i++) {
      if (await answers(this.url)) return
      await pause(25)
    }
    throw new Error('redis-server did not answer within 5 s')
  }

  async kill(): Promise<void> {
    const ended = new Promise((resolve) => this.#process?.once('exit', resolve))
    this.#process?.kill('SIGKILL')
    await ended
    this.#process = null
  }

  /** Stops it without its knowing (SIGSTOP), and lets it go on. */
  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  /** Everything is forgotten while it runs. */
  flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(this.url, () => socket.write('FLUSHALL\r\n'))
      socket.once('data', () => {
        socket.destroy()
        resolve()
      })
      socket.once('error', reject)
    })
  }

  /** Cuts the end off the append-only file, in the middle of a record, as a power cut does; returns the bytes that are left. */
  async truncate(): Promise<number> {
    const folder = join(this.#directory, 'appendonlydir')
    const name = (await readdir(folder)).find((one) => one.endsWith('.incr.aof'))!
    const { size } = await stat(join(folder, name))
    const left = Math.max(0, Math.floor(size / 2) - 3)
    await truncate(join(folder, name), left)
    return left
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process !== null) await this.kill()
    await rm(this.#directory, { recursive: true, force: true })
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
