import { randomBytes } from 'node:crypto'
import type { Look } from '../lookup/contract.ts'
import { sameAnswer, valuesOf } from '../lookup/read-reply.ts'
import type { ZoneView } from '../lookup/zone-view.ts'
import type { Check } from '../records/template.ts'
import type { WantedRecord } from '../records/wanted.ts'
import { findMisplaced } from './find-misplaced.ts'
import { type Finding, finding, type InspectedRecord } from './finding.ts'
import { address, leadsHere, mx, ptr } from './judge-hosts.ts'
import { dkim, dmarc, mtaSts, reportAuthorisation, tlsReports } from './judge-policy-records.ts'
import { spf } from './judge-spf-record.ts'
import type { Answered, Judge, JudgeContext, Judgement } from './judgement.ts'

const JUDGES: Readonly<Record<Check, Judge>> = {
  mx,
  spf,
  dkim,
  dmarc,
  'report-authorisation': reportAuthorisation,
  address,
  ptr,
  'leads-here': leadsHere,
  'tls-rpt': tlsReports,
  'mta-sts': mtaSts,
}
/** What is suggested where nothing says otherwise. */
const TTL_S = 3600

/** One record, by every authoritative server of its zone and by the resolver. */
export async function inspectRecord(
  wanted: WantedRecord,
  view: ZoneView,
  context: JudgeContext,
): Promise<InspectedRecord> {
  const look = await view.look(wanted.name, wanted.type)
  const zone = look.zone.apex
  const heard = look.authoritative.flatMap(({ server, said }) => (said.kind === 'failed' ? [] : [{ server, said }]))
  const made = (judgement: Judgement, over: Partial<InspectedRecord> = {}): InspectedRecord => ({
    ...wanted,
    ...judgement,
    ttlS: ttlOf(look) ?? TTL_S,
    zone,
    ...over,
  })
  if (heard.length === 0) {
    if (look.resolver.kind !== 'failed') return made(await judge(wanted, look.resolver, view, context))
    return { ...unchecked(wanted), zone }
  }
  const judged = await Promise.all(
    distinct(heard).map(async ({ said, servers }) => ({
      servers,
      judgement: await judge(wanted, said, view, context),
    })),
  )
  const good = judged.filter(({ judgement }) => isGood(judgement))
  const worst = judged.find(({ judgement }) => !isGood(judgement))
  if (worst !== undefined && good.length > 0)
    return made(worst.judgement, { verdict: 'waiting', findings: [disagreement(wanted, good, judged)] })
  if (worst !== undefined)
    return made(
      worst.judgement,
      judged.length > 1 ? { findings: [...worst.judgement.findings, disagreement(wanted, [], judged)] } : {},
    )
  const { judgement } = judged[0]!
  if (judgement.verdict === 'absent') return made(judgement)
  const { resolver } = look
  if (resolver.kind === 'failed' && !look.zone.bogus && !look.zone.broken)
    return made(judgement, { verdict: 'waiting', findings: [...judgement.findings, unresolved(wanted)] })
  const stale = await staleness(wanted, look, heard[0]!.said, view, context)
  return stale === null
    ? made(judgement)
    : made(judgement, { verdict: 'waiting', findings: [...judgement.findings, stale] })
}

/** The record as the plan wants it, when nothing could be looked up. */
export function unchecked(wanted: WantedRecord): InspectedRecord {
  return {
    ...wanted,
    verdict: 'unchecked',
    action: wanted.by === 'hoster' ? 'ask' : 'add',
    replaces: [],
    besides: [],
    ttlS: TTL_S,
    zone: '',
    findings: [],
  }
}

function isGood({ verdict }: Judgement): boolean {
  return verdict === 'ok' || verdict === 'absent'
}

