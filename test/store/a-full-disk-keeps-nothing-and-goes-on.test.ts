import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { directory, run } from './store-rig.ts'

const MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && exec "$3" "$4" "$2"'

// In a mount namespace of its own, so that nothing stays mounted however it ends.
void t.test(
  'a full disk: each write is refused with its code, nothing of it is kept, and it goes on by itself',
  async (t) => {
    const path = join(directory(t), 'small')
    mkdirSync(path)
    const script = join(import.meta.dirname, 'full-disk.ts')
    const namespace = process.getuid?.() === 0 ? ['-m'] : ['-U', '-r', '-m']
    try {
      await run('unshare', [...namespace, 'true'])
    } catch {
      t.comment('left out: a full disk (remedy: run as root, or allow user namespaces)')
      t.not(process.env.RELEVO_TEST_ALL, '1', 'with --all nothing may be left out')
      return
    }
    const lines = await run('unshare', [...namespace, 'sh', '-c', MOUNT, 'sh', '8m', path, process.execPath, script])
    const saw = JSON.parse(lines.at(-1)!) as Record<string, unknown>
    t.comment(lines.at(-1)!)
    t.ok((saw.ackedBeforeFull as number) >= 60, 'there was room at first')
    t.ok((saw.refused as number) >= 100, 'then there was none')
    t.match(saw, { lost: 0, keptOfRefused: 0, codes: ['SQLITE_FULL'], refusedWithRoom: 0, failures: [] })
    t.same(saw.startedFull, ['disk-full', 'disk-full'], 'a start says so, and harms nothing')
    t.equal(saw.acked, (saw.ackedBeforeFull as number) + 60)
  },
)
