import type { DnsFacts } from '#domains'
import { generateDkimKey } from '#mail'
import { BABBLING, FIRST, LAME, SECOND, SILENT } from './name-servers.ts'

export const HOST = 'mail.host.test'
export const ADDRESS = '203.0.113.5'
export const RSA = 'rlv1r'
export const ED = 'rlv1e'

const rsa = await generateDkimKey('rsa-sha256')
const ed = await generateDkimKey('ed25519-sha256')
export const RSA_VALUE = `v=DKIM1; k=rsa; p=${rsa.publicKey}`
export const ED_VALUE = `v=DKIM1; k=ed25519; p=${ed.publicKey}`

const key = (domain: string, selector: string, algorithm: 'rsa-sha256' | 'ed25519-sha256', value: string) => ({
  selector,
  algorithm,
  host: `${selector}._domainkey.${domain}`,
  value,
  state: 'signing' as const,
  signsFromMs: null,
  signedUntilMs: null,
})

export function factsOf(domain: string, more: Partial<DnsFacts> = {}): DnsFacts {
  return {
    domain,
    bounceHost: `bounces.${domain}`,
    createdMs: Date.UTC(2026, 10, 24),
    keys: [key(domain, RSA, 'rsa-sha256', RSA_VALUE), key(domain, ED, 'ed25519-sha256', ED_VALUE)],
    hostname: HOST,
    hosts: [{ name: HOST, addresses: [ADDRESS] }],
    reportAddress: `reports@bounces.${domain}`,
    ...more,
  }
}

/** Strings of a TXT record in a zone file. */
export function txt(...strings: readonly string[]): string {
  return strings.map((one) => `"${one.replace(/["\\]/g, '\\$&')}"`).join(' ')
}
const cut = (text: string): string => txt(...(text.match(/.{1,255}/g) ?? []))

export type Lines = Readonly<Record<string, string>>

/** A zone in which everything is as it must be, a line a record. */
export function goodZone(domain: string): Lines {
  return {
    mx: `bounces MX 10 ${HOST}.`,
    'bounce-spf': `bounces TXT ${txt(`v=spf1 a:${HOST} -all`)}`,
    'domain-spf': `@ TXT ${txt(`v=spf1 a:${HOST} ~all`)}`,
    dmarc: `_dmarc TXT ${txt(`v=DMARC1; p=none; rua=mailto:reports@bounces.${domain}`)}`,
    rsa: `${RSA}._domainkey TXT ${cut(RSA_VALUE)}`,
    ed: `${ED}._domainkey TXT ${txt(ED_VALUE)}`,
  }
}

/** Zones that the cases lean on: the host, its addresses, and what others publish. */
export const COMMON: Readonly<Record<string, string>> = {
  'host.test': `mail A ${ADDRESS}
mail TXT ${txt('v=spf1 a -all')}
alias CNAME mail
nowhere TXT "no address"
noptr A 203.0.113.6
noptr TXT ${txt('v=spf1 a -all')}
odd A 203.0.113.7
odd TXT ${txt('v=spf1 a -all')}
other A 203.0.113.8
other TXT ${txt('v=spf1 a -all')}
inside A 10.1.2.3
inside TXT ${txt('v=spf1 a -all')}
_dmarc TXT ${txt('v=DMARC1; p=reject')}`,
  '113.0.203.in-addr.arpa': `5 PTR ${HOST}.
7 PTR ip7.hoster.test.
8 PTR other-name.hoster.test.`,
  'hoster.test': 'ip7 A 203.0.113.99\nother-name A 203.0.113.8',
  'reports.test': `agreed.test._report._dmarc TXT ${txt('v=DMARC1')}`,
  'elsewhere.test': 'www A 203.0.113.80',
  'spf.test': `ok TXT ${txt('v=spf1 ip4:198.51.100.0/24 -all')}
none TXT "something else"
many TXT ${txt('v=spf1 include:m1.spf.test include:m2.spf.test include:m3.spf.test include:m4.spf.test -all')}
${[1, 2, 3, 4].map((i) => `m${i} TXT ${txt(`v=spf1 include:ok.spf.test mx:ok.spf.test a:ok.spf.test -all`)}`).join('\n')}
ok A 198.51.100.1
ok MX 10 ok.spf.test.
loop TXT ${txt('v=spf1 include:loop2.spf.test -all')}
loop2 TXT ${txt('v=spf1 include:loop.spf.test -all')}
bad TXT ${txt('v=spf1 ipv4:198.51.100.1 -all')}`,
}

