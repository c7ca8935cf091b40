import type { InspectedRecord, Inspection } from '../check/finding.ts'
import { decimalEscape, quotedTxt } from './txt-strings.ts'

/**
 * Records for a zone file (RFC 1035 §5.1), absolute names, TXT cut into strings of 255 octets. What stands already, and
 * what somebody else must set, is told in comments. Parts: what is to be added, changed, removed, and the rest.
 */
export function zoneFile(inspection: Inspection): string {
  return lines(inspection, (record, value) => `${record.name}. ${record.ttlS} IN ${record.type} ${data(record, value)}`)
}

/**
 * The file that Cloudflare imports (DNS → Records → Import): a zone file of one zone with automatic TTLs, no proxy. An
 * import adds and never replaces, so what is to be changed is told in comments.
 */
export function cloudflareFile(inspection: Inspection): string {
  return lines(
    inspection,
    (record, value) => `${record.name}. 1 IN ${record.type} ${data(record, value)} ; cf_tags=cf-proxied:false`,
  )
}

function lines(inspection: Inspection, line: (record: InspectedRecord, value: string) => string): string {
  const { domain, records } = inspection
  const zone = inspection.zone === '' ? domain : inspection.zone
  const mine = (record: InspectedRecord): boolean =>
    record.by === 'you' && (record.name === zone || record.name.endsWith(`.${zone}`))
  const out: string[] = [`; records of ${domain} for the zone ${zone}`]
  for (const record of records) {
    if (record.action === 'remove') {
      out.push(`; remove: ${line(record, record.value)}`)
      continue
    }
    if (record.action === 'keep' && record.verdict !== 'unchecked') {
      if (record.verdict !== 'absent') out.push(`; ${record.name} ${record.type}: in order`)
      continue
    }
    if (record.need === 'optional') {
      out.push(`; optional: ${record.why}`, `; ${line(record, record.value)}`)
      continue
    }
    if (!mine(record) || record.value === '') {
      out.push(
        record.by === 'hoster'
          ? `; ask the hoster of the address: ${line(record, record.value)}`
          : record.value === ''
            ? `; ${record.name} ${record.type}: the public address of this host`
            : `; in another zone: ${line(record, record.value)}`,
      )
      continue
    }
    out.push(`; ${record.why}`)
    // Nothing here can remove a record: the old one is named, to be taken out by hand.
    for (const old of record.replaces) out.push(`; remove: ${record.name}. IN ${record.type} ${data(record, old)}`)
    out.push(line(record, record.value))
  }
  return `${out.join('\n')}\n`
}

/** What stands behind the type, in the form of a zone file. */
export function data({ type }: Pick<InspectedRecord, 'type'>, value: string): string {
  if (type === 'TXT') return quotedTxt(value)
  // A name that somebody else published may hold any octet: nothing of it may end the line or the comment.
  const plain = value.replace(type === 'MX' ? /[^\w.:/* -]/g : /[^\w.:/*-]/g, decimalEscape)
  return type === 'A' || type === 'AAAA' ? plain : `${plain}.`
}
