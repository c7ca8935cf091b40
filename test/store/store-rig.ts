import { type ChildProcess, spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type OpenOptions, openDatabase, Records } from '#store'

type Teardown = { teardown(fn: () => void): void }

/** A directory of the test's own, gone at its end. */
export function directory(t: Teardown): string {
  const path = mkdtempSync(join(tmpdir(), 'relevo-store-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

export function open(path: string, options: Partial<OpenOptions> = {}) {
  return openDatabase({ directory: path, modules: [], ...options })
}

export function setting(records: Records, name: string, value = 'v') {
  return records.query.insertInto('settings').values({ name, value, updated_ms: 1 })
}

/** Names of the settings that are kept, in order. */
export async function names(records: Records): Promise<readonly string[]> {
  const rows = await records.read(records.query.selectFrom('settings').select('name').orderBy('name'))
  return rows.map((row) => row.name)
}

/** A store with these settings in it, closed in good order. */
export async function fill(path: string, settings: readonly string[], value = 'v'): Promise<void> {
  await using database = await open(path)
  const records = new Records(database)
  for (const name of settings) await records.write(setting(records, name, value))
}

export function numbered(count: number, from = 0): readonly string[] {
  return Array.from({ length: count }, (_, i) => `n${String(from + i).padStart(4, '0')}`)
}

export function copyOf(t: Teardown, path: string): string {
  const copy = directory(t)
  for (const name of readdirSync(path)) copyFileSync(join(path, name), join(copy, name))
  return copy
}

export type Writer = { readonly child: ChildProcess; readonly acked: Set<string>; readonly ended: Promise<void> }

/** A process that writes without end; `onAcked` hears how many it was answered. */
export function endlessWriter(
  path: string,
  prefix: string,
  onAcked: (count: number, child: ChildProcess) => void,
): Writer {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'endless-writer.ts'), path, prefix], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const acked = new Set<string>()
  let rest = ''
  child.stdout.on('data', (data: Buffer) => {
    const lines = (rest + data.toString()).split('\n')
    rest = lines.pop()!
    for (const line of lines) acked.add(line)
    onAcked(acked.size, child)
  })
  return { child, acked, ended: new Promise((resolve) => child.once('close', () => resolve())) }
}

/** Runs a program to its end; its lines of standard output. */
export async function run(command: string, args: readonly string[]): Promise<readonly string[]> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let errors = ''
  child.stdout.on('data', (data: Buffer) => {
    out += data.toString()
  })
  child.stderr.on('data', (data: Buffer) => {
    errors += data.toString()
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${errors.slice(-2000)}`)
  return out.split('\n').filter((line) => line !== '')
}

/** Whether a program is there; what needs it is left out and named otherwise, or fails with --all. */
export function hasProgram(
  t: { fail(message: string): void; comment(message: string): void },
  name: string,
  debianPackage: string,
): boolean {
  if ((process.env.PATH ?? '').split(delimiter).some((path) => existsSync(join(path, name)))) return true
  const what = `${name} (remedy: apt-get install ${debianPackage})`
  if (process.env.RELEVO_TEST_ALL === '1') t.fail(`nothing may be left out: ${what}`)
  else t.comment(`left out: what is shown by ${what}`)
  return false
}
