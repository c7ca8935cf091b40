import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { getuid } from 'node:process'
import type { Test } from 'tap'
import { type Seen, spawned } from '../cli/at-the-command-line.ts'

export const ROOT = join(import.meta.dirname, '../..')
export const INSTALL = join(ROOT, 'scripts/install.sh')

/** Installing gives files to root and to a user of the new system. */
export function mayInstall(t: Test): boolean {
  if (getuid?.() === 0) return true
  t.comment('left out: installing needs root (remedy: sudo)')
  return false
}

/** What a system needs to have users. */
export function emptySystem(directory: string): void {
  mkdirSync(join(directory, 'etc'))
  for (const [name, mode] of Object.entries({ passwd: 0o644, group: 0o644, shadow: 0o600 }))
    writeFileSync(join(directory, 'etc', name), '', { mode })
}

export function install(...args: readonly string[]): Promise<Seen> {
  return spawned('sh', [INSTALL, ...args])
}

/** Starts it and ends it at once when a path is there: an upgrade that is cut. */
export async function cutWhen(reached: () => boolean, ...args: readonly string[]): Promise<void> {
  const child = spawn('sh', [INSTALL, ...args], { stdio: 'ignore', detached: true })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  while (!reached() && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5))
  if (child.exitCode === null) process.kill(-child.pid!, 'SIGKILL')
  await ended
}

/** Every path below it with its kind, mode and owner, in order. */
export function tree(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .map((entry) => {
      const path = join(entry.parentPath, entry.name)
      const shown = path.slice(directory.length)
      if (entry.isSymbolicLink()) return `${shown} -> ${readlinkSync(path)}`
      const { mode, uid } = statSync(path)
      return `${shown} ${(mode & 0o7777).toString(8)} ${uid === 0 ? 'root' : 'other'}`
    })
    .sort()
}
