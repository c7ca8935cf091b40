// endless-writer.ts DIRECTORY PREFIX: writes settings until it is killed, and prints the name of each once it is answered.
import { Records } from '#store'
import { open, setting } from './store-rig.ts'

const [directory = '', prefix = ''] = process.argv.slice(2)
const database = await open(directory)
const records = new Records(database)

async function loop(lane: number): Promise<never> {
  for (let i = 0; ; i++) {
    const name = `${prefix}-${lane}-${i}`
    await records.write(setting(records, name, 'x'.repeat(500)))
    process.stdout.write(`${name}\n`)
  }
}

await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(loop))
