import { chownSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** What root made in a data directory belongs to whom the directory belongs to, or the daemon could not open it. */
export function giveToOwner(directory: string): void {
  const { uid, gid } = statSync(directory)
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    const path = join(directory, name)
    try {
      const found = statSync(path)
      if (found.uid !== uid || found.gid !== gid) chownSync(path, uid, gid)
    } catch {
      // Gone meanwhile, or not ours to give: the daemon says so at its start.
    }
  }
}
