// endless-writer.ts DIRECTORY PREFIX: writes settings until it is killed, and prints the name of each once it is answered.
import { openDatabase, Records } from '#store'

const [directory = '', prefix = ''] = process.argv.slice(2)
const database = await openDatabase({ directory, modules: [] })
const records = new Records(database)

async function loop(lane: number): Promise<never> {
  for (let i = 0; ; i++) {
    const name = `${prefix}-${lane}-${i}`
    await records.write(records.query.insertInto('settings').values({ name, value: 'x'.repeat(500), updated_ms: 1 }))
    process.stdout.write(`${name}\n`)
  }
}

await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(loop))
