import { segment } from '../local-api.ts'
import type { Command, Group } from '../verb.ts'

type Report = {
  readonly date: string
  readonly domain: string
  readonly policies: readonly {
    readonly policy: { readonly 'policy-type': string }
    readonly summary: {
      readonly 'total-successful-session-count': number
      readonly 'total-failure-session-count': number
    }
    readonly 'failure-details': readonly {
      readonly 'result-type': string
      readonly 'receiving-mx-hostname': string
      readonly 'receiving-ip': string
      readonly 'failed-session-count': number
      readonly 'failure-reason-code': string
    }[]
  }[]
}
type Line = {
  readonly date: string
  readonly domain: string
  readonly policy: string
  readonly result: string
  readonly sessions: number
  readonly host: string
  readonly why: string
}
type Policy = {
  readonly why_not: string | null
  readonly mx_validated: boolean
  readonly mta_sts: { readonly id: string; readonly mode: string } | null
  readonly hosts: readonly {
    readonly host: string
    readonly policy: string
    readonly tlsa: readonly string[]
    readonly detail: string
  }[]
}

const report: Command = {
  summary: 'Shows what became of TLS with recipient domains, by day and policy',
  operands: '[DOMAIN]',
  count: [0, 1],
  options: { date: { type: 'string', value: 'YYYY-MM-DD', help: 'one day (UTC); default: all that are kept' } },
  help: 'Sessions are counted by connection, in the form of TLS reports (RFC 8460); with --json one report a line, in its words.',
  async run(invocation) {
    const { args, out } = invocation
    const api = await invocation.api()
    const { reports, complete } = await api.get<{ reports: readonly Report[]; complete: boolean }>('/tls/report', {
      domain: args.operands[0],
      date: args.text('date'),
    })
    if (!complete) out.note('there is more: name a domain or a date')
    if (out.json) for (const one of reports) out.record(one)
    else
      out.rows(reports.flatMap(linesOf), {
        date: (row) => row.date,
        domain: (row) => row.domain,
        policy: (row) => row.policy,
        result: (row) => row.result,
        sessions: (row) => row.sessions,
        host: (row) => row.host,
        why: (row) => row.why,
      })
    return undefined
  },
}

function linesOf({ date, domain, policies }: Report): readonly Line[] {
  return policies.flatMap((one) => {
    const head = { date, domain, policy: one.policy['policy-type'] }
    const taken = one.summary['total-successful-session-count']
    return [
      ...(taken === 0 ? [] : [{ ...head, result: 'success', sessions: taken, host: '', why: '' }]),
      ...one['failure-details'].map((failure) => ({
        ...head,
        result: failure['result-type'],
        sessions: failure['failed-session-count'],
        host: [failure['receiving-mx-hostname'], failure['receiving-ip']].filter(Boolean).join(' '),
        why: failure['failure-reason-code'],
      })),
    ]
  })
}

const policy: Command = {
  summary: 'Looks up how mail to a recipient domain is secured now',
  operands: 'DOMAIN',
  count: [1, 1],
  async run(invocation) {
    const { args, out } = invocation
    const api = await invocation.api()
    const found = await api.get<Policy>(`/tls/policy/${segment(args.operands[0]!)}`)
    if (out.json) {
      out.record(found)
      return undefined
    }
    const { why_not: whyNot, mta_sts: sts } = found
    if (whyNot !== null) out.note(`no mail goes there: ${whyNot}`)
    out.note(`MX records ${found.mx_validated ? 'validated (DNSSEC)' : 'not validated: no DANE'}`)
    out.note(sts === null ? 'no MTA-STS policy' : `MTA-STS policy ${sts.id}, ${sts.mode}`)
    out.rows(found.hosts, {
      host: (row) => row.host,
      policy: (row) => row.policy,
      tlsa: (row) => row.tlsa.join('; '),
      detail: (row) => row.detail,
    })
    return undefined
  },
}

export const tls: Group = {
  summary: 'How mail to recipient domains is secured, and what became of it.',
  commands: { report, policy },
}
