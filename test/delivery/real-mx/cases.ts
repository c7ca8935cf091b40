import { type ChildProcess, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { appendFileSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { certificate, openPolicyHost, tempDir, worldCa } from '#world'
import { LocalApi } from '../../../scripts/quickstart/local-api.ts'
import { stsText, tlsa } from '../secured-zones.ts'
import { type Face, Postfix } from './postfix.ts'
import { SignedZones } from './signed-zones.ts'

const RELEVO = join(import.meta.dirname, '../../../scripts/relevo')

type Case = {
  readonly name: string
  readonly zone?: 'signed' | 'plain' | 'bogus'
  /** Which face of Postfix is its MX. */
  readonly face: 'valid' | 'self' | 'other' | 'clear'
  readonly tlsa?: 'leaf' | 'authority' | 'wrong'
  /** Mode of its MTA-STS policy; `elsewhere`: enforce, for another host; `gone`: announced, and not there. */
  readonly sts?: 'enforce' | 'testing' | 'elsewhere' | 'gone'
  readonly message?: 'require_tls' | 'TLS-Required: No'
  /** State and reason, and how it was secured. Written before the first run. */
  readonly expect: string
}

/** A host of each kind, and what is published for it. */
export const CASES: readonly Case[] = [
  { name: 'nothing-published', face: 'self', expect: 'sent tls' },
  { name: 'nothing-published-no-tls', face: 'clear', expect: 'sent clear' },
  { name: 'dane-right', face: 'self', tlsa: 'leaf', expect: 'sent tls (dane)' },
  { name: 'dane-right-authority', face: 'valid', tlsa: 'authority', expect: 'sent tls (dane)' },
  { name: 'dane-wrong', face: 'valid', tlsa: 'wrong', expect: 'deferred tls-untrusted 4.7.5' },
  { name: 'dane-authority-other-name', face: 'other', tlsa: 'authority', expect: 'deferred tls-untrusted 4.7.5' },
  { name: 'dane-no-tls', face: 'clear', tlsa: 'leaf', expect: 'deferred tls-not-offered 4.7.4' },
  { name: 'dane-not-signed', zone: 'plain', face: 'self', tlsa: 'wrong', expect: 'sent tls' },
  { name: 'zone-bogus', zone: 'bogus', face: 'valid', tlsa: 'leaf', expect: 'waits dns-servfail' },
  { name: 'sts-right', face: 'valid', sts: 'enforce', expect: 'sent tls (mta-sts verify)' },
  { name: 'sts-self-signed', face: 'self', sts: 'enforce', expect: 'deferred tls-untrusted 4.7.5' },
  { name: 'sts-other-name', face: 'other', sts: 'enforce', expect: 'deferred tls-untrusted 4.7.5' },
  { name: 'sts-no-tls', face: 'clear', sts: 'enforce', expect: 'deferred tls-not-offered 4.7.4' },
  { name: 'sts-other-host', face: 'valid', sts: 'elsewhere', expect: 'deferred sts-mx-not-listed 4.7.5' },
  { name: 'sts-testing', face: 'self', sts: 'testing', expect: 'sent tls (mta-sts-testing opportunistic)' },
  { name: 'sts-gone', face: 'self', sts: 'gone', expect: 'sent tls' },
  { name: 'sts-not-signed', zone: 'plain', face: 'valid', sts: 'enforce', expect: 'sent tls (mta-sts verify)' },
  { name: 'dane-right-sts-not', face: 'self', tlsa: 'leaf', sts: 'enforce', expect: 'sent tls (dane)' },
  {
    name: 'dane-wrong-sts-right',
    face: 'valid',
    tlsa: 'wrong',
    sts: 'enforce',
    expect: 'deferred tls-untrusted 4.7.5',
  },
  // Postfix 3.7 does not know REQUIRETLS.
  {
    ...{ name: 'requiretls-not-offered', face: 'self', tlsa: 'leaf', message: 'require_tls' },
    expect: 'bounced requiretls-not-offered 5.7.30',
  },
  { name: 'requiretls-no-tls', face: 'clear', message: 'require_tls', expect: 'bounced tls-not-offered 5.7.10' },
  {
    ...{ name: 'requiretls-unproven', zone: 'plain', face: 'valid', message: 'require_tls' },
    expect: 'bounced requiretls-unproven-host 5.7.10',
  },
  { name: 'tls-required-no', face: 'clear', sts: 'enforce', message: 'TLS-Required: No', expect: 'sent clear' },
]

export type CaseResult = {
  readonly name: string
  readonly expect: string
  readonly got: string
  /** Messages that Postfix took for it. */
  readonly taken: number
  readonly detail: string
  readonly ok: boolean
}

type View = {
  readonly recipients: readonly {
    readonly state: string
    readonly reason: string
    readonly tries: readonly { readonly tls: string; readonly reply: string }[]
  }[]
}
type Events = { readonly events: readonly { readonly type: string; readonly status: string | null }[] }

const domainOf = ({ name, zone = 'signed' }: Case): string => `${name}.${zone}.test`

/** Relevo itself against one Postfix with four faces, in signed zones; one result a case. Takes 20 s or so. */
export async function runCases(say: (text: string) => void): Promise<readonly CaseResult[]> {
  await using room = await tempDir()
  const ca = await worldCa()
  const dnsPort = portOf()
  const smtpPort = portOf()
  const valid = await certificate(CASES.filter(({ face }) => face === 'valid').map((one) => `mx.${domainOf(one)}`))
  const self = await certificate(['mx.self.test'], 'self-signed')
  const other = await certificate(['mx.elsewhere.test'])
  const chained = (name: string, certFile: string): string => {
    copyFileSync(certFile, room.join(name))
    // Under usage 2 the authority stands in the chain (RFC 7672 §3.1.2).
    appendFileSync(room.join(name), readFileSync(ca.certFile))
    return room.join(name)
  }
  const faces: Readonly<Record<Case['face'], Face>> = {
    valid: { address: '127.77.1.1', certFile: chained('valid.pem', valid.certFile), keyFile: valid.keyFile },
    self: { address: '127.77.1.2', certFile: self.certFile, keyFile: self.keyFile },
    other: { address: '127.77.1.3', certFile: chained('other.pem', other.certFile), keyFile: other.keyFile },
    clear: { address: '127.77.1.4' },
  }
  await using policies = await openPolicyHost()
  for (const one of CASES) {
    const mode = one.sts === 'elsewhere' ? 'enforce' : one.sts
    const host = one.sts === 'elsewhere' ? 'mx.elsewhere.test' : `mx.${domainOf(one)}`
    if (mode === 'enforce' || mode === 'testing') policies.set(domainOf(one), { text: stsText(mode, [host]) })
  }
  const recordsOf = (zone: NonNullable<Case['zone']>): string =>
    CASES.filter((one) => (one.zone ?? 'signed') === zone)
      .flatMap((one) => recordsFor(one, faces[one.face], ca.cert, smtpPort))
      .join('\n')
  await using zones = await SignedZones.open(room.path, dnsPort, {
    signed: recordsOf('signed'),
    plain: recordsOf('plain'),
    bogus: recordsOf('bogus'),
  })
  say(`signed zones at ${zones.address}`)
  await using postfix = await Postfix.open(room.path, smtpPort, Object.values(faces))
  say('Postfix greets at four addresses')
  writeFileSync(
    room.join('relevo.toml'),
    `mode = "live"
hostname = "mail.sender.test"
data_dir = ${JSON.stringify(room.join('data'))}
[submission]
starttls_listen = []
tls_listen = []
[inbound]
listen = []
[http]
listen = []
[metrics]
listen = ""
[queue]
min_free_bytes = 1048576
[delivery]
port = ${smtpPort}
dns_servers = ["${zones.address}"]
allow_networks = ["127.0.0.0/8"]
ip = "ipv4"
ca_file = ${JSON.stringify(ca.certFile)}
mta_sts_port = ${policies.port}
dsn = "never"
`,
  )
  await using relevo = await Relevo.start(room.join('relevo.toml'), room.join('data/control.sock'))
  say('Relevo is ready')
  await relevo.api.post('/domains', { name: 'sender.test' })
  const ids: string[] = []
  for (const one of CASES) {
    const { id } = await relevo.api.post<{ id: string }>('/queue', {
      ...{ from: 'app@sender.test', to: [`you@${domainOf(one)}`], subject: one.name, text: 'Hello.' },
      ...(one.message === 'require_tls' ? { require_tls: true } : {}),
      ...(one.message === 'TLS-Required: No' ? { headers: { 'TLS-Required': 'No' } } : {}),
    })
    ids.push(id)
  }
  const results: CaseResult[] = []
  for (const [i, one] of CASES.entries()) {
    const { got, detail } = await relevo.settled(ids[i]!)
    const mayHaveIt = one.expect.startsWith('sent')
    // What Postfix wrote down comes a moment after its answer.
    for (let wait = 0; mayHaveIt && wait < 40 && postfix.taken(`you@${domainOf(one)}`) === 0; wait++) await pause(50)
    const taken = postfix.taken(`you@${domainOf(one)}`)
    results.push({
      ...{ name: one.name, expect: one.expect, got, taken, detail },
      ok: got === one.expect && taken === (mayHaveIt ? 1 : 0),
    })
  }
  return results
}

function recordsFor(one: Case, { address, certFile }: Face, ca: string, port: number): readonly string[] {
  const { name } = one
  const records = [`${name} MX 10 mx.${name}`, `mx.${name} A ${address}`]
  if (one.sts !== undefined) records.push(`_mta-sts.${name} TXT "v=STSv1; id=1;"`, `mta-sts.${name} A 127.0.0.1`)
  if (one.tlsa === undefined) return records
  const shown = new X509Certificate(
    one.tlsa === 'authority' ? ca : certFile === undefined ? ca : readFileSync(certFile),
  )
  const record = tlsa(one.tlsa === 'authority' ? 2 : 3, one.tlsa === 'authority' ? 0 : 1, 1, shown)
  const data = one.tlsa === 'wrong' ? '11'.repeat(32) : record.certificate.toString('hex')
  return [...records, `_${port}._tcp.mx.${name} TLSA ${record.usage} ${record.selector} ${record.matchingType} ${data}`]
}

/** Below the ports that the system gives to outgoing connections. */
function portOf(): number {
  return 20_000 + Math.floor(Math.random() * 12_000)
}

/** The real daemon process. */
class Relevo implements AsyncDisposable {
  readonly api: LocalApi
  readonly #child: ChildProcess

  private constructor(api: LocalApi, child: ChildProcess) {
    this.api = api
    this.#child = child
  }

  static async start(configFile: string, socket: string): Promise<Relevo> {
    const child = spawn(RELEVO, ['serve', '--config', configFile], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => {
        output = (output + data.toString()).slice(-5000)
      })
    const relevo = new Relevo(new LocalApi(socket), child)
    for (let i = 0; i < 800 && child.exitCode === null; i++) {
      const status = await relevo.api.get<{ ready: boolean }>('/status').catch(() => null)
      if (status?.ready === true) return relevo
      await pause(25)
    }
    await relevo[Symbol.asyncDispose]()
    throw new Error(`the daemon did not start: ${output}`)
  }

  /** What became of the one recipient once it was tried, or what it waits for without a try. */
  async settled(id: string): Promise<{ readonly got: string; readonly detail: string }> {
    for (let i = 0; i < 400; i++) {
      const { recipients } = await this.api.get<View>(`/queue/${id}`)
      const [recipient] = recipients
      const last = recipient?.tries.at(-1)
      if (recipient !== undefined && last !== undefined && !['ready', 'leased'].includes(recipient.state)) {
        const { events } = await this.api.get<Events>(`/events?message_id=${id}`)
        const status = events.find(({ type }) => type === recipient.state)?.status ?? ''
        const how = last.tls === '' ? 'clear' : last.tls.replace(/^TLSv1\.[23] TLS_\w+/, 'tls')
        return recipient.state === 'sent'
          ? { got: `sent ${how}`, detail: last.tls }
          : { got: `${recipient.state} ${recipient.reason} ${status}`, detail: last.reply }
      }
      const why = await this.api.get<{ recipients: readonly { reason: string | null }[] }>(`/queue/${id}/why`)
      const reason = why.recipients[0]?.reason ?? ''
      if (reason.startsWith('dns-')) return { got: `waits ${reason}`, detail: 'the domain rests' }
      await pause(50)
    }
    return { got: 'nothing within 20 s', detail: '' }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGTERM')
    await ended
  }
}
