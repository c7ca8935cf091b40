import { isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import ipaddr from 'ipaddr.js'
import { failed, ok, type Result } from '#base'

export type RefusedAddress = {
  /**
   * `loopback`, `private`, `link-local`, `cgnat`, `multicast`, `broadcast`, `unspecified`, `documentation`, `benchmarking`, `reserved`,
   * `discard`, `special`, `embedded-<one of these>`, `embedded-ipv4`, `not-an-address`.
   */
  readonly reason: string
}

type Cidr = readonly [ipaddr.IPv4 | ipaddr.IPv6, number]

/** RFC 6890 and the IANA registries since: what is not a host on the public internet. First match names it. */
const SPECIAL: readonly (readonly [string, string])[] = [
  ['0.0.0.0/8', 'unspecified'],
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'cgnat'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.0/24', 'special'],
  ['192.0.2.0/24', 'documentation'],
  ['192.31.196.0/24', 'special'],
  ['192.52.193.0/24', 'special'],
  ['192.88.99.0/24', 'special'],
  ['192.168.0.0/16', 'private'],
  ['192.175.48.0/24', 'special'],
  ['198.18.0.0/15', 'benchmarking'],
  ['198.51.100.0/24', 'documentation'],
  ['203.0.113.0/24', 'documentation'],
  ['224.0.0.0/4', 'multicast'],
  ['255.255.255.255/32', 'broadcast'],
  ['240.0.0.0/4', 'reserved'],
  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['100::/64', 'discard'],
  ['2001::/23', 'special'],
  ['2001:db8::/32', 'documentation'],
  ['2620:4f:8000::/48', 'special'],
  ['3fff::/20', 'documentation'],
  ['5f00::/16', 'special'],
  ['fc00::/7', 'private'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'private'],
  ['ff00::/8', 'multicast'],
]

/** Only this part of IPv6 is handed out as unicast (RFC 4291 §2.4, IANA). */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3')
const RANGES = SPECIAL.map(([cidr, reason]) => ({ range: ipaddr.parseCIDR(cidr), reason }))
/** IPv6 forms that end up at an IPv4 host, and the byte its address starts at. */
const EMBEDDING: readonly (readonly [string, number])[] = [
  ['::ffff:0:0/96', 12], // mapped, RFC 4291 §2.5.5.2
  ['::ffff:0:0:0/96', 12], // translated, RFC 2765
  ['64:ff9b::/96', 12], // NAT64, RFC 6052
  ['2002::/16', 2], // 6to4, RFC 3056
]
const NAT64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96')
const EMBEDDED = EMBEDDING.map(([cidr, at]) => ({ range: ipaddr.IPv6.parseCIDR(cidr), at }))
/** NAT64 with a prefix of its own (RFC 8215), ISATAP and IPv4-compatible addresses have no business in an MX. */
const NEVER = ['64:ff9b:1::/48', '::/96'].map((cidr) => ipaddr.IPv6.parseCIDR(cidr))

/**
 * Whether mail (or any request made for somebody else) may go to `ip`: the one check in front of every outgoing connection.
 * @param allowNetworks CIDRs or single addresses that are allowed although special (`delivery.allow_networks`)
 */
export function checkAddress(ip: string, allowNetworks: readonly string[]): Result<string, RefusedAddress> {
  if (ip.includes('%') || !(ipaddr.IPv4.isValidFourPartDecimal(ip) || ipaddr.IPv6.isValid(ip))) {
    return failed({ reason: 'not-an-address' })
  }
  const address = ipaddr.parse(ip)
  const inner = address instanceof ipaddr.IPv6 ? embeddedIn(address) : null
  const candidates = inner ? [address, inner] : [address]
  if (allowNetworks.some((network) => candidates.some((candidate) => within(candidate, networkOf(network)))))
    return ok(ip)
  const special = refusedAs(inner ?? address)
  if (special) return failed({ reason: inner ? `embedded-${special}` : special })
  // A mapped or translated address is no way to reach a public host either, except through the carrier's NAT64.
  if (inner && !within(address, NAT64)) return failed({ reason: 'embedded-ipv4' })
  return ok(ip)
}

function embeddedIn(address: ipaddr.IPv6): ipaddr.IPv4 | null {
  const found = EMBEDDED.find(({ range }) => address.match(range))
  if (!found) return null
  return new ipaddr.IPv4(address.toByteArray().slice(found.at, found.at + 4))
}

function refusedAs(address: ipaddr.IPv4 | ipaddr.IPv6): string | null {
  const special = RANGES.find(({ range }) => within(address, range))
  if (special) return special.reason
  if (address instanceof ipaddr.IPv4) return null
  if (NEVER.some((range) => address.match(range))) return 'embedded-ipv4'
  return address.match(GLOBAL_UNICAST) ? null : 'reserved'
}

function within(address: ipaddr.IPv4 | ipaddr.IPv6, range: Cidr | null): boolean {
  if (range === null || address.kind() !== range[0].kind()) return false
  return address.match(range[0] as never, range[1])
}

function networkOf(text: string): Cidr | null {
  if (ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text)
  if (!ipaddr.isValid(text)) return null
  return [ipaddr.parse(text), isIPv4(text) ? 32 : 128]
}

/** True when the address belongs to this machine: mail for it would come straight back (loop, 5.4.6). */
export function isOwnAddress(ip: string): boolean {
  if (!ipaddr.isValid(ip)) return false
  const address = ipaddr.process(ip.split('%', 1)[0]!)
  // Every loopback address and the unspecified ones lead back here, listed at an interface or not.
  if (['loopback', 'unspecified'].includes(refusedAs(address) ?? '')) return true
  const wanted = address.toNormalizedString()
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { address } of addresses ?? []) {
      if (ipaddr.process(address.split('%', 1)[0]!).toNormalizedString() === wanted) return true
    }
  }
  return false
}
