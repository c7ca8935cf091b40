// domains: what we may send as. Sending domains with their DKIM keys (sealed at rest), and the return paths by which
// bounces come home. It never sends and never decides who may use a domain: credentials do.
export { type OurAddress, Recogniser } from './recognise.ts'
export { ReturnPaths } from './return-paths.ts'
export { type PublishedKey, type SendingDomain, SendingDomains } from './sending-domains.ts'
