import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { EX, Fault, systemClock } from '#base'
import type { Migrations, WorkerModule } from './module.ts'
import { asFault, isFull, type OpenFile, openFile } from './open-file.ts'
import { loadModules, type ModuleSource } from './worker-context.ts'
import { type Answer, type Call, CORRUPT_REMEDY, type FromWorker, isCorrupt, toWire } from './worker-link.ts'

// The writer thread. Everything that waits becomes one transaction: run every op, sync what the rooms wrote beside the
// database, COMMIT (synchronous=FULL), advance the commit counter, and only then answer.

type Data = {
  readonly directory: string
  readonly modules: readonly (ModuleSource & { readonly name: string; readonly migrations: Migrations })[]
  readonly acceptLoss: boolean
}

/** Commits in the database when it was opened, and those that the counter knew of (null: it could not be believed). */
export type OpenInfo = { readonly commits: number; readonly counted: number | null }

const MAX_BATCH = 1000
/** Pages of the write-ahead log (16 KiB each) that wait for the database file before they are moved there. */
const CHECKPOINT_PAGES = 1000
/** Without a write for this long, what waits is moved too, so that a start after it has little to recover. */
const IDLE_MS = 2000
const port = parentPort!
const { directory, modules: sources, acceptLoss } = workerData as Data

let file: OpenFile
let modules: readonly WorkerModule[] = []
let ops: ReadonlyMap<string, (args: unknown) => unknown> = new Map()
let reads: ReadonlyMap<string, (args: unknown) => unknown> = new Map()
let commits = 0
let failure: Fault | null = null
let begin: () => void
let count: () => void
let commit: () => void
let rollback: () => void
let frames: () => { readonly log: number; readonly checkpointed: number }
let cancelIdle: (() => void) | null = null

function post(message: FromWorker): void {
  port.postMessage(message)
}

try {
  file = openFile(directory, sources, acceptLoss)
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
  const noop = db.prepare('PRAGMA wal_checkpoint(NOOP)')
  frames = () => noop.get() as { log: number; checkpointed: number }
  count = run("UPDATE store_state SET value = value + 1 WHERE name = 'commits'")
  const loaded = await loadModules(sources, db, directory, 'writer')
  modules = loaded.modules
  ops = loaded.ops
  reads = loaded.reads
  port.on('message', onMessage)
  post({ kind: 'ready', info: { commits, counted: file.counted } satisfies OpenInfo })
} catch (error) {
  post({ kind: 'refused', error: toWire(asFault(directory, error)) })
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
  else tidy()
}

/** After the answers: keeps the write-ahead log short. */
function tidy(): void {
  if (failure !== null) return
  const { log, checkpointed } = frames()
  const waiting = log - checkpointed
  if (waiting >= CHECKPOINT_PAGES) checkpoint()
  else if (waiting > 0) {
    cancelIdle?.()
    cancelIdle = systemClock.after(IDLE_MS, checkpoint)
  }
}

function checkpoint(): void {
  cancelIdle?.()
  cancelIdle = null
  try {
    file.db.pragma('wal_checkpoint(PASSIVE)')
  } catch (error) {
    // On a full disk everything stays in the log, where it is safe.
    if (!isFull(error)) fail(error)
  }
}

function runBatch(calls: readonly Call[]): void {
  const writesNothing = ({ op }: Call): boolean => op === 'ping' || reads.has(op)
  const others = calls.filter(writesNothing)
  const answers = perform(others.length === 0 ? calls : calls.filter((call) => !writesNothing(call)))
  post({ kind: 'answers', answers: [...answers, ...others.map(answerOther)] })
}

/** What writes nothing: after the writes that came with it, outside their transaction. */
function answerOther({ id, op, args }: Call): Answer {
  if (op === 'ping') return [id, true, { commits }]
  try {
    return [id, true, reads.get(op)!(args)]
  } catch (error) {
    return [id, false, toWire(asFault(directory, error))]
  }
}

/**
 * One commit of all, as a rule. When an op throws, everything is undone (in the modules' memory too, which a savepoint
 * would not reach), those before it are committed, it alone gets its error, and those behind it follow in the next commit.
 */
function perform(writes: readonly Call[]): readonly Answer[] {
  const answers: Answer[] = []
  let rest = writes
  while (rest.length > 0) {
    const { kept, thrown } = attempt(rest)
    if (thrown === null) return answers.concat(kept)
    const at = kept.length
    answers.push(...perform(rest.slice(0, at)), [rest[at]!.id, false, toWire(thrown)])
    rest = rest.slice(at + 1)
  }
  return answers
}

type Attempt = {
  /** Answers of the ops, up to the one that threw. */
  readonly kept: readonly Answer[]
  /** What the op behind them threw: nothing was kept. Null: it is over, all are answered. */
  readonly thrown: unknown
}

function attempt(writes: readonly Call[]): Attempt {
  if (failure !== null) return { kept: refuseAll(writes, failure), thrown: null }
  try {
    return batch(writes)
  } catch (error) {
    if (failure === null && !isFull(error)) fail(error)
    return { kept: refuseAll(writes, failure ?? error), thrown: null }
  }
}

/** Throws when the batch as a whole could not be made durable. */
function batch(writes: readonly Call[]): Attempt {
  const kept: Answer[] = []
  begin()
  try {
    for (const { id, op, args } of writes) {
      try {
        const run = ops.get(op)
        if (run === undefined) throw new Fault(`the store has no operation ${op}`, { code: 'no-such-operation' })
        kept.push([id, true, run(args)])
      } catch (error) {
        if (isFatal(error)) throw error
        undoBatch()
        return { kept, thrown: error }
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
  try {
    file.counter.advance(commits)
    for (const module of modules) module.afterCommit?.()
  } catch (error) {
    // Kept, but whether it can be told is not known: whatever the error, no later write may count on this file.
    fail(error)
    throw error
  }
  return { kept, thrown: null }
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
  if (failure !== null) return
  const { message } = error as Error
  failure = new Fault(`the store cannot be written any more: ${message}`, {
    code: 'store-failed',
    remedy: isCorrupt(error)
      ? CORRUPT_REMEDY
      : 'Check the disk and the system log, then start Relevo again; what was answered 250 is on the disk.',
    exitCode: EX.IOERR,
    cause: error,
  })
  post({ kind: 'failed', error: toWire(failure) })
}

function refuseAll(calls: readonly Call[], error: unknown): readonly Answer[] {
  return calls.map(({ id }): Answer => [id, false, toWire(error)])
}

function close(): void {
  cancelIdle?.()
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
