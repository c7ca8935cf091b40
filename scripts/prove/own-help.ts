import { readFileSync } from 'node:fs'

/** With --help: prints the comment that a script begins with, and ends. */
export function ownHelp(file: string, argv: readonly string[]): void {
  if (!argv.includes('--help') && !argv.includes('-h')) return
  const lines = readFileSync(file, 'utf8').split('\n')
  const end = lines.findIndex((line) => !line.startsWith('//'))
  process.stdout.write(
    `${lines
      .slice(0, end)
      .map((line) => line.slice(3))
      .join('\n')}\n`,
  )
  process.exit(0)
}
