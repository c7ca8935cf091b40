// Bad destinations beside a good one: does its mail go as fast as it would alone? `node scripts/prove/neighbours.ts --help`.
// Mail is handed to a real daemon while the DNS is down, so that all of it waits; the daemon is started anew with the DNS up, and
// what is measured is the time from there until the good destination has all of its mail. First alone, then with the bad
// ones; each as often as asked, the best of each counts. Exit 1 when the bad ones cost more than is allowed.
import { BEHAVIOURS, load, type Script, type ScriptedMx, scriptedMx } from '#world'
import { DaemonRig } from '../../test/daemon/daemon-rig.ts'
import { optionsOf } from './crash/options.ts'

const options = optionsOf('neighbours', 'bad destinations must not slow a good one', {
  good: [20_000, 'messages to the good destination'],
  each: [20_000, 'messages to each bad destination'],
  bad: [3, 'bad destinations: dead, tarpit, always deferring, then other kinds in turn'],
  rounds: [1, 'runs of each kind; the best counts'],
  allowed: [20, 'per cent that the good one may take longer'],
  bytes: [1024, 'size of a message'],
})
const SESSIONS = 20
/** The first three are those of the promise; with more, every kind of bad host has its turn. */
const KINDS: readonly (readonly [string, Script])[] = [
  ['dead', BEHAVIOURS.refuse],
  ['tarpit', BEHAVIOURS.tarpit],
  ['deferring', BEHAVIOURS.mail451],
  ['silent', BEHAVIOURS.blackhole],
  ['no banner', BEHAVIOURS.nobanner],
  ['endless banner', BEHAVIOURS.endlessbanner],
  ['huge reply', BEHAVIOURS.hugereply],
  ['TLS that hangs', BEHAVIOURS.tlshang],
  ['resets', BEHAVIOURS.resetconn],
  ['deferring at the dot', BEHAVIOURS.dot451],
  ['stalls after the dot', BEHAVIOURS.stallafterdot],
  ['421 banner', BEHAVIOURS.banner421],
  ['garbage', BEHAVIOURS.garbage],
]

let alone = Number.POSITIVE_INFINITY
let together = Number.POSITIVE_INFINITY
const runs: string[] = []
for (let round = 0; round < options.rounds && !options.interrupted(); round++) {
  alone = Math.min(alone, await drainSeconds(0))
  together = Math.min(together, await drainSeconds(options.bad))
}
const ratio = together / alone
const passed = ratio <= 1 + options.allowed / 100
const round = (value: number): number => Math.round(value * 1000) / 1000
console.log(
  JSON.stringify({
    ...{ good: options.good, bad: options.bad, each: options.each },
    ...{ aloneSeconds: round(alone), togetherSeconds: round(together), ratio: round(ratio), passed, runs },
    ...{ seed: options.seed },
  }),
)
process.exitCode = passed ? 0 : 1

async function drainSeconds(bad: number): Promise<number> {
  await using stack = new AsyncDisposableStack()
  const rig = stack.use(
    await DaemonRig.open({ submission: 'max_backlog = 10000000', more: '[reputation]\nmin_samples = 100000000' }),
  )
  const hosts: ScriptedMx[] = []
  for (let i = 0; i < bad; i++) {
    const [, script] = KINDS[i % KINDS.length]!
    const address = `127.0.${1 + (i >> 7)}.${2 + (i & 127)}`
    const host = await scriptedMx({ behaviour: script, host: address, port: rig.mx.port, name: `mx.bad${i}.test` })
    if (script.listens !== false) stack.use(host)
    hosts.push(host)
    rig.dns.set(`bad${i}.test`, { MX: [[10, `mx.bad${i}.test`]] })
    rig.dns.set(`mx.bad${i}.test`, { A: [address] })
  }
  rig.dns.fail('servfail')
  // One destination after the other in turn, so that they stand mixed in the queue.
  const parts = [{ domain: 'good.test', left: options.good }]
  for (let i = 0; i < bad; i++) parts.push({ domain: `bad${i}.test`, left: options.each })
  const order: string[] = []
  for (let some = true; some; ) {
    some = false
    for (const part of parts) {
      if (part.left <= 0) continue
      part.left -= 1
      order.push(part.domain)
      some = true
    }
  }
  const submitted = await load({
    ...{ port: rig.ports.trusted, sessions: SESSIONS, messages: order.length, bodyBytes: options.bytes },
    from: 'app@sender.test',
    to: (n) => `u${n}@${order[n % order.length]!}`,
  })
  if (submitted.acked.size !== order.length)
    throw new Error(`${submitted.acked.size} of ${order.length} taken: ${submitted.refused.slice(0, 3).join('; ')}`)
  say(`${order.length} queued`)
  await rig.end('SIGTERM')
  rig.dns.fail(null)
  await rig.start()
  const startedMs = performance.now()
  const wanted = order.filter((domain) => domain === 'good.test').length
  const limitMs = 900_000
  await rig.until(() => {
    say(`${rig.mx.taken.length} of ${wanted} with ${bad} bad destinations`)
    return rig.mx.taken.length >= wanted || options.interrupted()
  }, limitMs)
  const seconds = (performance.now() - startedMs) / 1000
  const asked = hosts.map(({ commands }) => commands.filter((line) => line.startsWith('MAIL')).length)
  const tried = hosts.map((host, i) => `${KINDS[i % KINDS.length]![0]} ${host.connections}/${asked[i]}`)
  runs.push(
    `${bad} bad: ${seconds.toFixed(1)} s, ${Math.round(wanted / seconds)}/s${bad === 0 ? '' : ` (connections/tries of ${tried.join(', ')})`}`,
  )
  say(`${runs.at(-1)}\n`)
  return seconds
}

function say(text: string): void {
  if (!options.json) process.stderr.write(`\r${text.padEnd(70)}`)
}
