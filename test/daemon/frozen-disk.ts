import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { getuid } from 'node:process'
import type { Test } from 'tap'
import { tempDir } from '#world'

export type FreezableDisk = { readonly path: string; freeze(): void; thaw(): void }

/** An ext4 of its own whose writes can be made to wait, as those of a disk that hangs; null, and told so, without root. */
export async function freezableDisk(t: Test): Promise<FreezableDisk | null> {
  if (getuid?.() !== 0) {
    t.comment('left out: a disk that hangs needs root to mount one (remedy: sudo)')
    return null
  }
  const directory = await tempDir('in memory')
  const path = directory.join('mounted')
  let frozen = false
  const run = (program: string, ...args: string[]): unknown => execFileSync(program, args, { stdio: 'pipe' })
  const thaw = (): void => {
    if (frozen) run('fsfreeze', '--unfreeze', path)
    frozen = false
  }
  try {
    mkdirSync(path)
    run('truncate', '-s', '32M', directory.join('image'))
    run('mkfs.ext4', '-q', directory.join('image'))
    run('mount', '-o', 'loop', directory.join('image'), path)
  } catch {
    t.comment('left out: a file system cannot be mounted here (remedy: run outside of this container)')
    await directory[Symbol.asyncDispose]()
    return null
  }
  t.teardown(async () => {
    thaw()
    run('umount', '-l', path)
    await directory[Symbol.asyncDispose]()
  })
  return {
    path,
    freeze() {
      run('fsfreeze', '--freeze', path)
      frozen = true
    },
    thaw,
  }
}
