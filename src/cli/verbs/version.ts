import type { Command } from '../verb.ts'
import { versionOfPackage } from '../version-of-package.ts'

export const version: Command = {
  summary: 'Shows the version.',
  async run({ out }) {
    const version = versionOfPackage()
    out.done(`relevo ${version}`, { version })
    return undefined
  },
}
