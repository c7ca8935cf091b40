import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import { messageOf } from '#base'
import type { Problem } from './problem.ts'
import type { Settings } from './settings.ts'

export const DEFAULT_FILE = '/etc/relevo/relevo.toml'

export type Files = {
  /** The main file; must exist when given. Default: /etc/relevo/relevo.toml when it is there. */
  readonly file?: string
  /** Where the `*.toml` files that follow it lie. Default: conf.d beside the main file. */
  readonly confDir?: string
}

/** Reads the main file and conf.d into the settings; answers with the files read. What cannot be read or parsed becomes a problem. */
export function readFiles({ file, confDir }: Files, settings: Settings, problems: Problem[]): readonly string[] {
  const main = file ?? DEFAULT_FILE
  const read: string[] = []
  for (const path of [main, ...included(confDir ?? join(dirname(main), 'conf.d'), confDir !== undefined, problems)]) {
    let text: string
    try {
      text = readFileSync(path, 'utf8')
    } catch (error) {
      if (path === main && file === undefined && isCode(error, 'ENOENT')) continue
      problems.push(unreadable(path, error))
      continue
    }
    read.push(path)
    try {
      const document = parse(text)
      const lines = linesOf(text)
      settings.merge(document, (keys) => {
        const line = lines.get(keys.join('.')) ?? lines.get(keys[0]!)
        return { name: line === undefined ? path : `${path}:${line}`, directory: dirname(path) }
      })
    } catch (error) {
      if (!(error instanceof TomlError)) throw error
      const [first = ''] = error.message.split('\n')
      problems.push({
        field: '',
        where: `${path}:${error.line}`,
        message: `not TOML at column ${error.column}: ${first.replace('Invalid TOML document: ', '')}`,
        remedy: 'Correct the line; texts stand in quotes, lists in brackets',
      })
    }
  }
  return read
}

function included(directory: string, wanted: boolean, problems: Problem[]): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.toml') && !name.startsWith('.'))
      .sort()
      .map((name) => join(directory, name))
  } catch (error) {
    if (wanted || !isCode(error, 'ENOENT')) problems.push(unreadable(directory, error))
    return []
  }
}

function unreadable(path: string, error: unknown): Problem {
  return {
    field: '',
    where: path,
    message: isCode(error, 'ENOENT') ? 'there is no such file' : `cannot be read: ${messageOf(error)}`,
    remedy: isCode(error, 'ENOENT')
      ? 'Name the file by --config, or write one from config/relevo.sample.toml'
      : 'Let the user that Relevo runs as read it',
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/** Line numbers of keys and section headers, for error messages only: TOML itself is read by the parser. */
function linesOf(text: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>()
  let section = ''
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    const header = /^\[{1,2}([^\]]{1,200})\]/.exec(line)
    if (header !== null) {
      section = unquoted(header[1]!)
      if (!lines.has(section)) lines.set(section, i + 1)
      continue
    }
    const end = line.indexOf('=')
    if (end <= 0 || line.startsWith('#')) continue
    const key = unquoted(line.slice(0, end))
    lines.set(section === '' ? key : `${section}.${key}`, i + 1)
  }
  return lines
}

function unquoted(key: string): string {
  return key
    .split('.')
    .map((part) => part.trim().replace(/^["']|["']$/g, ''))
    .join('.')
}
