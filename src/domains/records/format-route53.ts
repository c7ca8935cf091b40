import type { InspectedRecord, Inspection } from '../check/finding.ts'
import { data } from './format-zone-file.ts'

type Change = {
  readonly Action: 'CREATE' | 'UPSERT'
  readonly ResourceRecordSet: {
    readonly Name: string
    readonly Type: string
    readonly TTL: number
    readonly ResourceRecords: readonly { readonly Value: string }[]
  }
}

/**
 * A change batch for `aws route53 change-resource-record-sets --change-batch file://…`, of the domain's zone. Route 53
 * changes whole record sets, so the values that stand beside ours are given again; a set that could not be looked at is
 * only created, which fails where there is one.
 */
export function route53Batch(inspection: Inspection): string {
  const { domain, records } = inspection
  const zone = inspection.zone === '' ? domain : inspection.zone
  const changes = records
    .filter(
      (record) =>
        record.by === 'you' &&
        record.need !== 'optional' &&
        record.value !== '' &&
        (record.action === 'add' || record.action === 'change') &&
        (record.name === zone || record.name.endsWith(`.${zone}`)),
    )
    .map(change)
  return `${JSON.stringify({ Comment: `Records of ${domain} for Relevo`, Changes: changes }, null, 2)}\n`
}

function change(record: InspectedRecord): Change {
  const values = [...new Set([record.value, ...record.besides])]
  const there = record.replaces.length > 0 || record.besides.length > 0
  return {
    Action: there ? 'UPSERT' : 'CREATE',
    ResourceRecordSet: {
      Name: `${record.name}.`,
      Type: record.type,
      TTL: record.ttlS,
      ResourceRecords: values.map((value) => ({ Value: data(record, value) })),
    },
  }
}
