import { parseArgs } from 'node:util'
import { ControlGroup } from './cgroup.ts'
import { type Case, SINK, type Subject } from './contract.ts'
import { Ground } from './ground.ts'
import { PostfixSubject } from './postfix.ts'
import { RelevoSubject } from './relevo.ts'

const HELP = `usage: scripts/bench throughput [OPTION...]

Relevo and Postfix + OpenDKIM take the same load in turn and deliver it, signed with RSA-2048, to a host that keeps all mail;
afterwards mailauth verifies the signature of every message there. Both sync each message to disk before they answer. A
subject's time runs from the first byte to the last message at the host; its processor time is that of its control group.

  --scale N     so many times the messages (default 1)
  --only TEXT   only cases whose name has this text
  --rounds N    rounds of each case; the best counts (default: Relevo 1, the peer 3)
  --no-peer     Relevo alone
  --json        only the last line: {"relevo":{"perSec","cpuSecondsPer1000","peakRssMiB"},"peer":{…},"ratio","cases":[…]}
`

const { values } = parseArgs({
  options: {
    scale: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    rounds: { type: 'string' },
    'no-peer': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}
const scale = Number(values.scale)
const CASES: readonly Case[] = [
  { name: '4 KiB, 1 domain', messages: 6000, bytes: 4096, domains: 1, sessions: 50, onePerConnection: false },
  { name: '4 KiB, 200 domains', messages: 6000, bytes: 4096, domains: 200, sessions: 50, onePerConnection: false },
  { name: '64 KiB, 1 domain', messages: 2000, bytes: 65_536, domains: 1, sessions: 50, onePerConnection: false },
  {
    name: 'one a connection, STARTTLS and AUTH',
    messages: 2000,
    bytes: 4096,
    domains: 1,
    sessions: 50,
    onePerConnection: true,
  },
]
  .filter(({ name }) => name.includes(values.only))
  .map((one) => ({ ...one, messages: Math.round(one.messages * scale) }))

type Figures = { readonly perSec: number; readonly cpuSecondsPer1000: number; readonly peakRssMiB: number }
const say = (text: string): void => {
  if (!values.json) process.stdout.write(`${text}\n`)
}

await using ground = await Ground.open()

// The bench itself against each other: were it slower than this, it would measure itself.
const alone = await ground.measure(
  { name: 'load and sink', messages: 20_000, bytes: 4096, domains: 1, sessions: 50, onePerConnection: false },
  SINK,
)
say(`load against sink alone: ${Math.round((20_000 / alone.ms) * 1000)} messages a second`)

const subjects: Subject[] = [
  new RelevoSubject(ground.directory),
  ...(values['no-peer'] ? [] : [new PostfixSubject(ground.directory)]),
]
const results: { name: string; relevo?: Figures; peer?: Figures; ratio?: number }[] = []
for (const load of CASES) {
  const result: (typeof results)[number] = { name: load.name }
  for (const subject of subjects) {
    const rounds = Number(values.rounds ?? (subject.name === 'relevo' ? 1 : 3))
    let best: Figures | null = null
    for (let round = 0; round < rounds; round++) {
      const seen = await run(subject, load)
      if (best === null || seen.perSec > best.perSec) best = seen
    }
    if (subject.name === 'relevo') result.relevo = best!
    else result.peer = best!
    say(
      `${load.name.padEnd(38)} ${`${subject.name} ${subject.version}`.padEnd(26)} ${best!.perSec} a second, ${best!.cpuSecondsPer1000} CPU s per 1,000, peak ${best!.peakRssMiB} MiB`,
    )
  }
  if (result.relevo && result.peer) {
    result.ratio = round(result.relevo.perSec / result.peer.perSec, 2)
    say(`${load.name.padEnd(38)} ratio ${result.ratio}`)
  }
  results.push(result)
}
const [first] = results
process.stdout.write(
  `${JSON.stringify({ relevo: first?.relevo, peer: first?.peer, ratio: first?.ratio, cases: results })}\n`,
)

/** A fresh start, a little load to warm it, then the measured one; throws when a message or a signature is missing. */
async function run(subject: Subject, load: Case): Promise<Figures> {
  const group = new ControlGroup(subject.name.replace('+', '-'))
  try {
    await subject.start(group.path)
    const at = { host: '127.0.0.1', port: load.onePerConnection ? subject.loginPort : subject.plainPort }
    await ground.measure({ ...load, messages: Math.min(500, load.messages) }, at)
    group.watchMemory()
    const before = group.cpuSeconds()
    const { ms } = await ground.measure(load, at)
    const cpu = group.cpuSeconds() - before
    const peak = group.peakMemory()
    const { taken, different, good } = await ground.verify(subject.keys())
    if (taken !== load.messages || different !== load.messages || good !== load.messages)
      throw new Error(
        `${subject.name}, ${load.name}: of ${load.messages} messages ${taken} arrived, ${different} different, ${good} with valid signatures`,
      )
    await subject.stop()
    return {
      perSec: Math.round((load.messages / ms) * 1000),
      cpuSecondsPer1000: round((cpu / load.messages) * 1000, 3),
      peakRssMiB: Math.round(peak),
    }
  } finally {
    await subject.stop().catch(() => {})
    await group.end()
  }
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
