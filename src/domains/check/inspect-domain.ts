import type { PublishedKey } from '../key-ring.ts'
import type { Look } from '../lookup/contract.ts'
import { valuesOf } from '../lookup/read-reply.ts'
import { isAtOrAbove, ZoneView, type ZoneViewOptions } from '../lookup/zone-view.ts'
import { isDmarc, parseDmarc, reportDomains } from '../policy/dmarc-record.ts'
import type { SpfLook } from '../policy/spf-walk.ts'
import type { Template } from '../records/template.ts'
import { type DnsFacts, sameOrganisation, type WantedRecord, wantedRecords } from '../records/wanted.ts'
import { type Finding, finding, hasError, type InspectedRecord, type Inspection } from './finding.ts'
import { inspectRecord, unchecked } from './inspect-record.ts'
import { judgeSettings } from './judge-settings.ts'
import { judgeZone } from './judge-zones.ts'
import type { JudgeContext } from './judgement.ts'

/** How many domains' reports are looked after for one DMARC record. */
const MAX_REPORT_DOMAINS = 5

/** The records as they should stand, without a look at the zone. */
export function planOffline(facts: DnsFacts, templates: readonly Template[]): Inspection {
  return {
    domain: facts.domain,
    zone: '',
    ready: false,
    records: wantedRecords(facts, templates).map(unchecked),
    findings: judgeSettings(facts),
  }
}

/** Compares every record of a domain with what the authoritative servers and a resolver say now. Never throws for what the DNS says. */
export async function inspectDomain(
  facts: DnsFacts,
  templates: readonly Template[],
  options: ZoneViewOptions,
): Promise<Inspection> {
  const settings = judgeSettings(facts)
  // With a host that has no name nothing can be right.
  if (hasError(settings)) return planOffline(facts, templates)
  const view = new ZoneView(options)
  const look = lookOf(facts, view)
  const addresses = new Map(
    await Promise.all(
      facts.hosts.map(async ({ name, addresses }) => {
        if (addresses.length > 0) return [name, addresses] as const
        const [four, six] = await Promise.all([look(name, 'A'), look(name, 'AAAA')])
        return [name, [...valuesOf(four), ...valuesOf(six)]] as const
      }),
    ),
  )
  const context: JudgeContext = { facts, addresses, look }
  const wanted = wantedRecords(withAddresses(facts, addresses), templates)
  const first = await Promise.all(
    wanted.filter(({ check }) => check !== 'report-authorisation').map((one) => inspectRecord(one, view, context)),
  )
  const reports = await Promise.all(
    authorisations(facts, wanted, first).map((one) => inspectRecord(one, view, context)),
  )
  const left = await Promise.all(
    facts.keys.filter(({ state }) => state === 'retired').map((key) => leftOver(key, view)),
  )
  const findings = [...settings, ...(await zoneFindings(view, [...first, ...reports]))]
  const gone = findings.filter(({ code }) => code === 'no-such-domain').map(({ name }) => name)
  // Of a domain that does not exist it is not told record by record that nothing stands in it.
  const records = [...first, ...reports, ...left.flatMap((one) => one ?? [])].map((record) =>
    gone.some((name) => isAtOrAbove(name, record.name)) ? { ...record, findings: [] } : record,
  )
  const zone = await view.zoneOf(facts.domain)
  const ready =
    !hasError(findings) &&
    records.every(({ need, verdict, findings }) => {
      if (hasError(findings)) return false
      return need !== 'required' || verdict === 'ok'
    })
  return { domain: facts.domain, zone: zone.apex, ready, records, findings }
}

/** Hosts whose addresses are not known here keep their place in the plan; their PTRs are asked for what the DNS says. */
function withAddresses(facts: DnsFacts, addresses: ReadonlyMap<string, readonly string[]>): DnsFacts {
  return { ...facts, hosts: facts.hosts.map(({ name }) => ({ name, addresses: addresses.get(name) ?? [] })) }
}

function lookOf(facts: DnsFacts, view: ZoneView): SpfLook {
  const own = [facts.domain, ...facts.hosts.map(({ name }) => name), facts.hostname]
  return (name, type) => (own.some((one) => isAtOrAbove(one, name)) ? view.peek(name, type) : view.resolve(name, type))
}

/** A record for each place that reports about the domain go to and that is of somebody else. */
function authorisations(
  facts: DnsFacts,
  wanted: readonly WantedRecord[],
  records: readonly InspectedRecord[],
): readonly WantedRecord[] {
  const own = records.find(({ check }) => check === 'dmarc')
  const text = own?.value ?? ''
  const record = isDmarc(text) ? parseDmarc(text) : ''
  if (typeof record === 'string') return []
  const elsewhere = [...new Set(reportDomains(record.rua))]
    .filter((domain) => !sameOrganisation(domain, facts.domain))
    .slice(0, MAX_REPORT_DOMAINS)
  return elsewhere.map((domain) => {
    const name = `${facts.domain}._report._dmarc.${domain}`
    return (
      wanted.find((one) => one.name === name) ?? {
        id: `dmarc-report-${domain}`,
        name,
        type: 'TXT',
        value: 'v=DMARC1',
        check: 'report-authorisation',
        need: 'recommended',
        by: 'you',
        why: `${domain} agrees to take the reports about ${facts.domain}`,
      }
    )
  })
}

/** A key that is no longer used and still stands in the DNS. */
async function leftOver(key: PublishedKey, view: ZoneView): Promise<InspectedRecord | null> {
  const said = await view.peek(key.host, 'TXT')
  if (said.kind !== 'records') return null
  const { apex } = await view.zoneOf(key.host)
  return {
    id: `dkim-${key.selector}`,
    name: key.host,
    type: 'TXT',
    check: 'dkim',
    need: 'optional',
    by: 'you',
    why: 'a key that is no longer used',
    verdict: 'ok',
    action: 'remove',
    value: valuesOf(said)[0] ?? '',
    replaces: [],
    besides: [],
    ttlS: said.ttlS,
    zone: apex,
    findings: [finding('note', 'dkim-key-left', key.host, 'this key is no longer used: the record may be removed')],
  }
}

/** What is wrong with the zones that the records are in. PTRs and what others publish are in zones of somebody else. */
async function zoneFindings(view: ZoneView, records: readonly InspectedRecord[]): Promise<readonly Finding[]> {
  const zones = new Map<string, { readonly name: string; readonly looks: Look[] }>()
  for (const { name, type, check } of records) {
    if (check === 'ptr' || check === 'report-authorisation') continue
    const look = await view.look(name, type)
    const kept = zones.get(look.zone.apex)
    if (kept === undefined) zones.set(look.zone.apex, { name, looks: [look] })
    else kept.looks.push(look)
  }
  return [...zones.values()].flatMap(({ name, looks }) => judgeZone(name, looks[0]!.zone, looks))
}
