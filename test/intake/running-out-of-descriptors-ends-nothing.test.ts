import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { Wire } from './rig.ts'

void t.test('more connections than descriptors: the process lives and goes on taking mail', async (t) => {
  const script = join(import.meta.dirname, 'scarce-descriptors.ts')
  const child = spawn('bash', ['-c', `ulimit -n 80; exec "$0" "$1"`, process.execPath, script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const port = Number(line.toString().trim())
  const standing = Wire.open(port)
  t.match(await standing.reply(), /^220 /)
  const wires = Array.from({ length: 150 }, () => Wire.open(port))
  const answers = await Promise.all(wires.map((wire) => wire.reply(1500).catch(() => 'nothing')))
  const greeted = answers.filter((answer) => answer?.startsWith('220 ')).length
  t.ok(greeted > 5 && greeted < 150, `${greeted} of 150 were greeted`)
  t.match(await standing.say('EHLO client.example'), /^250-/, 'sessions that stand go on')
  t.equal(child.exitCode, null)
  for (const wire of wires) wire.close()
  let again: string | null = null
  for (let i = 0; i < 40 && !again?.startsWith('220 '); i++) {
    const wire = Wire.open(port)
    again = await wire.reply(500).catch(() => null)
    wire.close()
  }
  t.match(again, /^220 /, 'and new ones are taken again')
  child.stdin.write('end\n')
  const [code] = (await once(child, 'exit')) as [number]
  t.equal(code, 0)
})
