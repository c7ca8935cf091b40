// Every case of docs/outcomes.md against a real daemon: 63 faults, the hosts that a sender meets, what the DNS can say. One line
// a case with what was expected and what was seen; exit 1 on a difference. All cases run at once, and those that wait end
// with the lifetime of a minute: `node scripts/prove/matrix.ts --help`.
import { setTimeout as pause } from 'node:timers/promises'
import { type DnsEntry, RawClient, type ScriptedMx, scriptedMx } from '#world'
import { DaemonRig, DOMAIN } from '../../test/daemon/daemon-rig.ts'
import { optionsOf } from './crash/options.ts'
import { CASES, type Case } from './matrix/cases.ts'
import { expectedOutcomes, inWords } from './matrix/expected.ts'
import { reasonOf, seenOutcome } from './matrix/seen.ts'

const options = optionsOf('matrix', 'each case of docs/outcomes.md against a real daemon', {
  only: [0, '1: faults, 2: hosts, 3: DNS; 0: all'],
  wait: [110, 'seconds after which what has not ended is taken as it stands'],
})
const LATER_MS = 8000

type Running = { readonly one: Case; readonly domain: string; readonly address: string; id: string; reason: string }

await using stack = new AsyncDisposableStack()
const rig = stack.use(
  await DaemonRig.open({
    delivery: `retry_after = [1]
lifetime = 60
connect_timeout = 3
banner_timeout = 3
ehlo_timeout = 3
tls_timeout = 3
mail_timeout = 3
rcpt_timeout = 3
data_timeout = 3
body_timeout = 6
dot_timeout = 4`,
    // The bad hosts of one run say nothing about this sender.
    more: '[reputation]\nmin_samples = 1000000',
  }),
)
const kinds = ['fault', 'mx', 'dns'] as const
const wanted = CASES.filter((one) => options.only === 0 || one.kind === kinds[options.only - 1])
const expected = expectedOutcomes()
const hosts = new Map<string, ScriptedMx>()
const running: Running[] = []
for (const [i, one] of wanted.entries()) {
  const domain = `case.x${i}.test`
  if (one.script !== undefined) {
    const address = `127.0.${1 + (i >> 7)}.${1 + (i & 127)}`
    const name = `mx.${domain}`
    const host = await scriptedMx({ behaviour: one.script, host: address, port: rig.mx.port, name })
    if (one.script.listens !== false) stack.use(host)
    hosts.set(domain, host)
    rig.dns.set(domain, { MX: [[10, name]] })
    rig.dns.set(name, { A: [address] })
  }
  put(one.zones?.(domain) ?? {})
  running.push({ one, domain, address: `${one.localPart ?? 'u'}@${domain}`, id: '', reason: '' })
}
const missing = wanted.filter((one) => !expected.has(nameOf(one)))
if (missing.length > 0) throw new Error(`docs/outcomes.md says nothing of ${missing.map(nameOf).join(', ')}`)

await submitAll()
const startedMs = performance.now()
await pause(LATER_MS)
for (const each of running) each.reason = await reasonOf(rig.api, each.id)
for (const { one, domain } of running) put(one.later?.(domain) ?? {})
// A name server that is silent is waited for longer.
await pause(LATER_MS * 2)
for (const each of running) each.reason ||= await reasonOf(rig.api, each.id)
await rig.until(async () => {
  const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
  const waiting = ['ready', 'deferred', 'leased', 'scheduled'].reduce((sum, state) => sum + (queue[state] ?? 0), 0)
  if (!options.json) process.stderr.write(`\r${waiting} of ${running.length} wait `)
  return waiting === 0 || options.interrupted()
}, options.wait * 1000)

let different = 0
for (const { one, domain, address, id, reason } of running) {
  const taken = [rig.mx, hosts.get(domain)].flatMap((host) => host?.taken ?? [])
  const copies = taken.filter(({ recipients }) => recipients.includes(address)).length
  const seen = inWords(await seenOutcome(rig.api, id, reason, copies))
  const want = inWords(expected.get(nameOf(one))!)
  if (seen !== want) different += 1
  if (!options.json)
    console.log(
      `${seen === want ? 'ok  ' : 'DIFF'} ${nameOf(one)}: ${want}${seen === want ? '' : `\n     seen: ${seen}`}`,
    )
}
const result = {
  ...{ cases: running.length, different, seconds: Math.round((performance.now() - startedMs) / 1000) },
  seed: options.seed,
}
console.log(JSON.stringify(result))
process.exitCode = different === 0 ? 0 : 1

function nameOf(one: Case): string {
  return `${one.kind} ${one.name}`
}

function put(zones: Readonly<Record<string, DnsEntry>>): void {
  for (const [name, entry] of Object.entries(zones)) rig.dns.set(name, entry)
}

/** Each by a transaction of its own; the answer names the message. */
async function submitAll(): Promise<void> {
  const client = await RawClient.open(rig.ports.trusted)
  await client.reply()
  await client.ask('EHLO matrix.test')
  for (const each of running) {
    for (const line of [`MAIL FROM:<app@${DOMAIN}>`, `RCPT TO:<${each.address}>`, 'DATA']) await client.ask(line)
    const head = `From: <app@${DOMAIN}>\r\nTo: <${each.address}>\r\nSubject: ${nameOf(each.one)}\r\n\r\n`
    const reply = await client.ask(`${head}${`${'x'.repeat(70)}\r\n`.repeat(30)}.`)
    each.id = /queued as (\S+)/.exec(reply?.lines.join(' ') ?? '')?.[1] ?? ''
    if (each.id === '') throw new Error(`not taken: ${JSON.stringify(reply)}`)
  }
  client.close()
}
