// full-disk.ts DIRECTORY: DIRECTORY is a small file system of its own. Fills it while writing, makes room again, and prints
// what it saw as one line of JSON.
import { closeSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Records } from '#store'
import { names, open, setting } from './store-rig.ts'

const [directory = ''] = process.argv.slice(2)
const filler = join(directory, 'filler')
const data = join(directory, 'data')
const acked: string[] = []
const refused: { name: string; code: string }[] = []
const failures: string[] = []
let readWhileFull = 0
let from = 0
{
  await using database = await open(data, { onFailure: (error) => failures.push(error.code) })
  const records = new Records(database)
  const round = (from: number): Promise<unknown> =>
    Promise.all(
      Array.from({ length: 20 }, (_, i) => {
        const name = `n${String(from + i).padStart(5, '0')}`
        return records.write(setting(records, name, 'x'.repeat(4000))).then(
          () => acked.push(name),
          (error: { code: string }) => refused.push({ name, code: error.code }),
        )
      }),
    )
  writeFileSync(filler, Buffer.alloc(4_000_000))
  for (; refused.length < 100 && from < 4000; from += 20) await round(from)
  readWhileFull = (await names(records)).length
  await database.ping()
  rmSync(filler)
  for (const end = from + 60; from < end; from += 20) await round(from)
}
const there = await (async () => {
  await using database = await open(data)
  return new Set(await names(new Records(database)))
})()

// A start while there is no room at all, of this store and of a new one.
const startedFull: string[] = []
const fd = openSync(filler, 'w')
try {
  for (;;) writeSync(fd, Buffer.alloc(4096))
} catch {
  // Full.
}
for (const path of [data, join(directory, 'new')])
  startedFull.push(
    await open(path).then(
      (database) => database[Symbol.asyncDispose]().then(() => 'opened'),
      (error: { code: string }) => error.code,
    ),
  )
closeSync(fd)
rmSync(filler)
for (const path of [data, join(directory, 'new')]) await (await open(path))[Symbol.asyncDispose]()

console.log(
  JSON.stringify({
    acked: acked.length,
    ackedBeforeFull: readWhileFull,
    lost: acked.filter((name) => !there.has(name)).length,
    refused: refused.length,
    keptOfRefused: refused.filter(({ name }) => there.has(name)).length,
    codes: [...new Set(refused.map(({ code }) => code))],
    refusedWithRoom: refused.filter(({ name }) => Number(name.slice(1)) >= from - 60).length,
    failures,
    startedFull,
  }),
)
