import type { TlsResultRow } from './tls-results.ts'

/** What one domain's report of one day says, with the names of RFC 8460 §4.4. Sending it is not done here. */
export type TlsReport = {
  readonly date: string
  readonly domain: string
  readonly policies: readonly {
    readonly policy: {
      readonly 'policy-type': string
      readonly 'policy-string': readonly string[]
      readonly 'policy-domain': string
      readonly 'mx-host': readonly string[]
    }
    readonly summary: {
      readonly 'total-successful-session-count': number
      readonly 'total-failure-session-count': number
    }
    readonly 'failure-details': readonly {
      readonly 'result-type': string
      readonly 'sending-mta-ip': string
      readonly 'receiving-mx-hostname': string
      readonly 'receiving-ip': string
      readonly 'failed-session-count': number
      readonly 'failure-reason-code': string
    }[]
  }[]
}

/** Puts counted rows together: one report a day and domain, in the order in which they come. */
export function tlsReports(rows: readonly TlsResultRow[]): readonly TlsReport[] {
  const reports = new Map<string, Map<string, TlsResultRow[]>>()
  for (const row of rows) {
    const report = entry(reports, `${row.day} ${row.domain}`, () => new Map<string, TlsResultRow[]>())
    entry(report, row.policyType, () => []).push(row)
  }
  return [...reports.values()].map((policies) => {
    const first = [...policies.values()][0]![0]!
    return { date: first.day, domain: first.domain, policies: [...policies.values()].map(policyPart) }
  })
}

function policyPart(rows: readonly TlsResultRow[]): TlsReport['policies'][number] {
  const failed = rows.filter(({ result }) => result !== 'success')
  const sum = (of: readonly TlsResultRow[]): number => of.reduce((total, { count }) => total + count, 0)
  // Rows of a fetch that failed know no policy; any other of the day does.
  const { strings, mx } = rows.find(({ policy }) => policy.strings.length > 0)?.policy ?? rows[0]!.policy
  return {
    policy: {
      'policy-type': rows[0]!.policyType,
      'policy-string': strings,
      'policy-domain': rows[0]!.domain,
      'mx-host': mx,
    },
    summary: {
      'total-successful-session-count': sum(rows) - sum(failed),
      'total-failure-session-count': sum(failed),
    },
    'failure-details': failed.map((row) => ({
      'result-type': row.result,
      'sending-mta-ip': row.sendingIp,
      'receiving-mx-hostname': row.mxHost,
      'receiving-ip': row.mxAddress,
      'failed-session-count': row.count,
      'failure-reason-code': row.reason,
    })),
  }
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}
