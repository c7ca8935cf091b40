import t from 'tap'
import type { Inspection } from '#domains'
import { inspectDomain } from '../../src/domains/check/inspect-domain.ts'
import { loadTemplates } from '../../src/domains/records/template.ts'
import { CASES, COMMON, factsOf, goodZone, type Lines } from './faulty-zones.ts'
import { missingNameServers, NameServers } from './name-servers.ts'

const missing = missingNameServers()
const text = (lines: Lines): string => Object.values(lines).join('\n')
const domainOf = (i: number): string => CASES[i]!.domain ?? `f${i}.test`
/** The zone that a case is in: the domain, or what is above it. */
const zoneOf = (i: number): string => domainOf(i).split('.').slice(-2).join('.')

if (missing !== null && process.env.RELEVO_TEST_ALL !== '1') {
  t.comment(`left out: faults of zones on real name servers: needs ${missing}`)
  t.pass('left out')
} else
  void t.test('each fault on real name servers', async (t) => {
    t.equal(missing, null)
    const zones: Record<string, string> = { ...COMMON }
    const second: Record<string, string> = {}
    const servers: Record<string, readonly string[]> = {}
    const empty: string[] = []
    const bogus: string[] = []
    for (const [i, one] of CASES.entries()) {
      const [domain, zone] = [domainOf(i), zoneOf(i)]
      const origin = domain === zone ? '' : `$ORIGIN ${domain}.\n`
      const lines = one.zone(goodZone(domain), domain)
      if (lines !== null) zones[zone] = origin + text(lines)
      if (one.empty === true) empty.push(zone)
      if (one.second !== undefined) second[zone] = origin + text(one.second(goodZone(domain), domain))
      if (one.servers !== undefined) servers[zone] = one.servers
      if (one.bogus === true) bogus.push(zone)
    }
    await using dns = await NameServers.open({ zones, second, servers, empty, bogus })
    const templates = loadTemplates()
    const inspections = CASES.map((): Inspection | null => null)
    const order = CASES.keys()
    /** Several at a time: those whose servers keep silent take long. */
    const work = async (): Promise<void> => {
      for (const i of order)
        inspections[i] = await inspectDomain(
          factsOf(domainOf(i), CASES[i]!.facts?.(domainOf(i))),
          templates,
          dns.options,
        )
    }
    await Promise.all(Array.from({ length: 6 }, work))

    for (const [i, { what, expect, ready = false, publish }] of CASES.entries())
      await t.test(what, async (t) => {
        const domain = domainOf(i)
        const seen = inspections[i]!
        const found = [
          ...seen.records.flatMap(({ id, findings }) => findings.map(({ code }) => `${id} ${code}`)),
          ...seen.findings.map(({ code }) => `zone ${code}`),
        ]
        t.strictSame(found.sort(), [...expect].sort())
        t.equal(seen.ready, ready, ready ? 'ready' : 'not ready')
        for (const { findings } of seen.records)
          for (const one of findings)
            t.ok(one.message !== '' && (one.level === 'note' || one.remedy !== ''), `${one.code} says what to do`)
        if (publish === undefined) return
        const value = typeof publish.value === 'string' ? publish.value : publish.value(domain)
        t.equal(seen.records.find(({ id }) => id === publish.id)?.value, value, 'what to publish')
      })
  })
