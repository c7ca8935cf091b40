// The daemon in 256 MiB of memory, with 2,000 clients that send a byte now and then and 100 messages of 25 MB at once: whoever there is no
// room for is told to come again (421, 452), the kernel kills nothing, small mail goes on, and nothing acknowledged is lost. Needs root.
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { load } from '#world'
import { DaemonRig, DOMAIN } from '../../test/daemon/daemon-rig.ts'
import { MemoryLimit } from './crash/memory-limit.ts'
import { optionsOf } from './crash/options.ts'

const options = optionsOf('memory.ts', 'little memory, many slow clients, large messages; nothing is killed or lost', {
  limit: [256, 'memory of the daemon, MiB'],
  slow: [2000, 'slow clients'],
  messages: [100, 'large messages'],
  megabytes: [25, 'the size of each'],
  sessions: [25, 'of them at one time'],
})
const say = (text: string): void => {
  if (!options.json) console.log(text)
}

using limit = new MemoryLimit(`relevo-prove-${process.pid}`, options.limit)
await using rig = await DaemonRig.open({
  prefix: limit.prefix,
  submission: 'max_connections = 4000\nmax_connections_per_address = 4000',
})
const { pid } = rig.process!
say(`at rest ${Math.round(rig.rssMiB())} MiB`)

const slow: Socket[] = []
for (let n = 0; n < options.slow; n++) {
  const socket = connect(rig.ports.trusted, '127.0.0.1')
  socket.on('error', () => {})
  socket.on('data', () => {})
  slow.push(socket)
  if (n % 100 === 99) await pause(20)
}
const trickle = setInterval(() => {
  for (const socket of slow) if (socket.writable) socket.write('E')
}, 5000)
await pause(2000)
say(`with ${slow.filter((socket) => !socket.destroyed).length} slow clients ${Math.round(rig.rssMiB())} MiB`)

const small = load({
  ...{ port: rig.ports.trusted, sessions: 2, messages: 200, from: `app@${DOMAIN}`, pauseMs: 20 },
  to: (n) => `small${n}@good.test`,
})
const large = load({
  ...{ port: rig.ports.trusted, sessions: options.sessions, messages: options.messages, from: `app@${DOMAIN}` },
  ...{ bodyBytes: options.megabytes * 1e6, perConnection: 2 },
  to: (n) => `large${n}@good.test`,
})
let peakRssMiB = 0
const watch = setInterval(() => {
  if (rig.process?.exitCode === null && rig.process.signalCode === null) peakRssMiB = Math.max(peakRssMiB, rig.rssMiB())
}, 100)
const [smallDone, largeDone] = await Promise.race([
  Promise.all([small, large]),
  new Promise<never>((_, reject) =>
    rig.process?.once('exit', (code, by) => reject(new Error(`it ended: ${code ?? by}`))),
  ),
])
const acked = [...smallDone.acked, ...largeDone.acked]
const delivered = await rig.until(() => acked.every((id) => rig.taken().has(id)), 180_000)
clearInterval(watch)
clearInterval(trickle)
for (const socket of slow) socket.destroy()
const answers: Record<string, number> = {}
for (const answer of largeDone.refused) {
  const code = /\b[45]\d\d \d\.\d\.\d/.exec(answer)?.[0] ?? answer.slice(0, 40)
  answers[code] = (answers[code] ?? 0) + 1
}
const result = {
  limitMiB: options.limit,
  smallAcked: smallDone.acked.size,
  smallRefused: smallDone.refused.length,
  largeAcked: largeDone.acked.size,
  largeRefused: answers,
  broken: largeDone.broken,
  delivered,
  killedByKernel: limit.killed(),
  peakRssMiB: Math.round(peakRssMiB),
  peakOfGroupMiB: limit.peakMiB(),
  samePid: rig.process?.pid === pid && rig.process?.exitCode === null,
}
const temporary =
  Object.keys(answers).every((answer) => /^(421|452|451)/.test(answer)) &&
  smallDone.refused.every((answer) => /\b(421|452|451) /.test(answer))
const holds = result.samePid && delivered && result.killedByKernel === 0 && temporary && result.smallAcked > 150
console.log(JSON.stringify({ ...result, holds }))
await rig.end('SIGKILL')
await pause(500)
process.exitCode = holds ? 0 : 1
