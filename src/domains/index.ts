// domains: what we may send as. Sending domains with their DKIM keys (sealed at rest), the return paths by which bounces
// come home, the DNS records they need and how those stand in the live zones. It never sends and never decides who may
// use a domain: credentials do. It asks no name server itself: how to ask is given to it.
export type { Finding, Inspection } from './check/finding.ts'
export { DkimRotation } from './dkim-rotation.ts'
export { DnsInspector, dnsFacts } from './dns-inspector.ts'
export { DnsWatch } from './dns-watch.ts'
export { type InspectionJson, inspectionJson, inspectionOf } from './inspection-json.ts'
export { keptDomain, keptDomains } from './kept-domains.ts'
export type { PublishedKey } from './key-ring.ts'
export type { AskServer, DnsRecord, DnsReply, NameServer } from './lookup/contract.ts'
export { type OurAddress, Recogniser } from './recognise.ts'
export { RECORD_FORMATS, type RecordFormat, renderRecords } from './records/render-records.ts'
export type { DnsFacts } from './records/wanted.ts'
export { ReturnPaths } from './return-paths.ts'
export { type SendingDomain, SendingDomains, unknownDomain } from './sending-domains.ts'
