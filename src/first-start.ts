import { globSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

// Loads the whole daemon and ends, so that its compiled code lies in the cache: the launcher runs this before the first start of
// an installation. What compiles TypeScript takes 25 MB, which a daemon that did it itself would keep until its next start.

const threads = globSync(
  ['writer.ts', 'reader.ts', '*worker.ts'].map((name) => `**/${name}`),
  { cwd: import.meta.dirname },
)
// A thread's script ends at once where there is no thread, but is compiled by then.
for (const path of ['main.ts', 'daemon.ts', 'cli/verbs/serve.ts', 'config/index.ts', ...threads])
  await import(pathToFileURL(join(import.meta.dirname, path)).href).catch(() => {})
flushCompileCache()
process.exitCode = 0
