import { readFileSync } from 'node:fs'
import type { Command } from '../verb.ts'

export const version: Command = {
  summary: 'Shows the version.',
  async run({ out }) {
    const file = new URL('../../../package.json', import.meta.url)
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
    out.done(`relevo ${version}`, { version })
    return undefined
  },
}
