import {
  closeSync,
  cpSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { Fault, silentLog } from '#base'
import { DamagedContent, type NewMessage, Queue, type RecipientState } from '#queue'
import { manualClock } from '#world'
import { body, message, queued, settlement, T0 } from '../contract/queue-messages.ts'
import { openSqlite, queueDefaults } from '../contract/sqlite-driver.ts'

/** Numbers from 0 up to 1, the same for the same seed. */
export type Random = () => number

type Kept = { readonly message: NewMessage; readonly state: RecipientState }

/** A store with mail in every state, as a kill leaves it, and what is in it. */
export type Specimen = {
  /** Written to the database file; and the same with its last commits in the log only. */
  readonly closed: string
  readonly cut: string
  readonly kept: ReadonlyMap<string, Kept>
}

const SETTINGS = { inline_max_bytes: 3000, segment_bytes: 200_000, min_free_bytes: 0 }

/** @param room an empty directory */
export async function makeSpecimen(room: string, messages: number): Promise<Specimen> {
  const source = join(room, 'source')
  const kept = new Map<string, Kept>()
  const cut = join(room, 'cut')
  {
    await using opened = await openSqlite(source, SETTINGS)
    const { store } = opened
    for (let n = 0; n < messages; n++) {
      const mail = message([`u${n}@d${n % 7}.example`], {
        id: `m${n}`,
        content: body(`mail ${n}`, n % 3 === 0 ? 8000 : 500 + (n % 50) * 40),
        envelopeId: `env${n}`,
        ret: 'hdrs',
        campaign: `c${n % 5}`,
        metadata: { n: String(n) },
        ...(n % 6 === 5 ? { notBeforeMs: T0 + 3_600_000 } : {}),
      })
      const { due } = await store.accept(mail, queued(mail))
      const keys = due.map(({ key }) => key)
      let state: RecipientState = n % 6 === 5 ? 'scheduled' : 'ready'
      if (n % 6 === 1 || n % 6 === 2 || n % 12 === 3) {
        const [claim] = await store.lease(keys, 'node', T0, T0 + 1000)
        state = n % 6 === 1 ? 'sent' : n % 6 === 2 ? 'deferred' : 'leased'
        if (state !== 'leased')
          await store.settle([settlement(claim!, state as 'sent' | 'deferred', { dueMs: T0 + 60_000 })])
      } else if (n % 12 === 4) {
        await store.steer('hold', { messageId: mail.id }, 'by hand', T0, { dryRun: false, limit: 1 })
        state = 'held'
      }
      kept.set(mail.id, { message: mail, state })
    }
    cpSync(source, cut, { recursive: true })
  }
  for (const name of readdirSync(cut)) if (/^relevo\.(lock|pid)|-shm$/.test(name)) rmSync(join(cut, name))
  return { closed: source, cut, kept }
}

/** What was done to a copy of the specimen; null: it could not be done to this one. */
export type Mutation = (directory: string, random: Random) => string | null

const whole = (random: Random, below: number): number => Math.floor(random() * below)
const pick = <T>(random: Random, from: readonly T[]): T => from[whole(random, from.length)]!

function filesOf(directory: string): string[] {
  const segments = join(directory, 'segments')
  return [
    'relevo.db',
    'relevo.db-wal',
    'relevo.commits',
    ...(existsSync(segments) ? readdirSync(segments).map((name) => `segments/${name}`) : []),
  ].filter((name) => existsSync(join(directory, name)) && statSync(join(directory, name)).size > 0)
}

function flip(path: string, random: Random, bytes = 1): string {
  const at = whole(random, statSync(path).size)
  const fd = openSync(path, 'r+')
  const old = Buffer.alloc(bytes)
  readSync(fd, old, 0, bytes, at)
  for (let i = 0; i < bytes; i++) old[i] = old[i]! ^ (1 + whole(random, 255))
  writeSync(fd, old, 0, bytes, at)
  closeSync(fd)
  return `at ${at}`
}

function flipIn(name: string): Mutation {
  return (directory, random) => {
    const path = join(directory, name)
    if (!existsSync(path) || statSync(path).size === 0) return null
    return `${name}: a byte ${flip(path, random)}`
  }
}

const flipSegment: Mutation = (directory, random) => {
  const name = pick(random, readdirSync(join(directory, 'segments')))
  return `segments/${name}: a byte ${flip(join(directory, 'segments', name), random)}`
}

const blankPage: Mutation = (directory, random) => {
  const path = join(directory, 'relevo.db')
  const pages = Math.floor(statSync(path).size / 16_384)
  if (pages === 0) return null
  const page = whole(random, pages)
  const fd = openSync(path, 'r+')
  writeSync(fd, random() < 0.5 ? Buffer.alloc(16_384) : Buffer.alloc(16_384, 0x5a), 0, 16_384, page * 16_384)
  closeSync(fd)
  return `relevo.db: page ${page + 1} overwritten`
}

const cutShort: Mutation = (directory, random) => {
  const name = pick(random, filesOf(directory))
  const path = join(directory, name)
  const to = whole(random, statSync(path).size)
  truncateSync(path, to)
  return `${name}: cut to ${to} bytes`
}

const emptied: Mutation = (directory, random) => {
  const name = pick(random, filesOf(directory))
  truncateSync(join(directory, name), 0)
  return `${name}: emptied`
}

const removed: Mutation = (directory, random) => {
  const name = pick(random, filesOf(directory))
  rmSync(join(directory, name))
  return `${name}: removed`
}

const swappedRecords: Mutation = (directory, random) => {
  const names = readdirSync(join(directory, 'segments'))
  if (names.length < 2) return null
  const [one, two] = [names[whole(random, names.length - 1)]!, names.at(-1)!]
  const path = (name: string) => join(directory, 'segments', name)
  const bytes = readFileSync(path(one))
  writeFileSync(path(one), readFileSync(path(two)))
  writeFileSync(path(two), bytes)
  return `segments/${one} and ${two}: exchanged`
}

const newerSchema: Mutation = (directory, random) => {
  const module = pick(random, ['queue', 'records'])
  sql(directory, `UPDATE schema_versions SET version = version + 1 WHERE module = '${module}'`)
  return `${module}: tables of a newer version`
}

/** A value of a row changed by one bit or letter, its indexes with it: what no check of SQLite can find. */
const alteredRow: Mutation = (directory, random) => {
  const table = pick(random, ['messages', 'recipients', 'recipients', 'bodies', 'segments', 'queue_counts'])
  const db = new Sqlite(join(directory, 'relevo.db'))
  db.pragma('foreign_keys = OFF')
  const row = db.prepare(`SELECT rowid AS rowid_, * FROM ${table} ORDER BY random() LIMIT 1`).get() as Record<
    string,
    unknown
  >
  const { rowid_: rowid, ...columns } = row
  const column = pick(random, Object.keys(columns))
  const old = columns[column]
  let made: unknown
  if (typeof old === 'number') made = old + pick(random, [1, -1, 2, 4, 256, 65_536])
  else if (typeof old === 'string') made = old === '' ? 'x' : `${old.slice(0, -1)}${old.endsWith('x') ? 'y' : 'x'}`
  else if (Buffer.isBuffer(old)) {
    made = Buffer.from(old)
    ;(made as Buffer)[whole(random, old.length)]! ^= 4
  } else made = random() < 0.5 ? 1 : 'x'
  try {
    db.prepare(`UPDATE ${table} SET ${column} = ? WHERE rowid = ?`).run(made, rowid)
  } catch {
    return null
  } finally {
    db.close()
  }
  return `${table}.${column}: ${String(old).slice(0, 20)} became ${String(made).slice(0, 20)}`
}

const lostRow: Mutation = (directory, random) => {
  const table = pick(random, ['messages', 'recipients', 'bodies', 'segments'])
  const db = new Sqlite(join(directory, 'relevo.db'))
  db.pragma('foreign_keys = OFF')
  db.exec(`DELETE FROM ${table} WHERE rowid = (SELECT rowid FROM ${table} ORDER BY random() LIMIT 1)`)
  db.close()
  return `${table}: a row is gone`
}

function sql(directory: string, text: string): void {
  const db = new Sqlite(join(directory, 'relevo.db'))
  db.exec(text)
  db.close()
}

/** Each with how often it is drawn. */
const KINDS: readonly (readonly [string, number, Mutation])[] = [
  ['a byte of the database', 8, flipIn('relevo.db')],
  ['a byte of the log', 8, flipIn('relevo.db-wal')],
  ['a byte of a segment', 4, flipSegment],
  ['a byte of the counter', 2, flipIn('relevo.commits')],
  ['a page overwritten', 3, blankPage],
  ['a row altered', 10, alteredRow],
  ['a row lost', 3, lostRow],
  ['a file cut short', 5, cutShort],
  ['a file emptied', 2, emptied],
  ['a file removed', 2, removed],
  ['files exchanged', 1, swappedRecords],
  ['a newer schema', 1, newerSchema],
]

export function drawKind(random: Random): readonly [string, Mutation] {
  let at = whole(
    random,
    KINDS.reduce((sum, [, weight]) => sum + weight, 0),
  )
  for (const [name, weight, mutation] of KINDS) {
    at -= weight
    if (at < 0) return [name, mutation]
  }
  throw new Error('no kind was drawn')
}

/** How a damaged store ended: it was refused, or mail of it is held, or nothing that matters was hit. */
export type Verdict = { readonly end: 'refused' | 'held' | 'unharmed'; readonly wrong: readonly string[] }

/** Starts on the directory, and offers all that waits until nothing does. */
export async function judge(directory: string, specimen: Specimen): Promise<Verdict> {
  const wrong: string[] = []
  const held = new Set<string>()
  const sent = new Set<string>()
  try {
    await using opened = await openSqlite(directory, SETTINGS)
    const { store } = opened
    const clock = manualClock(T0 + 86_400_000)
    const config = { ...queueDefaults, ...SETTINGS }
    await using queue = await Queue.open({ store, config, directory, owner: 'node', clock, log: silentLog })
    for (let next = queue.nextDestination(); next !== null; next = queue.nextDestination()) {
      const [claim] = await queue.claim(next.domain)
      if (claim === undefined) continue
      const { id } = claim.message
      const was = specimen.kept.get(id)
      try {
        const content = await queue.content(id)
        sent.add(id)
        if (was === undefined) wrong.push(`${id} is not known`)
        else {
          if (was.state === 'sent') wrong.push(`${id} had been sent and is sent again`)
          if (was.state === 'held') wrong.push(`${id} was held and is sent`)
          if (!content.equals(Buffer.from(was.message.content))) wrong.push(`${id}: damaged content would be sent`)
          const { address } = was.message.recipients[0]!
          const envelope = [claim.message.reversePath, claim.message.sendingDomain, claim.recipients[0]!.address]
          if (envelope.join() !== [was.message.reversePath, was.message.sendingDomain, address].join())
            wrong.push(`${id}: a damaged envelope would be sent: ${envelope.join()}`)
          if (claim.message.envelopeId !== was.message.envelopeId) wrong.push(`${id}: a damaged ENVID would be sent`)
        }
        await queue.settle([settlement(claim, 'sent', { atMs: clock.now() })])
      } catch (error) {
        if (!(error instanceof DamagedContent)) throw error
        // Its row names no message: the attempt ends without a word, and the lease says so for ever.
        held.add(id)
      }
    }
    for (const [id, { state }] of specimen.kept) {
      if (state === 'sent' || sent.has(id) || held.has(id)) continue
      // By its address, also where its row came to name another message.
      const { rows } = await store.list({ recipient: specimen.kept.get(id)!.message.recipients[0]!.address }, null, 10)
      const view = await store.message(id)
      const stands = [...(view?.recipients ?? []), ...rows.map((row) => row.recipient)].map((one) => one.state)
      if (stands.includes('held')) {
        if (state !== 'held') held.add(id)
      } else wrong.push(`${id} was ${state} and is ${stands.join() || 'not there'}: lost without a word`)
    }
  } catch (error) {
    if (error instanceof Fault && error.remedy !== undefined) return { end: 'refused', wrong }
    return { end: 'refused', wrong: [...wrong, `refused without a remedy: ${String(error)}`] }
  }
  return { end: held.size > 0 ? 'held' : 'unharmed', wrong }
}

/** The files themselves, for a run by another user. */
export function copySpecimen(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true })
  cpSync(from, to, { recursive: true })
}
