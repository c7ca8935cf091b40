import { execFileSync } from 'node:child_process'
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { getuid } from 'node:process'
import type { Test } from 'tap'
import { tempDir } from '#world'

export type SmallDisk = {
  readonly path: string
  /** Takes all the room that is left but this many bytes. */
  fill(leaveBytes?: number): void
  empty(): void
}

/** A file system of this size for one test; null, and told so, where the user may not mount. */
export async function smallDisk(t: Test, megabytes: number): Promise<SmallDisk | null> {
  if (getuid?.() !== 0) {
    t.comment('left out: a full disk needs root to mount a small one (remedy: sudo)')
    return null
  }
  const directory = await tempDir()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'relevo-test', directory.path], { stdio: 'pipe' })
  } catch {
    t.comment('left out: a small file system cannot be mounted here (remedy: run outside of this container)')
    await directory[Symbol.asyncDispose]()
    return null
  }
  t.teardown(async () => {
    execFileSync('umount', ['-l', directory.path])
    await directory[Symbol.asyncDispose]()
  })
  const filler = join(directory.path, 'filler')
  return {
    path: directory.path,
    fill(leaveBytes = 0) {
      const fd = openSync(filler, 'a')
      // The last pages are taken one by one.
      for (const step of [1_048_576, 4096])
        for (let full = false; !full; )
          try {
            writeSync(fd, Buffer.alloc(step))
          } catch {
            full = true
          }
      fsyncSync(fd)
      closeSync(fd)
      if (leaveBytes > 0) execFileSync('truncate', ['-s', `-${leaveBytes}`, filler])
    },
    empty: () => rmSync(filler, { force: true }),
  }
}