async function judge(wanted: WantedRecord, said: Answered, view: ZoneView, context: JudgeContext): Promise<Judgement> {
  const judgement = await JUDGES[wanted.check](wanted, said, context)
  if (isGood(judgement) || wanted.check === 'ptr') return judgement
  if (await fromWildcard(wanted, said, view))
    return {
      ...judgement,
      action: 'add',
      replaces: [],
      besides: [],
      value: wanted.value,
      verdict: wanted.need === 'optional' ? 'absent' : 'missing',
      findings:
        wanted.need === 'optional'
          ? []
          : [
              finding(
                'error',
                'wildcard',
                wanted.name,
                `nothing of yours stands here: a wildcard of the zone answers ${JSON.stringify((valuesOf(said)[0] ?? said.cname ?? '').slice(0, 60))} for every name`,
                'Add the record given here; it comes before the wildcard.',
              ),
            ],
    }
  if (said.cname !== null && wanted.type !== 'CNAME' && wanted.check !== 'address')
    return {
      ...judgement,
      findings: [
        ...judgement.findings.filter(({ code }) => !code.endsWith('-missing')),
        finding(
          'error',
          'cname-at-name',
          wanted.name,
          `a CNAME to ${said.cname} stands here, and beside a CNAME nothing may stand`,
          'Remove the CNAME, then add the record given here.',
        ),
      ],
    }
  if (judgement.verdict !== 'missing' || wanted.type === 'A' || wanted.type === 'AAAA') return judgement
  const elsewhere = await findMisplaced(wanted, view)
  return elsewhere === null ? judgement : { ...judgement, findings: [...judgement.findings, elsewhere] }
}

/** Whether a name that nobody can have put there gets the same answer. */
async function fromWildcard(wanted: WantedRecord, said: Answered, view: ZoneView): Promise<boolean> {
  if (said.kind !== 'records' && said.cname === null) return false
  const parent = wanted.name.slice(wanted.name.indexOf('.') + 1)
  const nowhere = `rlv-${randomBytes(6).toString('hex')}.${parent}`
  const there = await view.peek(nowhere, wanted.type)
  return there.kind !== 'failed' && there.cname === said.cname && sameAnswer(said, there)
}

/** Servers by what they answer. */
function distinct(
  heard: readonly { readonly server: string; readonly said: Answered }[],
): readonly { readonly said: Answered; readonly servers: readonly string[] }[] {
  const groups: { said: Answered; servers: string[] }[] = []
  for (const { server, said } of heard) {
    const group = groups.find((one) => sameAnswer(one.said, said))
    if (group === undefined) groups.push({ said, servers: [server] })
    else group.servers.push(server)
  }
  return groups
}

function disagreement(
  wanted: WantedRecord,
  good: readonly { readonly servers: readonly string[] }[],
  all: readonly { readonly servers: readonly string[] }[],
): Finding {
  const right = good.flatMap(({ servers }) => servers)
  const others = all.flatMap(({ servers }) => servers).filter((server) => !right.includes(server))
  return finding(
    'error',
    'servers-disagree',
    wanted.name,
    right.length > 0
      ? `${right.join(', ')} ${right.length === 1 ? 'has' : 'have'} it, ${others.join(', ')} ${others.length === 1 ? 'has' : 'have'} not`
      : `the name servers give different answers: ${others.join(', ')}`,
    'Wait until the zone is copied to all its name servers; if it stays so, ask whoever runs them.',
  )
}

function unresolved(wanted: WantedRecord): Finding {
  return finding(
    'warning',
    'resolver-failing',
    wanted.name,
    'the name servers have it, but the resolver gives no answer for it',
    'Look again later; if it stays so, use another resolver, or see what the zone has that only some understand.',
  )
}

/** The authoritative servers have it; whether the world has it too. */
async function staleness(
  wanted: WantedRecord,
  look: Look,
  said: Answered,
  view: ZoneView,
  context: JudgeContext,
): Promise<Finding | null> {
  const { resolver } = look
  // A zone that does not validate, or a resolver that fails, is told of once, with the zone.
  if (resolver.kind === 'failed' || sameAnswer(resolver, said)) return null
  if (isGood(await judge(wanted, resolver, view, context))) return null
  const minutes = resolver.kind === 'records' ? Math.max(1, Math.ceil(resolver.ttlS / 60)) : null
  return finding(
    'warning',
    'resolver-stale',
    wanted.name,
    `the name servers have it, the resolver still gives the old answer${minutes === null ? '' : ` for up to ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}`}`,
    'Wait until what was cached has expired.',
  )
}

/** The TTL as it is set; what a resolver says is what is left of it. */
function ttlOf(look: Look): number | null {
  for (const { said } of look.authoritative) if (said.kind === 'records') return said.ttlS
  return null
}
