import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { Fault } from '#base'
import type { Migrations, WorkerModule } from './module.ts'
import { type OpenFile, openFile } from './open-file.ts'
import { loadModules, type ModuleSource } from './worker-context.ts'
import { type Answer, type Call, type FromWorker, toWire } from './worker-link.ts'

// The writer thread. Everything that waits becomes one transaction: run every op, sync what the rooms wrote beside the
// database, COMMIT (synchronous=FULL), advance the commit counter, and only then answer.

type Data = {
  readonly directory: string
  readonly modules: readonly (ModuleSource & { readonly name: string; readonly migrations: Migrations })[]
}

const MAX_BATCH = 1000
const port = parentPort!
const { directory, modules: sources } = workerData as Data

let file: OpenFile
let modules: readonly WorkerModule[] = []
let ops: ReadonlyMap<string, (args: unknown) => unknown> = new Map()
let commits = 0
let failure: Fault | null = null
let begin: () => void
let count: () => void
let commit: () => void
let rollback: () => void
let savepoint: () => void
let release: () => void
let undo: () => void

function post(message: FromWorker): void {
  port.postMessage(message)
}

try {
  file = openFile(directory, sources)
  const { db } = file
  commits = file.commits
  const run = (sql: string) => {
    const statement = db.prepare(sql)
    return () => {
      statement.run()
    }
  }
  begin = run('BEGIN IMMEDIATE')
  commit = run('COMMIT')
  rollback = run('ROLLBACK')
  savepoint = run('SAVEPOINT one')
  release = run('RELEASE one')
  undo = run('ROLLBACK TO one')
  count = run("UPDATE store_state SET value = value + 1 WHERE name = 'commits'")
  const loaded = await loadModules(sources, db, directory, 'writer')
  modules = loaded.modules
  ops = loaded.ops
  port.on('message', onMessage)
  post({ kind: 'ready', info: { commits } })
} catch (error) {
  post({ kind: 'refused', error: toWire(error) })
}

function onMessage(first: Call[] | 'close'): void {
  let closing = first === 'close'
  const calls: Call[] = first === 'close' ? [] : [...first]
  while (!closing) {
    const next = receiveMessageOnPort(port)
    if (next === undefined) break
    if (next.message === 'close') closing = true
    else calls.push(...(next.message as Call[]))
  }
  for (let at = 0; at < calls.length; at += MAX_BATCH) runBatch(calls.slice(at, at + MAX_BATCH))
  if (closing) close()
}

function runBatch(calls: readonly Call[]): void {
  const pings = calls.filter((call) => call.op === 'ping')
  const writes = calls.filter((call) => call.op !== 'ping')
  let answers: readonly Answer[] = []
  if (writes.length > 0) answers = failure === null ? attempt(writes) : refuseAll(writes, failure)
  post({ kind: 'answers', answers: [...answers, ...pings.map(({ id }): Answer => [id, true, { commits }])] })
}

function attempt(writes: readonly Call[]): readonly Answer[] {
  try {
    // Ops rarely throw, so a batch runs without savepoints first, and again with one for each op when one did.
    return batch(writes, false) ?? batch(writes, true)!
  } catch (error) {
    const { code = '' } = error as { code?: string }
    if (code !== 'SQLITE_FULL' && code !== 'ENOSPC' && code !== 'EDQUOT') fail(error)
    return refuseAll(writes, failure ?? error)
  }
}

/** Null: an op threw and nothing was kept. Throws when the batch as a whole could not be made durable. */
function batch(writes: readonly Call[], guarded: boolean): readonly Answer[] | null {
  const answers: Answer[] = []
  begin()
  try {
    for (const { id, op, args } of writes) {
      if (guarded) savepoint()
      try {
        const run = ops.get(op)
        if (run === undefined) throw new Fault(`the store has no operation ${op}`, { code: 'no-such-operation' })
        answers.push([id, true, run(args)])
        if (guarded) release()
      } catch (error) {
        if (isFatal(error)) throw error
        if (!guarded) {
          undoBatch()
          return null
        }
        undo()
        release()
        answers.push([id, false, toWire(error)])
      }
    }
    count()
    for (const module of modules) module.beforeCommit?.()
    commit()
  } catch (error) {
    undoBatch()
    throw error
  }
  commits += 1
  file.counter.advance(commits)
  for (const module of modules) module.afterCommit?.()
  return answers
}

/** Errors that say something of the disk, not of the one op. */
function isFatal(error: unknown): boolean {
  const { code = '' } = error as { code?: string }
  return /^(SQLITE_(FULL|IOERR|CORRUPT|NOTADB|READONLY)|ENOSPC|EDQUOT|EIO|EROFS)/.test(code)
}

function undoBatch(): void {
  if (file.db.inTransaction) rollback()
  for (const module of modules) module.afterRollback?.()
}

/** After a failed write or sync the state of the disk is not known: never try the same again and go on. */
function fail(error: unknown): void {
  const { message } = error as Error
  failure = new Fault(`the store cannot be written any more: ${message}`, {
    code: 'store-failed',
    remedy: 'Check the disk and the system log, then start Relevo again; what was answered 250 is on the disk.',
    cause: error,
  })
  post({ kind: 'failed', error: toWire(failure) })
}

function refuseAll(calls: readonly Call[], error: unknown): readonly Answer[] {
  return calls.map(({ id }): Answer => [id, false, toWire(error)])
}

function close(): void {
  for (const module of modules) module.close?.()
  try {
    if (failure === null) file.db.pragma('wal_checkpoint(TRUNCATE)')
  } finally {
    file.db.close()
    file.counter.close()
    file.lock.close()
    post({ kind: 'closed' })
    port.close()
  }
}
