import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// The peer's Debian packages, fetched and unpacked beside the checkout; nothing is installed. Run as a program (before the
// bench gives up its network) it fetches what is missing.

const CACHE = join(import.meta.dirname, '../../.cache/bench')
const PACKAGES = [
  'postfix',
  'libsasl2-modules',
  'sasl2-bin',
  'opendkim',
  'libopendkim11',
  'libmilter1.0.1',
  'libvbr2',
  'librbl1',
  'libmemcached11',
  'liblua5.3-0',
  'libunbound8',
  'libopendbx1',
  'libevent-2.1-7',
  'libbsd0',
]

/** Each package in a directory of its own, fetched once. */
export function unpacked(): readonly string[] {
  return PACKAGES.flatMap((name) => {
    const target = join(CACHE, name)
    if (!existsSync(target)) {
      const fetched = mkdtempSync(join(tmpdir(), 'relevo-deb-'))
      execFileSync('chmod', ['755', fetched])
      try {
        execFileSync('apt-get', ['-qq', 'download', name], { cwd: fetched, stdio: ['ignore', 'ignore', 'ignore'] })
        const deb = readdirSync(fetched).find((file) => file.endsWith('.deb'))
        if (deb === undefined) return []
        mkdirSync(target, { recursive: true })
        execFileSync('dpkg-deb', ['-x', join(fetched, deb), target])
      } catch (error) {
        if (name === 'postfix' || name === 'opendkim') throw error
        return [] // named otherwise in this release of Debian, and already here or not needed
      } finally {
        rmSync(fetched, { recursive: true, force: true })
      }
    }
    return [target]
  })
}

if (import.meta.main) unpacked()
