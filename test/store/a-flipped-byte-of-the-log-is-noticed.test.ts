import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Records } from '#store'
import { copyOf, directory, endlessWriter, names, open } from './store-rig.ts'

const FLIPS = 16

t.setTimeout(120_000)

void t.test(`a byte flipped anywhere in the write-ahead log: ${FLIPS} places, no commit goes unnoticed`, async (t) => {
  const path = directory(t)
  const { acked, ended } = endlessWriter(path, 'w', (count, child) => {
    if (count > 150) child.kill('SIGKILL')
  })
  await ended
  const wal = readFileSync(join(path, 'relevo.db-wal'))
  t.ok(wal.length > 1_000_000, `${wal.length} bytes`)
  let refused = 0
  for (let flip = 0; flip < FLIPS; flip++) {
    const copy = copyOf(t, path)
    const at = Math.floor(((flip + 0.5) / FLIPS) * wal.length)
    const damaged = Buffer.from(wal)
    damaged[at] = damaged[at]! ^ 0x10
    writeFileSync(join(copy, 'relevo.db-wal'), damaged)
    try {
      await using database = await open(copy)
      const there = new Set(await names(new Records(database)))
      const lost = [...acked].filter((name) => !there.has(name))
      t.same(lost, [], `byte ${at}: opened, and all is there`)
    } catch (error) {
      t.match(error, { code: /^(store-lags|damaged-store)$/ }, `byte ${at}`)
      refused += 1
    }
    rmSync(copy, { recursive: true })
  }
  t.ok(refused > FLIPS / 2, `${refused} refused`)
})
