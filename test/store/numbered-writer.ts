// numbered-writer.ts DIRECTORY COUNT: writes COUNT settings, one after the other. Prints `open`, then `acked NAME` or
// `refused NAME CODE` for each, and `failed CODE` when the store says it cannot go on. Lines are written at once.
import { writeSync } from 'node:fs'
import { Records } from '#store'
import { open, setting } from './store-rig.ts'

const [directory = '', count = '0'] = process.argv.slice(2)
const say = (line: string): void => {
  writeSync(1, `${line}\n`)
}
const database = await open(directory, { onFailure: (error) => say(`failed ${error.code}`) })
const records = new Records(database)
say('open')
for (let i = 0; i < Number(count); i++) {
  const name = `n${String(i).padStart(4, '0')}`
  await records.write(setting(records, name, 'x'.repeat(4000))).then(
    () => say(`acked ${name}`),
    (error: { code: string }) => say(`refused ${name} ${error.code}`),
  )
}
await database[Symbol.asyncDispose]()
