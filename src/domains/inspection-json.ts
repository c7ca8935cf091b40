import type { Finding, InspectedRecord, Inspection } from './check/finding.ts'
import { txtStrings } from './records/txt-strings.ts'

export type RecordJson = Omit<InspectedRecord, 'ttlS'> & {
  /** Seconds. */
  readonly ttl: number
  /** TXT only: the value in strings of at most 255 octets. */
  readonly strings?: readonly string[]
}

/** An inspection as the API and `--json` show it. */
export type InspectionJson = Omit<Inspection, 'records'> & {
  readonly records: readonly RecordJson[]
  readonly findings: readonly Finding[]
}

export function inspectionJson(inspection: Inspection): InspectionJson {
  return {
    ...inspection,
    records: inspection.records.map(({ ttlS, ...record }) => ({
      ...record,
      ttl: ttlS,
      ...(record.type === 'TXT' ? { strings: txtStrings(record.value) } : {}),
    })),
  }
}

/** The other way, for the command that renders what the daemon told. */
export function inspectionOf(json: InspectionJson): Inspection {
  return { ...json, records: json.records.map(({ ttl, strings: _, ...record }) => ({ ...record, ttlS: ttl })) }
}
