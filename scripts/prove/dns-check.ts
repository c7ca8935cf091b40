import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { COMMON } from '../../test/domains/faulty-zones.ts'
import { missingNameServers, NameServers } from '../../test/domains/name-servers.ts'
import { ServingDaemon } from '../../test/domains/serving-daemon.ts'
import { LocalApi } from '../quickstart/local-api.ts'

const HELP = `usage: scripts/prove/dns-check.ts [--within SECONDS]

The daily check by its hour: a live daemon with dns.check every minute, a domain whose records stand on a real name server, and
one of them taken away. The daemon must tell of it by itself, and again when it is back. The last line is JSON; exit code 1 when
it did not within the time (default 80 for each).
`

const { values } = parseArgs({
  options: { help: { type: 'boolean', short: 'h' }, within: { type: 'string', default: '80' } },
})
if (values.help === true) {
  process.stdout.write(HELP)
  process.exit(0)
}
const missing = missingNameServers()
if (missing !== null) throw new Error(`needs ${missing}`)
const withinS = Number(values.within)

await using dns = await NameServers.open({ zones: { ...COMMON, 'shop.test': '' } })
await using daemon = await ServingDaemon.furnish(dns, 'check = "* * * * *"\n', 'live')
await daemon.start()
const api = new LocalApi(daemon.room.join('data/control.sock'))

/** Seconds until the daemon told of it; null: it did not. */
async function told(type: string): Promise<number | null> {
  const began = performance.now()
  while (performance.now() - began < withinS * 1000) {
    const { events } = await api.get<{ events: { detail: { record: string } }[] }>(`/events?type=${type}`)
    const seconds = Math.round((performance.now() - began) / 1000)
    if (events.some(({ detail }) => detail.record === 'MX bounces.shop.test')) return seconds
    await pause(500)
  }
  return null
}

await daemon.run('domain', 'add', 'shop.test')
const { stdout: zone } = await daemon.run('dns', 'records', 'shop.test', '--no-lookup', '--format', 'bind')
await dns.change({ 'shop.test': zone })
console.log(`the records stand: ${(await daemon.run('dns', 'check')).stdout.trim()}`)
await dns.change({ 'shop.test': zone.replace(/^bounces\.shop\.test\. 3600 IN MX.*$/m, '') })
const lostS = await told('dns-record-lost')
console.log(lostS === null ? 'NOT told that one was lost' : `lost: told after ${lostS} s`)
await dns.change({ 'shop.test': zone })
await dns.untilForgotten()
const backS = await told('dns-record-restored')
console.log(backS === null ? 'NOT told that it is back' : `back: told after ${backS} s`)
console.log(JSON.stringify({ lostS, backS }))
process.exitCode = lostS === null || backS === null ? 1 : 0
