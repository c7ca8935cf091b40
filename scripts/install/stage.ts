import { constants, cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

// usage: stage.ts SOURCE [TARGET]
// Without TARGET it only looks whether the packages are those of the lock. With it, it lays the program into an empty directory: what runs, its packages, and the Node it runs on. Installer and Debian package both
// take it from here, so they hold the same. What only tests and development need stays out.

const PROGRAM = [
  ...['package.json', 'package-lock.json', 'LICENSE', 'README.md', 'CHANGELOG.md'],
  ...['src', 'config', 'dns-templates', 'docs', 'systemd', 'scripts/relevo', 'scripts/install.sh', 'scripts/install'],
]
/** Of the runtime: the program and its licence, without headers and manuals. */
const RUNTIME = ['package.json', 'LICENSE', 'bin']

type Locked = { readonly version?: string; readonly dev?: boolean; readonly optional?: boolean }

const [source, target] = process.argv.slice(2)
if (source === undefined) fail('usage: stage.ts SOURCE [TARGET]')
const packages = installed(source)
if (target !== undefined) {
  if (existsSync(target) && readdirSync(target).length > 0) fail(`${target} is not empty`)
  for (const path of [...PROGRAM, ...packages]) copy(source, target, path)
}

/** The packages that run, as paths below the source; of the runtimes the one that is there. */
function installed(root: string): readonly string[] {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, Locked>>
  }
  const paths: string[] = []
  for (const [path, { version, dev, optional }] of Object.entries(lock.packages)) {
    if (path === '' || dev === true) continue
    const manifest = join(root, path, 'package.json')
    if (!existsSync(manifest) && optional === true) continue
    const there = existsSync(manifest) ? (JSON.parse(readFileSync(manifest, 'utf8')) as Locked).version : 'missing'
    if (there !== version)
      fail(`${path} is ${there}, but ${version} is wanted; run in ${root}: npm ci --ignore-scripts`)
    if (path.startsWith('node_modules/node-linux-')) paths.push(...RUNTIME.map((part) => join(path, part)))
    else paths.push(path)
  }
  return paths
}

function copy(from: string, to: string, path: string): void {
  mkdirSync(dirname(join(to, path)), { recursive: true })
  cpSync(join(from, path), join(to, path), {
    recursive: true,
    verbatimSymlinks: true,
    mode: constants.COPYFILE_FICLONE,
    filter: (file) => wanted(relative(join(from, path), file)),
  })
}

/** Packages below a package have their own line in the lock; programs for other systems are of no use. */
function wanted(file: string): boolean {
  return !/(^|\/)node_modules(\/|$)/.test(file) && !/^prebuilds\/(?!linux-)/.test(file)
}

function fail(words: string): never {
  process.stderr.write(`stage: ${words}\n`)
  process.exit(1)
}
