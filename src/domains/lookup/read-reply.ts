import type { AskedType, DnsRecord, DnsReply, Said } from './contract.ts'

const MAX_CNAMES = 8

/** What a reply says of a name and type, CNAMEs in it followed. */
export function saidBy(reply: DnsReply | null, name: string, type: AskedType): Said {
  if (reply === null) return { kind: 'failed', reason: 'timeout' }
  if (reply.rcode !== 'NOERROR' && reply.rcode !== 'NXDOMAIN')
    return { kind: 'failed', reason: reply.rcode === 'REFUSED' ? 'refused' : 'servfail' }
  let at = name
  let cname: string | null = null
  for (let hop = 0; hop < MAX_CNAMES && type !== 'CNAME'; hop++) {
    const next = reply.answers.find((record) => record.type === 'CNAME' && record.name === at)
    if (next?.type !== 'CNAME') break
    cname ??= next.value
    at = next.value
  }
  const found = reply.answers.filter((record) => record.type === type && record.name === at)
  if (found.length > 0)
    return {
      kind: 'records',
      values: found.map(textOf).sort(),
      ttlS: Math.min(...found.map((record) => record.ttlS)),
      cname,
      strings: found.flatMap((record) => (record.type === 'TXT' ? [record.strings] : [])),
    }
  return { kind: reply.rcode === 'NXDOMAIN' ? 'nxdomain' : 'nodata', cname }
}

export function textOf(record: DnsRecord): string {
  if (record.type === 'MX') return `${record.preference} ${record.exchange}`
  if (record.type === 'TXT') return record.strings.join('')
  return record.type === 'SOA' ? '' : record.value
}

/** The values, none when there are none or nobody answered. */
export function valuesOf(said: Said): readonly string[] {
  return said.kind === 'records' ? said.values : []
}

/** The same answer: so that servers can be compared. TTLs may differ. */
export function sameAnswer(a: Said, b: Said): boolean {
  if (a.kind !== 'records' || b.kind !== 'records')
    return (
      a.kind === b.kind || (a.kind !== 'failed' && b.kind !== 'failed' && a.kind !== 'records' && b.kind !== 'records')
    )
  return a.values.length === b.values.length && a.values.every((value, i) => value === b.values[i])
}
