import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import Sqlite from 'better-sqlite3'
import { Fault } from '#base'
import { asFault, DATABASE } from './open-file.ts'
import { loadModules, type ModuleSource } from './worker-context.ts'
import { type Answer, type Call, type FromWorker, toWire } from './worker-link.ts'

// The reader thread: a read-only connection for look-ups, lists and metrics, beside the writer (WAL lets both go on).

const port = parentPort!
const { directory, modules: sources } = workerData as { directory: string; modules: readonly ModuleSource[] }

function post(message: FromWorker): void {
  port.postMessage(message)
}

try {
  const db = new Sqlite(join(directory, DATABASE), { readonly: true })
  db.exec('PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY')
  const { modules, ops } = await loadModules(sources, db, directory, 'reader')
  port.on('message', (message: Call[] | 'close') => {
    if (message === 'close') {
      for (const module of modules) module.close?.()
      db.close()
      post({ kind: 'closed' })
      port.close()
      return
    }
    post({
      kind: 'answers',
      answers: message.map(({ id, op, args }): Answer => {
        try {
          if (op === 'ping') return [id, true, null]
          const run = ops.get(op)
          if (run === undefined) throw new Fault(`the store has no operation ${op}`, { code: 'no-such-operation' })
          return [id, true, run(args)]
        } catch (error) {
          return [id, false, toWire(error)]
        }
      }),
    })
  })
  post({ kind: 'ready', info: null })
} catch (error) {
  post({ kind: 'refused', error: toWire(asFault(directory, error)) })
}
