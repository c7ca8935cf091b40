import type { Inspection } from '../check/finding.ts'

export const RECORD_FORMATS = ['bind', 'cloudflare', 'route53'] as const
export type RecordFormat = (typeof RECORD_FORMATS)[number]

/** The records as a file to paste or import. */
export async function renderRecords(inspection: Inspection, format: RecordFormat): Promise<string> {
  if (format === 'route53') return (await import('./format-route53.ts')).route53Batch(inspection)
  const { cloudflareFile, zoneFile } = await import('./format-zone-file.ts')
  return format === 'bind' ? zoneFile(inspection) : cloudflareFile(inspection)
}
