import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import t from 'tap'
import { EX } from '#base'
import { ConfigFault, loadConfig } from '#config'
import { configRoom, readBad } from './bad-config-room.ts'

const BAD = join(import.meta.dirname, 'bad')

void t.test('each file of bad/ is refused with exactly the errors it expects, all at once', async (t) => {
  await using room = await configRoom()
  const files = readdirSync(BAD).filter((name) => name.endsWith('.toml'))
  t.ok(files.length >= 25, `${files.length} bad configurations`)
  for (const name of files) {
    const { toml, expected } = await readBad(join(BAD, name))
    const file = room.join('relevo.toml')
    await writeFile(file, toml)
    let told: ConfigFault | undefined
    try {
      loadConfig({ file })
    } catch (error) {
      told = error as ConfigFault
    }
    if (!(told instanceof ConfigFault)) {
      t.fail(`${name} was not refused: ${String(told)}`)
      continue
    }
    t.strictSame(
      told.problems.map(({ where, message, remedy }) =>
        `${where}: ${message}. ${remedy}`.replaceAll(`${room.path}/`, ''),
      ),
      expected,
      basename(name, '.toml'),
    )
    t.equal(told.exitCode, EX.CONFIG)
    t.ok(told.problems.every((problem) => problem.remedy !== '' && told.message.includes(problem.message)))
  }
})
