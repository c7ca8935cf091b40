import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ControlGroup } from './cgroup.ts'
import { flameGraph, type Profile, selfTimes } from './flame-graph.ts'
import { Ground } from './ground.ts'
import { RelevoSubject } from './relevo.ts'

const HELP = `usage: scripts/bench profile [--messages N] [--bytes N] [--to DIRECTORY]

Where the time goes while Relevo takes and delivers mail: a profile of each of its threads (.cpuprofile, for Chromium's DevTools), a
flame graph of each (.svg), and the functions that take most, as a table.
`
const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '8000' },
    bytes: { type: 'string', default: '4096' },
    to: { type: 'string', default: '.cache/bench/profile' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}
const to = join(process.cwd(), values.to)
rmSync(to, { recursive: true, force: true })
mkdirSync(to, { recursive: true })

await using ground = await Ground.open()
const subject = new RelevoSubject(ground.directory, { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${to}` })
const group = new ControlGroup('profile')
const load = {
  name: 'profile',
  messages: Number(values.messages),
  bytes: Number(values.bytes),
  domains: 1,
  sessions: 50,
  onePerConnection: false,
}
try {
  await subject.start(group.path)
  const { ms } = await ground.measure(load, { host: '127.0.0.1', port: subject.plainPort })
  process.stdout.write(`${Math.round((load.messages / ms) * 1000)} messages a second while profiled\n`)
  await subject.stop()
} finally {
  await group.end()
}
for (const name of readdirSync(to).filter((file) => file.endsWith('.cpuprofile'))) {
  const profile = JSON.parse(readFileSync(join(to, name), 'utf8')) as Profile
  // Threads that did nothing have nothing to show.
  const { busyMs, lines } = selfTimes(profile)
  if (busyMs < 300) continue
  const svg = name.replace('.cpuprofile', '.svg')
  writeFileSync(join(to, svg), flameGraph(profile))
  process.stdout.write(
    `\n${join(values.to, svg)}: ${Math.round(busyMs)} ms busy, ${((busyMs / load.messages) * 1000).toFixed(0)} µs a message\n`,
  )
  for (const { at, ms } of lines.slice(0, 25))
    process.stdout.write(`${((ms / busyMs) * 100).toFixed(1).padStart(6)} %  ${at}\n`)
}
