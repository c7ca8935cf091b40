import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import ipaddr from 'ipaddr.js'
import { messageOf } from '#base'
import { isHostName } from './check-format.ts'
import { parseListen } from './listen-address.ts'
import { shown } from './problem.ts'
import type { Config } from './schema.ts'

/** Says one thing about a key; `true` from `known` means that the key itself is in order and may be looked at. */
export type Together = {
  readonly known: (...keys: string[]) => boolean
  readonly report: (field: string, message: string, remedy: string) => void
  readonly withFiles: boolean
}

/** What no key tells alone: what must stand together, and what live mode asks for. */
export function checkTogether(config: Config, context: Together): void {
  hostName(config, context)
  listeners(config, context)
  certificate(config, context)
  trusted(config, context)
  sources(config, context)
  tlsPolicies(config, context)
  const { known, report } = context
  if (
    known('limits.driver', 'limits.redis_url_file') &&
    config.limits.driver === 'redis' &&
    config.limits.redis_url_file === ''
  )
    report(
      'limits.redis_url_file',
      'limits.redis_url_file is missing; limits.driver = "redis" needs it',
      'Put the URL of the Redis server into a file of mode 0600 and name it there',
    )
}

function hostName(config: Config, { known, report }: Together): void {
  if (!known('mode', 'hostname') || config.mode !== 'live') return
  const { hostname } = config
  if (hostname !== 'localhost' && hostname.includes('.') && !hostname.toLowerCase().endsWith('.localhost')) return
  report(
    'hostname',
    `hostname is ${shown(hostname)}; in live mode it must be the full name that other mail servers can look up`,
    'Set it to the name that the PTR record of this host gives, such as mail.example.com',
  )
}

function listeners(config: Config, { known, report }: Together): void {
  const listed: (readonly [key: string, text: string])[] = [
    ...config.submission.starttls_listen.map((text) => ['submission.starttls_listen', text] as const),
    ...config.submission.tls_listen.map((text) => ['submission.tls_listen', text] as const),
    ...config.submission.trusted_listen.map((text) => ['submission.trusted_listen', text] as const),
    ...config.inbound.listen.map((text) => ['inbound.listen', text] as const),
    ...config.http.listen.map((text) => ['http.listen', text] as const),
    ['metrics.listen', config.metrics.listen],
    ['sandbox.listen', config.sandbox.listen],
  ]
  const taken: { key: string; text: string; port: number; host: string }[] = []
  for (const [key, text] of listed) {
    const address = known(key) ? parseListen(text) : null
    if (address === null || address.port === 0) continue
    const host = ipaddr.parse(address.host).toString()
    const other = taken.find((one) => one.port === address.port && overlap(one.host, host))
    if (other !== undefined)
      report(
        key,
        `${key} has ${text}, which ${other.key} already has${other.text === text ? '' : ` as ${other.text}`}`,
        'Give each listener an address of its own',
      )
    taken.push({ key, text, port: address.port, host })
  }
}

/** The same address, or one of them is all addresses of that family. */
function overlap(a: string, b: string): boolean {
  if (a.includes(':') !== b.includes(':')) return false
  return a === b || a === '0.0.0.0' || b === '0.0.0.0' || a === '::' || b === '::'
}