export type Case = {
  /** What happened, as a person would tell it. */
  readonly what: string
  /** The zone, made of the good one. */
  readonly zone: (good: Lines, domain: string) => Lines | null
  /** `record code` of every finding, in any order; `zone code` of those about the zone. */
  readonly expect: readonly string[]
  readonly ready?: boolean
  readonly domain?: string
  readonly facts?: (domain: string) => Partial<DnsFacts>
  readonly second?: (good: Lines, domain: string) => Lines
  readonly servers?: readonly string[]
  readonly bogus?: true
  readonly empty?: true
  /** What must be published, of one record. */
  readonly publish?: { readonly id: string; readonly value: string | ((domain: string) => string) }
}

const without = (good: Lines, ...ids: readonly string[]): Lines =>
  Object.fromEntries(Object.entries(good).filter(([id]) => !ids.includes(id)))
const host = (name: string, addresses: readonly string[]) => (): Partial<DnsFacts> => ({
  hostname: name,
  hosts: [{ name, addresses }],
})
/** Lines for another host than the usual one. */
const forHost = (good: Lines, name: string): Lines =>
  Object.fromEntries(Object.entries(good).map(([id, line]) => [id, line.replaceAll(HOST, name)]))
const UPPER_KEY = RSA_VALUE.replace(/p=.*/, (p) => `p=${p.slice(2).toLowerCase()}`)

