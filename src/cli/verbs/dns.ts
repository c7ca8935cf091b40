import { setTimeout as pause } from 'node:timers/promises'
import { domainToUnicode } from 'node:url'
import { EX } from '#base'
import type { Finding, InspectionJson } from '#domains'
import { domainNames, inspection } from '../inspection.ts'
import { clean } from '../output.ts'
import type { Command, Group, Invocation } from '../verb.ts'

const FORMATS = ['table', 'bind', 'json', 'cloudflare', 'route53'] as const
const EVERY_S = 30

const records: Command = {
  summary: 'Shows the records to publish for a sending domain',
  operands: 'DOMAIN',
  count: [1, 1],
  options: {
    format: { type: 'string', value: 'FORM', help: `${FORMATS.join(', ')} (default: table)` },
    'no-lookup': { type: 'boolean', help: 'as if the zone were empty, without asking the DNS' },
  },
  help: `The zone is looked at as it stands: an SPF record is merged and not replaced, a DMARC record is kept. The column "do" says
what is to be done: add, change, keep, remove, or ask (whoever gave you the address). bind is a zone file, cloudflare the file
that Cloudflare imports, route53 a change batch for aws route53 change-resource-record-sets. Works without the daemon too.`,
  async run(invocation) {
    const { args, out } = invocation
    const format = args.choice('format', FORMATS) ?? 'table'
    const told = await inspection(invocation, args.operands[0]!, !args.flag('no-lookup'))
    for (const one of told.findings) out.note(`${one.name}: ${one.message}. ${one.remedy}`)
    const blind = told.records.filter(({ verdict }) => verdict === 'unchecked').map(({ name }) => name)
    if (blind.length > 0)
      out.note(
        `Not looked at: ${[...new Set(blind)].join(', ')}. See yourself what stands there: a second SPF or DMARC record breaks both.`,
      )
    if (out.json || format === 'json') {
      out.raw(`${JSON.stringify(told)}\n`)
      return undefined
    }
    if (format !== 'table') {
      const { inspectionOf, renderRecords } = await import('#domains')
      out.raw(await renderRecords(inspectionOf(told), format))
      return undefined
    }
    out.rows(told.records, {
      name: (row) => row.name,
      type: (row) => row.type,
      do: (row) => row.action,
      need: (row) => row.need,
      value: (row) => row.value || '(the public address of this host)',
      why: (row) => row.why,
    })
    return undefined
  },
}

const verify: Command = {
  summary: 'Compares the DNS with what must stand there; exit code 1 while something is missing or wrong',
  operands: '[DOMAIN...]',
  count: [0, 1000],
  options: {
    watch: { type: 'boolean', help: 'again and again until all is in order' },
    interval: {
      type: 'string',
      value: 'SECONDS',
      help: `with --watch: the wait between two looks (default: ${EVERY_S})`,
    },
  },
  help: `Without a DOMAIN all are looked at, one after the other. Asks every authoritative name server of the zone and the resolver of this host. Of each record that is not in order it says what
is wrong and what to publish. Works without the daemon too.`,
  async run(invocation) {
    const { args } = invocation
    const names = args.operands.length > 0 ? args.operands : await domainNames(invocation)
    if (names.length === 0) invocation.out.note('there are no sending domains; add one with: relevo domain add')
    const everyS = args.whole('interval', 1, 86_400) ?? EVERY_S
    const shown = new Map<string, string>()
    const look = async (): Promise<boolean> => {
      let ready = true
      for (const name of names) {
        const told = await inspection(invocation, name, true)
        ready &&= told.ready
        // What has not changed since the last look is not shown again.
        const now = JSON.stringify(told.records.map(({ id, name, verdict, findings }) => [id, name, verdict, findings]))
        if (now !== shown.get(name)) show(invocation, told)
        shown.set(name, now)
      }
      return ready
    }
    if (!args.flag('watch')) return (await look()) ? EX.OK : EX.FAILURE
    const stopped = invocation.io.catchSignals()
    while (!stopped.aborted) {
      if (await look()) return EX.OK
      await pause(everyS * 1000, undefined, { signal: stopped }).catch(() => {})
    }
    return EX.FAILURE
  },
}

function show({ out }: Invocation, told: InspectionJson): void {
  if (out.json) {
    out.raw(`${JSON.stringify(told)}\n`)
    return
  }
  const lines: string[] = []
  const say = (one: Finding): void => {
    lines.push(`          ${one.level}: ${one.message} [${one.code}]`)
    if (one.remedy !== '') lines.push(`          do: ${one.remedy}`)
  }
  for (const one of told.findings) {
    lines.push(`${'zone'.padEnd(10)}${one.name}`)
    say(one)
  }
  for (const record of told.records) {
    lines.push(`${record.verdict.padEnd(10)}${record.type.padEnd(6)}${record.name}`)
    for (const one of record.findings) say(one)
    const publish = record.action === 'add' || record.action === 'change' || record.action === 'ask'
    if (!publish || record.verdict === 'ok' || record.verdict === 'absent') continue
    if (record.value === '') continue
    for (const old of record.replaces) lines.push(`          instead of: ${old}`)
    lines.push(`          publish: ${record.name} ${record.type} ${record.value}`)
  }
  const open = told.records.filter(({ need, verdict }) => need === 'required' && verdict !== 'ok').length
  lines.push(
    told.ready
      ? `${called(told.domain)}: all is in order`
      : `${called(told.domain)}: ${open} of ${told.records.filter(({ need }) => need === 'required').length} required records are not in order yet`,
  )
  out.raw(`${lines.map(clean).join('\n')}\n`)
}

/** An internationalised name in both forms. */
function called(domain: string): string {
  const unicode = domainToUnicode(domain)
  return unicode === domain || unicode === '' ? domain : `${unicode} (${domain})`
}

const check: Command = {
  summary: 'Does the daily check of all domains now: a record that is lost raises an alert; exit code 1 while one is',
  async run(invocation) {
    const api = await invocation.api()
    const { lost } = await api.post<{ lost: number }>('/domains/dns-check')
    invocation.out.done(
      lost === 0 ? 'no record that once stood is lost' : `${lost} lost; see each domain with: relevo dns verify DOMAIN`,
      { lost },
    )
    return lost === 0 ? EX.OK : EX.FAILURE
  },
}

export const dns: Group = {
  summary: 'The DNS records of the sending domains.',
  commands: { records, verify, check },
}