function certificate(config: Config, { known, report, withFiles }: Together): void {
  const { certificate_file: certificateFile, key_file: keyFile } = config.tls
  if ((certificateFile === '') !== (keyFile === '')) {
    const [missing, there] =
      keyFile === '' ? ['tls.key_file', 'tls.certificate_file'] : ['tls.certificate_file', 'tls.key_file']
    report(missing, `${missing} is missing; ${there} is set`, 'Set both or none')
  }
  if (
    known('mode', 'http.listen') &&
    config.mode === 'live' &&
    certificateFile === '' &&
    keyFile === '' &&
    config.http.listen.some((text) => !isLoopback(text))
  )
    report(
      'http.listen',
      `http.listen has ${config.http.listen.find((text) => !isLoopback(text))}, where tokens would pass in clear text`,
      'Set tls.certificate_file and tls.key_file, or listen on 127.0.0.1 behind a proxy',
    )
  if (!withFiles || certificateFile === '' || keyFile === '' || !known('tls.certificate_file', 'tls.key_file')) return
  let parsed: X509Certificate
  try {
    parsed = new X509Certificate(readFileSync(certificateFile))
  } catch {
    report(
      'tls.certificate_file',
      `tls.certificate_file ${certificateFile} is not a certificate in PEM form`,
      'Name the file with the certificate and its chain (fullchain.pem)',
    )
    return
  }
  try {
    if (parsed.checkPrivateKey(createPrivateKey(readFileSync(keyFile)))) return
    report(
      'tls.key_file',
      `tls.key_file ${keyFile} is not the key of the certificate ${certificateFile}`,
      'Name the two files that were issued together',
    )
  } catch (error) {
    report(
      'tls.key_file',
      `tls.key_file ${keyFile} is not a private key in PEM form (${messageOf(error)})`,
      'Name the file with the private key, not encrypted (privkey.pem)',
    )
  }
}

function isLoopback(text: string): boolean {
  const address = parseListen(text)
  return address === null || ipaddr.process(address.host).range() === 'loopback'
}

function trusted(config: Config, { known, report }: Together): void {
  const { trusted_listen, trusted_networks, trusted_domains } = config.submission
  if (trusted_listen.length === 0 || !known('submission.trusted_listen')) return
  if (trusted_networks.length === 0 && known('submission.trusted_networks'))
    report(
      'submission.trusted_networks',
      'submission.trusted_networks is empty; submission.trusted_listen takes mail from these networks only',
      'List the networks that may submit without authentication, such as 10.0.0.0/8',
    )
  if (trusted_domains.length === 0 && known('submission.trusted_domains'))
    report(
      'submission.trusted_domains',
      'submission.trusted_domains is empty; trusted networks may send for these domains only',
      'List the sending domains that trusted networks may use',
    )
}

function sources(config: Config, { known, report }: Together): void {
  if (!known('sources')) return
  const seen = new Set<string>()
  for (const [i, { address, ehlo }] of config.sources.entries()) {
    const here = `sources[${i}]`
    if (!ipaddr.isValid(address) || ipaddr.parse(address).range() === 'unspecified')
      report(`${here}.address`, `${here}.address is ${shown(address)}, not an IP address of this host`, 'Correct it')
    else if (seen.has(ipaddr.parse(address).toString()))
      report(`${here}.address`, `${here}.address ${address} is listed twice`, 'Remove one of the two')
    else seen.add(ipaddr.parse(address).toString())
    if (!isHostName(ehlo))
      report(
        `${here}.ehlo`,
        `${here}.ehlo is ${shown(ehlo)}, not a host name`,
        'Set it to the name that the PTR record of the address gives',
      )
  }
}

function tlsPolicies(config: Config, { known, report }: Together): void {
  if (!known('tls_policies')) return
  const seen = new Set<string>()
  for (const [i, { domain, policy, names }] of config.tls_policies.entries()) {
    const here = `tls_policies[${i}]`
    const plain = domain.toLowerCase()
    if (!isHostName(plain.replace(/^\*\./, '')))
      report(`${here}.domain`, `${here}.domain is ${shown(domain)}, not a domain`, 'Write example.com or *.example.com')
    else if (seen.has(plain))
      report(`${here}.domain`, `${here}.domain ${domain} is listed twice`, 'Remove one of the two')
    seen.add(plain)
    const odd = names.find((name) => !isHostName(name))
    if (odd !== undefined)
      report(
        `${here}.names`,
        `${here}.names has ${shown(odd)}, not a host name`,
        'Write names as the certificate shows them',
      )
    else if (names.length > 0 && policy !== 'verify')
      report(
        `${here}.names`,
        `${here}.names is set; only policy = "verify" looks at names`,
        'Set policy = "verify", or remove names',
      )
  }
}
