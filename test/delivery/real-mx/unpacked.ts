import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** What Debian packages brought beside the tests (scripts/debian-packages.txt), nothing of it installed. */
export const UNPACKED = join(import.meta.dirname, '../../../.cache/debian')
const TRIPLET = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
export const LIBRARIES = join(UNPACKED, 'usr/lib', TRIPLET)
export const ENVIRONMENT = { ...process.env, LD_LIBRARY_PATH: LIBRARIES, NODE_OPTIONS: '' }

/** The program as it was unpacked. */
export function program(name: string): string {
  return ['usr/sbin', 'usr/bin'].map((place) => join(UNPACKED, place, name)).find(existsSync) ?? name
}

/** Runs one of them to its end. @throws with what it said */
export function run(name: string, args: readonly string[], cwd: string): string {
  return execFileSync(program(name), [...args], {
    cwd,
    env: ENVIRONMENT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** What the real mail host and name servers lack here, with the remedy; null: nothing. */
export function missing(): string | null {
  if (process.getuid?.() !== 0) return 'root (remedy: run as root; a mount namespace is made for Postfix)'
  const lacking = ['nsd', 'unbound', 'ldns-signzone', 'postfix'].filter((name) => !existsSync(program(name)))
  if (lacking.length > 0)
    return `${lacking.join(', ')} (remedy: run scripts/test.sh, which unpacks them beside the tests)`
  const namespace = spawnSync('unshare', ['-m', 'true'])
  if (namespace.status !== 0) return 'mount namespaces (remedy: run where unshare -m is allowed)'
  for (const [name, argument] of [
    ['nsd', '-v'],
    ['unbound', '-V'],
    ['ldns-signzone', '-v'],
  ] as const)
    if (spawnSync(program(name), [argument], { env: ENVIRONMENT }).error !== undefined)
      return `${name} does not run here`
  return null
}