export const CASES: readonly Case[] = [
  { what: 'all is well', zone: (good) => good, expect: [], ready: true },
  {
    what: 'nothing is published',
    zone: () => ({ one: 'www A 203.0.113.80' }),
    expect: [
      'bounce-mx mx-missing',
      'bounce-spf spf-missing',
      'domain-spf spf-missing',
      'dmarc dmarc-missing',
      `dkim-${RSA} dkim-missing`,
      `dkim-${ED} dkim-missing`,
    ],
  },
  {
    what: 'a CNAME stands at the DMARC name',
    zone: (good) => ({ ...good, dmarc: '_dmarc CNAME www', www: 'www A 203.0.113.80' }),
    expect: ['dmarc cname-at-name'],
  },
  {
    what: 'a CNAME stands at the bounce host',
    zone: (good) => ({ ...without(good, 'mx', 'bounce-spf'), cname: `bounces CNAME ${HOST}.` }),
    // The text of the host's own SPF record shows through the alias.
    expect: ['bounce-mx cname-at-name'],
  },
  {
    what: 'the key is published by a CNAME that leads to it',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey CNAME keys`, keys: `keys TXT ${txt(ED_VALUE)}` }),
    expect: [],
    ready: true,
  },
  {
    what: 'the panel stored quotation marks with the key',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(`"${ED_VALUE}"`)}` }),
    expect: [`dkim-${ED} quotes-in-value`],
    publish: { id: `dkim-${ED}`, value: ED_VALUE },
  },
  {
    what: 'quotes and spaces of two strings were pasted into one value',
    zone: (good) => ({
      ...good,
      rsa: `${RSA}._domainkey TXT ${txt(`${RSA_VALUE.slice(0, 200)}" "`, RSA_VALUE.slice(200))}`,
    }),
    expect: [`dkim-${RSA} quotes-in-value`],
  },
  {
    what: 'the keys were swapped: each stands at the selector of the other',
    zone: (good) => ({
      ...good,
      rsa: `${RSA}._domainkey TXT ${txt(ED_VALUE)}`,
      ed: `${ED}._domainkey TXT ${cut(RSA_VALUE)}`,
    }),
    expect: [`dkim-${RSA} wrong-selector`, `dkim-${ED} wrong-selector`],
  },
  {
    what: 'the selector is written wrong',
    zone: (good) => ({ ...good, ed: `rlv1._domainkey TXT ${txt(ED_VALUE)}` }),
    expect: [`dkim-${ED} dkim-missing`],
  },
  {
    what: 'the key of somebody else stands there',
    zone: (good) => ({
      ...good,
      ed: `${ED}._domainkey TXT ${txt('v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=')}`,
    }),
    expect: [`dkim-${ED} key-differs`],
  },
  {
    what: 'the key was cut at 255 octets, because the panel takes one string',
    zone: (good) => ({ ...good, rsa: `${RSA}._domainkey TXT ${txt(RSA_VALUE.slice(0, 255))}` }),
    expect: [`dkim-${RSA} key-truncated`],
    publish: { id: `dkim-${RSA}`, value: RSA_VALUE },
  },
  {
    what: 'the end of the key was lost in pasting',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(ED_VALUE.slice(0, -3))}` }),
    expect: [`dkim-${ED} key-truncated`],
  },
  {
    what: 'the panel cut the long value into two records',
    zone: (good) => ({
      ...good,
      rsa: `${RSA}._domainkey TXT ${txt(RSA_VALUE.slice(0, 255))}`,
      rsa2: `${RSA}._domainkey TXT ${txt(RSA_VALUE.slice(255))}`,
    }),
    expect: [`dkim-${RSA} txt-in-pieces`],
  },
  {
    what: 'an old key was left beside the new one',
    zone: (good) => ({ ...good, old: `${ED}._domainkey TXT ${txt('v=DKIM1; k=rsa; p=AAAA')}` }),
    expect: [`dkim-${ED} dkim-two-records`],
  },
  {
    what: 'spaces came into the key by pasting from a mail',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(`${ED_VALUE.slice(0, 40)}  ${ED_VALUE.slice(40)}`)}` }),
    expect: [`dkim-${ED} spaces-in-key`],
    ready: true,
  },
  {
    what: 'spaces stand around tags, which is allowed',
    zone: (good) => ({
      ...good,
      ed: `${ED}._domainkey TXT ${txt(ED_VALUE.replaceAll('=', ' = ').replace(/ = $/, '='))}`,
    }),
    expect: [],
    ready: true,
  },
  {
    what: 'the panel made small letters of all',
    zone: (good) => ({ ...good, rsa: `${RSA}._domainkey TXT ${cut(UPPER_KEY)}` }),
    expect: [`dkim-${RSA} case-changed`],
  },
  {
    what: 'the semicolons are stored with backslashes',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(ED_VALUE.replaceAll(';', '\\;'))}` }),
    expect: [`dkim-${ED} semicolon-escaped`],
  },
  {
    what: 'the semicolons were lost',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(ED_VALUE.replaceAll(';', ''))}` }),
    expect: [`dkim-${ED} semicolons-missing`],
  },
  {
    what: 'the key was revoked',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt('v=DKIM1; k=ed25519; p=')}` }),
    expect: [`dkim-${ED} dkim-revoked`],
  },
  {
    what: 'the kind of key was left out, so it is taken for RSA',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(ED_VALUE.replace(' k=ed25519;', ''))}` }),
    expect: [`dkim-${ED} dkim-key-type`],
  },
  {
    what: 'the version is in small letters',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(ED_VALUE.replace('DKIM1', 'dkim1'))}` }),
    expect: [`dkim-${ED} dkim-version`],
  },
  {
    what: 'the key allows SHA-1 alone',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(ED_VALUE.replace('k=', 'h=sha1; k='))}` }),
    expect: [`dkim-${ED} dkim-hash`],
  },
  {
    what: 'the key is for another service',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(ED_VALUE.replace('k=', 's=web; k='))}` }),
    expect: [`dkim-${ED} dkim-service`],
  },
  {
    what: 'the key is still marked as a test',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt(ED_VALUE.replace('k=', 't=y; k='))}` }),
    expect: [`dkim-${ED} dkim-testing`],
    ready: true,
  },
  {
    what: 'something else altogether stands at the selector',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT "google-site-verification=abc"` }),
    expect: [`dkim-${ED} dkim-unreadable`],
  },
  {
    what: 'octets that are no text stand at the selector',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT "\\000\\255\\027[31m\\001"` }),
    expect: [`dkim-${ED} dkim-unreadable`],
  },
  {
    what: '_domainkey was forgotten',
    zone: (good) => ({ ...good, ed: `${ED} TXT ${txt(ED_VALUE)}` }),
    expect: [`dkim-${ED} dkim-missing`, `dkim-${ED} at-wrong-name`],
  },
  {
    what: 'the key stands at the domain itself',
    zone: (good) => ({ ...good, ed: `@ TXT ${txt(ED_VALUE)}` }),
    expect: [`dkim-${ED} dkim-missing`, `dkim-${ED} at-wrong-name`],
  },
  {
    what: 'the panel put the domain behind the full name again',
    zone: (good, domain) => ({ ...good, dmarc: good.dmarc!.replace('_dmarc', `_dmarc.${domain}`) }),
    expect: ['dmarc dmarc-missing', 'dmarc name-doubled'],
  },
  {
    what: 'the underscores were stripped',
    zone: (good) => ({ ...good, ed: good.ed!.replace('_domainkey', 'domainkey'), dmarc: good.dmarc!.slice(1) }),
    expect: [
      'dmarc dmarc-missing',
      'dmarc underscore-missing',
      `dkim-${ED} dkim-missing`,
      `dkim-${ED} underscore-missing`,
    ],
  },
  {
    what: 'DMARC stands at the domain itself',
    zone: (good) => ({ ...good, dmarc: `@ TXT ${txt('v=DMARC1; p=none')}` }),
    expect: ['dmarc dmarc-missing', 'dmarc at-wrong-name'],
  },
  {
    what: 'two DMARC records: the stricter one is kept',
    zone: (good) => ({ ...good, more: `_dmarc TXT ${txt('v=DMARC1; p=reject; rua=mailto:me@reports.test')}` }),
    expect: ['dmarc dmarc-two', 'dmarc-report-reports.test dmarc-reports-not-authorised'],
    publish: { id: 'dmarc', value: 'v=DMARC1; p=reject; rua=mailto:me@reports.test' },
  },
  {
    what: 'DMARC without semicolons',
    zone: (good) => ({
      ...good,
      dmarc: `_dmarc TXT ${txt('v=DMARC1 p=quarantine rua=mailto:reports@bounces.example')}`,
    }),
    expect: ['dmarc semicolons-missing', 'dmarc-report-bounces.example dmarc-reports-not-authorised'],
    publish: { id: 'dmarc', value: 'v=DMARC1; p=quarantine; rua=mailto:reports@bounces.example' },
  },
  {
    what: 'DMARC in small letters',
    zone: (good) => ({ ...good, dmarc: `_dmarc TXT ${txt('v=dmarc1; p=reject')}` }),
    expect: ['dmarc dmarc-version'],
    publish: { id: 'dmarc', value: (domain) => `v=DMARC1; p=reject; rua=mailto:reports@bounces.${domain}` },
  },
  {
    what: 'DMARC with a space before it',
    zone: (good) => ({ ...good, dmarc: `_dmarc TXT ${txt(' v=DMARC1; p=none')}` }),
    expect: ['dmarc leading-space'],
  },
  {
    what: 'DMARC without a policy',
    zone: (good) => ({ ...good, dmarc: `_dmarc TXT ${txt('v=DMARC1; rua=mailto:reports@bounces.example')}` }),
    expect: ['dmarc dmarc-policy-missing', 'dmarc-report-bounces.example dmarc-reports-not-authorised'],
  },
  {
    what: 'DMARC with a policy that is none',
    zone: (good) => ({ ...good, dmarc: `_dmarc TXT ${txt('v=DMARC1; p=monitor')}` }),
    expect: ['dmarc dmarc-policy-unknown'],
  },
  {
    what: 'DMARC is strict already and is not weakened',
    zone: (good, domain) => ({ ...good, dmarc: `_dmarc TXT ${txt(`v=DMARC1; p=reject; rua=mailto:x@${domain}`)}` }),
    expect: [],
    ready: true,
    publish: { id: 'dmarc', value: (domain) => `v=DMARC1; p=reject; rua=mailto:x@${domain}` },
  },
  {
    what: 'DMARC asks nobody for reports: only that is added',
    zone: (good) => ({ ...good, dmarc: `_dmarc TXT ${txt('v=DMARC1; p=reject; adkim=s;')}` }),
    expect: ['dmarc dmarc-no-reports'],
    ready: true,
    publish: { id: 'dmarc', value: (domain) => `v=DMARC1; p=reject; adkim=s; rua=mailto:reports@bounces.${domain}` },
  },
  {
    what: 'sp leaves subdomains open',
    zone: (good, domain) => ({
      ...good,
      dmarc: `_dmarc TXT ${txt(`v=DMARC1; p=reject; sp=none; rua=mailto:x@${domain}`)}`,
    }),
    expect: ['dmarc dmarc-subdomains-weaker'],
    ready: true,
  },
  {
    what: 'aspf=s with a bounce host below the domain',
    zone: (good, domain) => ({
      ...good,
      dmarc: `_dmarc TXT ${txt(`v=DMARC1; p=none; aspf=s; rua=mailto:x@${domain}`)}`,
    }),
    expect: ['dmarc dmarc-spf-strict'],
    ready: true,
  },
  {
    what: 'rua without mailto:',
    zone: (good, domain) => ({ ...good, dmarc: `_dmarc TXT ${txt(`v=DMARC1; p=none; rua=x@${domain}`)}` }),
    expect: ['dmarc dmarc-reports-unreadable'],
    ready: true,
  },
  {
    what: 'reports go elsewhere, and nobody agreed there',
    zone: (good) => ({ ...good, dmarc: `_dmarc TXT ${txt('v=DMARC1; p=none; rua=mailto:x@reports.test')}` }),
    expect: ['dmarc-report-reports.test dmarc-reports-not-authorised'],
    ready: true,
  },
  {
    what: 'reports go elsewhere, where they are agreed to',
    domain: 'agreed.test',
    zone: (good) => ({ ...good, dmarc: `_dmarc TXT ${txt('v=DMARC1; p=none; rua=mailto:x@reports.test')}` }),
    expect: [],
    ready: true,
  },
  {
    what: 'DMARC stands at the parent only: its sp holds and is not weakened',
    domain: 'news.parent.test',
    zone: (good) => ({
      ...without(good, 'dmarc'),
      parent: `$ORIGIN parent.test.\n_dmarc TXT ${txt('v=DMARC1; p=none; sp=reject; rua=mailto:x@parent.test')}`,
    }),
    expect: ['dmarc dmarc-at-parent'],
    ready: true,
    publish: { id: 'dmarc', value: 'v=DMARC1; p=reject; rua=mailto:reports@bounces.news.parent.test' },
  },
  {
    what: 'no SPF at the bounce host, which stands below _spf instead',
    zone: (good) => ({ ...good, 'bounce-spf': good['bounce-spf']!.replace('bounces', '_spf.bounces') }),
    expect: ['bounce-spf spf-missing', 'bounce-spf at-wrong-name'],
  },
  {
    what: 'SPF in capitals',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt(`V=SPF1 a:${HOST} -all`)}` }),
    expect: ['bounce-spf spf-capitals'],
    ready: true,
    publish: { id: 'bounce-spf', value: `v=spf1 a:${HOST} -all` },
  },
  {
    what: 'SPF of another host: ours is merged in, what stands there stays',
    zone: (good) => ({ ...good, 'domain-spf': `@ TXT ${txt('v=spf1 include:ok.spf.test ip4:198.51.100.7 ~all')}` }),
    expect: ['domain-spf spf-not-covering'],
    ready: true,
    publish: { id: 'domain-spf', value: `v=spf1 include:ok.spf.test ip4:198.51.100.7 a:${HOST} ~all` },
  },
  {
    what: 'SPF of another host at the bounce host',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt('v=spf1 include:ok.spf.test -all')}` }),
    expect: ['bounce-spf spf-not-covering'],
    publish: { id: 'bounce-spf', value: `v=spf1 include:ok.spf.test a:${HOST} -all` },
  },
  {
    what: 'a second SPF record was added instead of merging: one is made of both',
    zone: (good) => ({ ...good, more: `@ TXT ${txt('v=spf1 include:ok.spf.test ~all')}` }),
    expect: ['domain-spf spf-two'],
    publish: { id: 'domain-spf', value: `v=spf1 a:${HOST} include:ok.spf.test ~all` },
  },
  {
    what: '+all',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt('v=spf1 +all')}` }),
    expect: ['bounce-spf spf-everybody'],
    publish: { id: 'bounce-spf', value: `v=spf1 a:${HOST} ~all` },
  },
  {
    what: '?all, and ~all which is well',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt(`v=spf1 a:${HOST} ?all`)}` }),
    expect: ['bounce-spf spf-neutral'],
    ready: true,
  },
  {
    what: 'no all at the end',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt(`v=spf1 a:${HOST}`)}` }),
    expect: ['bounce-spf spf-open-end'],
    ready: true,
  },
  {
    what: 'our host was put behind all',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt(`v=spf1 -all a:${HOST}`)}` }),
    expect: ['bounce-spf spf-behind-all', 'bounce-spf spf-not-covering'],
  },
  {
    what: 'ptr in SPF',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt(`v=spf1 ptr a:${HOST} -all`)}` }),
    expect: ['bounce-spf spf-ptr'],
    ready: true,
  },
  {
    what: 'a word of SPF is written wrong (ipv4:)',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt('v=spf1 ipv4:203.0.113.5 -all')}` }),
    expect: ['bounce-spf spf-syntax'],
    publish: { id: 'bounce-spf', value: `v=spf1 a:${HOST} -all` },
  },
  {
    what: 'an included record is written wrong',
    zone: (good) => ({ ...good, 'domain-spf': `@ TXT ${txt(`v=spf1 a:${HOST} include:bad.spf.test ~all`)}` }),
    expect: ['domain-spf spf-syntax'],
  },
  {
    what: 'SPF with semicolons as in DMARC',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt(`v=spf1; a:${HOST}; -all`)}` }),
    expect: ['bounce-spf spf-version'],
  },
  {
    what: 'SPF includes a name without SPF',
    zone: (good) => ({ ...good, 'domain-spf': `@ TXT ${txt(`v=spf1 a:${HOST} include:none.spf.test ~all`)}` }),
    expect: ['domain-spf spf-include-nowhere'],
  },
  {
    what: 'SPF needs more than ten look-ups',
    zone: (good) => ({ ...good, 'domain-spf': `@ TXT ${txt(`v=spf1 a:${HOST} include:many.spf.test ~all`)}` }),
    expect: ['domain-spf spf-too-many-look-ups'],
  },
  {
    what: 'SPF has ten look-ups already: our address goes in as an address',
    zone: (good) => ({
      ...good,
      'domain-spf': `@ TXT ${txt(`v=spf1 ${'a:ok.spf.test '.repeat(10)}~all`)}`,
    }),
    expect: ['domain-spf spf-not-covering'],
    ready: true,
    publish: { id: 'domain-spf', value: `v=spf1 ${'a:ok.spf.test '.repeat(10)}ip4:${ADDRESS} ~all` },
  },
  {
    what: 'SPF asks for three names that are gone',
    zone: (good) => ({
      ...good,
      'domain-spf': `@ TXT ${txt(`v=spf1 a:${HOST} a:g1.spf.test a:g2.spf.test mx:g3.spf.test ~all`)}`,
    }),
    expect: ['domain-spf spf-void-look-ups'],
  },
  {
    what: 'SPF includes lead in a circle',
    zone: (good) => ({ ...good, 'domain-spf': `@ TXT ${txt(`v=spf1 a:${HOST} include:loop.spf.test ~all`)}` }),
    expect: ['domain-spf spf-loop'],
  },
  {
    what: 'SPF in two strings without a space between',
    zone: (good) => ({ ...good, 'domain-spf': `@ TXT ${txt('v=spf1 include:ok.spf.test', `a:${HOST} ~all`)}` }),
    expect: ['domain-spf split-without-space'],
    publish: { id: 'domain-spf', value: `v=spf1 include:ok.spf.test a:${HOST} ~all` },
  },
  {
    what: 'quotation marks stored with SPF',
    zone: (good) => ({ ...good, 'bounce-spf': `bounces TXT ${txt(`"v=spf1 a:${HOST} -all"`)}` }),
    expect: ['bounce-spf quotes-in-value'],
    publish: { id: 'bounce-spf', value: `v=spf1 a:${HOST} -all` },
  },
  {
    what: 'other records beside SPF are left alone',
    zone: (good) => ({ ...good, more: '@ TXT "google-site-verification=abc"' }),
    expect: [],
    ready: true,
  },
  {
    what: 'no MX at the bounce host',
    zone: (good) => without(good, 'mx'),
    expect: ['bounce-mx mx-missing'],
  },
  {
    what: 'the MX is an alias',
    zone: (good) => ({ ...good, mx: 'bounces MX 10 alias.host.test.' }),
    facts: () => ({ hostname: 'alias.host.test' }),
    expect: ['bounce-mx mx-to-alias'],
  },
  {
    what: 'the MX is another host',
    zone: (good) => ({ ...good, mx: 'bounces MX 10 ok.spf.test.' }),
    expect: ['bounce-mx mx-elsewhere'],
  },
  {
    what: 'another host comes before ours',
    zone: (good) => ({ ...good, mx2: 'bounces MX 5 ok.spf.test.' }),
    expect: ['bounce-mx mx-others-first'],
    ready: true,
  },
  {
    what: 'the MX is an address',
    zone: (good) => ({ ...good, mx: `bounces MX 10 ${ADDRESS}.` }),
    expect: ['bounce-mx mx-is-address'],
  },
  {
    what: 'the panel put the domain behind the MX host',
    zone: (good) => ({ ...good, mx: `bounces MX 10 ${HOST}` }),
    expect: ['bounce-mx value-doubled'],
  },
  {
    what: 'a null MX at the bounce host',
    zone: (good) => ({ ...good, mx: 'bounces MX 0 .' }),
    expect: ['bounce-mx mx-null'],
  },
  {
    what: 'the host has no address',
    zone: (good) => forHost(good, 'nowhere.host.test'),
    facts: host('nowhere.host.test', []),
    expect: ['host-a address-missing', 'host-spf spf-missing', 'bounce-mx mx-without-address'],
  },
  {
    what: 'the host leads to another address than the one that connects',
    zone: (good) => good,
    facts: host(HOST, ['203.0.113.9']),
    expect: [
      'host-a address-differs',
      'ptr ptr-missing',
      'bounce-spf spf-not-covering',
      'domain-spf spf-not-covering',
      'host-spf spf-not-covering',
    ],
  },
  {
    what: 'the host leads to an address inside',
    zone: (good) => forHost(good, 'inside.host.test'),
    facts: host('inside.host.test', []),
    expect: ['host-a address-not-public', 'ptr ptr-missing'],
  },
  {
    what: 'the address has no name',
    zone: (good) => forHost(good, 'noptr.host.test'),
    facts: host('noptr.host.test', ['203.0.113.6']),
    expect: ['ptr ptr-missing'],
  },
  {
    what: 'the name of the address does not lead back',
    zone: (good) => forHost(good, 'odd.host.test'),
    facts: host('odd.host.test', ['203.0.113.7']),
    expect: ['ptr ptr-mismatch'],
  },
  {
    what: 'the address has another name, which leads back',
    zone: (good) => forHost(good, 'other.host.test'),
    facts: host('other.host.test', ['203.0.113.8']),
    expect: ['ptr ptr-other-name'],
    ready: true,
  },
  {
    what: 'a wildcard for parking answers every TXT',
    zone: (good) => ({ ...without(good, 'dmarc', 'ed'), wild: '* TXT "parked; see parking.example"' }),
    // Beside the other key the wildcard does not reach: the name _domainkey is there.
    expect: ['dmarc wildcard', `dkim-${ED} dkim-missing`],
  },
  {
    what: 'a wildcard MX takes the bounces',
    zone: (good) => ({ ...without(good, 'mx', 'bounce-spf'), wild: '* MX 10 ok.spf.test.' }),
    expect: ['bounce-mx wildcard', 'bounce-spf spf-missing'],
  },
  {
    what: 'a wildcard CNAME of a website builder',
    zone: (good) => ({ ...without(good, 'dmarc'), wild: '* CNAME www', www: 'www A 203.0.113.80' }),
    expect: ['dmarc wildcard'],
  },
  {
    what: 'the second name server has not got the new zone yet',
    zone: (good) => good,
    second: (good) => without(good, 'dmarc'),
    expect: ['dmarc servers-disagree'],
  },
  {
    what: 'the name servers have different wrong answers',
    zone: (good) => ({ ...good, ed: `${ED}._domainkey TXT ${txt('v=DKIM1; k=ed25519; p=')}` }),
    second: (good) => ({ ...good, ed: `${ED}._domainkey TXT "other"` }),
    expect: [`dkim-${ED} dkim-revoked`, `dkim-${ED} servers-disagree`],
  },
  {
    what: 'one of the servers named at the registrar does not have the zone',
    zone: (good) => good,
    servers: [FIRST, LAME],
    expect: ['zone lame-delegation'],
    ready: true,
  },
  {
    what: 'none of the servers named at the registrar has the zone',
    zone: (good) => good,
    servers: [LAME],
    expect: ['zone lame-delegation'],
  },
  {
    what: 'one of the name servers does not answer',
    zone: (good) => good,
    servers: [SECOND, SILENT],
    expect: ['zone name-server-silent'],
    ready: true,
  },
  {
    what: 'no name server of the zone answers',
    zone: (good) => good,
    servers: [SILENT],
    expect: ['zone name-server-silent'],
  },
  {
    what: 'a name server answers what is no DNS',
    zone: (good) => good,
    servers: [FIRST, BABBLING],
    expect: ['zone name-server-silent'],
    ready: true,
  },
  {
    what: 'the name servers answer SERVFAIL: the zone expired on them',
    zone: () => null,
    empty: true,
    expect: ['zone name-server-failing', 'zone name-server-failing'],
  },
  {
    what: 'DNSSEC does not hold',
    zone: (good) => good,
    bogus: true,
    expect: ['zone dnssec-bogus'],
  },
  {
    what: 'the domain does not exist',
    zone: () => null,
    expect: ['zone no-such-domain'],
  },
  {
    what: 'TLS reports asked for twice, MTA-STS without an id',
    zone: (good) => ({
      ...good,
      tls: `_smtp._tls.bounces TXT ${txt('v=TLSRPTv1; rua=mailto:a@b.test')}`,
      tls2: `_smtp._tls.bounces TXT ${txt('v=TLSRPTv1; rua=mailto:c@b.test')}`,
      sts: `_mta-sts.bounces TXT ${txt('v=STSv1;')}`,
    }),
    expect: ['tls-rpt tls-rpt-two', 'mta-sts mta-sts-unreadable'],
  },
  {
    what: 'the host has no full name',
    zone: (good) => good,
    facts: () => ({ hostname: 'localhost', hosts: [{ name: 'localhost', addresses: [] }] }),
    expect: ['zone host-name-not-public'],
  },
  {
    what: 'the bounce host is of another organisation',
    zone: (good) => ({ ...good }),
    facts: () => ({ bounceHost: 'bounces.elsewhere.test', reportAddress: 'reports@agreed.test' }),
    expect: ['zone bounce-host-elsewhere', 'bounce-mx mx-missing', 'bounce-spf spf-missing'],
  },
  {
    what: 'a domain without a bounce host keeps its return path: SPF at the domain is required',
    zone: (good) => without(good, 'mx', 'bounce-spf', 'domain-spf'),
    facts: (domain) => ({ bounceHost: '', reportAddress: `reports@bounces.${domain}` }),
    expect: ['domain-spf spf-missing'],
  },
]
