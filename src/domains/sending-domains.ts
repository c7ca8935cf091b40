import { createPrivateKey } from 'node:crypto'
import { type Clock, EX, Fault, isoTime, newId } from '#base'
import { type DkimKey, dkimRecordValue, generateDkimKey, parseAddress } from '#mail'
import type { Records, Vault } from '#store'

export type SendingDomain = {
  readonly name: string
  /** Where bounces of this domain come back to; empty: the domain keeps its MAIL FROM and bounces go to the sender. */
  readonly bounceHost: string
  readonly active: boolean
  readonly createdMs: number
}

/** A DKIM key as people see it: what to publish, never the private part. */
export type PublishedKey = {
  readonly selector: string
  readonly algorithm: DkimKey['algorithm']
  /** Name of the TXT record. */
  readonly host: string
  /** Value of the TXT record. */
  readonly value: string
}

const PURPOSE = 'dkim-private-key'
const ALGORITHMS = ['rsa-sha256', 'ed25519-sha256'] as const

/** The domains mail may be sent for, and their keys. Kept in memory whole: an installation has hundreds, not millions. */
export class SendingDomains {
  readonly #records: Records
  readonly #vault: Vault
  readonly #clock: Clock
  readonly #domains = new Map<string, SendingDomain>()
  readonly #byBounceHost = new Map<string, SendingDomain>()
  readonly #keys = new Map<string, Promise<readonly DkimKey[]>>()

  private constructor(records: Records, vault: Vault, clock: Clock) {
    this.#records = records
    this.#vault = vault
    this.#clock = clock
  }

  static async open(records: Records, vault: Vault, clock: Clock): Promise<SendingDomains> {
    const domains = new SendingDomains(records, vault, clock)
    for (const row of await records.read(records.query.selectFrom('domains').selectAll()))
      domains.#remember({
        name: row.name,
        bounceHost: row.bounce_host,
        active: row.active === 1,
        createdMs: row.created_ms,
      })
    return domains
  }

  get(name: string): SendingDomain | undefined {
    return this.#domains.get(name)
  }

  byBounceHost(host: string): SendingDomain | undefined {
    return this.#byBounceHost.get(host)
  }

  list(): readonly SendingDomain[] {
    return [...this.#domains.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /**
   * Adds a domain with one RSA-2048 and one Ed25519 key (RFC 8463 §3: both, while verifiers that know only RSA exist).
   * @param bounceHost absent: `bounces.<name>`; `''`: none
   */
  async add(name: string, bounceHost?: string): Promise<SendingDomain> {
    const domain = domainName(name, 'name')
    if (this.#domains.has(domain))
      throw new Fault(`the sending domain ${domain} is there already`, {
        code: 'exists',
        field: 'name',
        remedy: `See its records with: relevo domain show ${domain}`,
        exitCode: EX.DATAERR,
      })
    const host = bounceHost === '' ? '' : domainName(bounceHost ?? `bounces.${domain}`, 'bounce_host')
    const taken = this.#byBounceHost.get(host)
    if (host !== '' && taken !== undefined)
      throw new Fault(`the bounce host ${host} belongs to ${taken.name}`, {
        code: 'exists',
        field: 'bounce_host',
        remedy: 'Give each sending domain a bounce host of its own, so that SPF aligns.',
        exitCode: EX.DATAERR,
      })
    const nowMs = this.#clock.now()
    const added: SendingDomain = { name: domain, bounceHost: host, active: true, createdMs: nowMs }
    const { query } = this.#records
    const stamp = isoTime(nowMs).slice(0, 10).replaceAll('-', '')
    const keys = await Promise.all(
      ALGORITHMS.map(async (algorithm) => {
        const made = await generateDkimKey(algorithm)
        return query.insertInto('dkim_keys').values({
          id: newId(nowMs),
          domain,
          selector: `rlv${stamp}${algorithm === 'rsa-sha256' ? 'r' : 'e'}`,
          algorithm,
          private_key: this.#vault.seal(made.privateKeyDer, PURPOSE),
          public_key: made.publicKey,
          created_ms: nowMs,
          active: 1,
        })
      }),
    )
    await this.#records.write(
      query.insertInto('domains').values({ name: domain, created_ms: nowMs, bounce_host: host, active: 1 }),
      ...keys,
    )
    this.#remember(added)
    return added
  }

  /** Forgets the domain and its keys; mail already accepted for it goes on unsigned only if nobody holds it: remove when its queue is empty. */
  async remove(name: string): Promise<boolean> {
    const domain = this.#domains.get(name)
    if (domain === undefined) return false
    const { query } = this.#records
    await this.#records.write(
      query.deleteFrom('dkim_keys').where('domain', '=', name),
      query.deleteFrom('domains').where('name', '=', name),
    )
    this.#domains.delete(name)
    this.#byBounceHost.delete(domain.bounceHost)
    this.#keys.delete(name)
    return true
  }

  /** The keys that sign for a domain, parsed once and kept; empty when the domain is not known. */
  keysFor(name: string): Promise<readonly DkimKey[]> {
    let keys = this.#keys.get(name)
    if (keys === undefined) {
      keys = this.#loadKeys(name)
      this.#keys.set(name, keys)
      keys.catch(() => this.#keys.delete(name))
    }
    return keys
  }

  async publishedKeys(name: string): Promise<readonly PublishedKey[]> {
    const rows = await this.#keyRows(name)
    return rows.map((row) => ({
      selector: row.selector,
      algorithm: row.algorithm,
      host: `${row.selector}._domainkey.${name}`,
      value: dkimRecordValue(row.algorithm, row.public_key),
    }))
  }

  async #loadKeys(name: string): Promise<readonly DkimKey[]> {
    return (await this.#keyRows(name)).map((row) => ({
      domain: name,
      selector: row.selector,
      algorithm: row.algorithm,
      key: createPrivateKey({
        key: Buffer.from(this.#vault.open(row.private_key, PURPOSE)),
        format: 'der',
        type: 'pkcs8',
      }),
    }))
  }

  #keyRows(name: string) {
    return this.#records.read(
      this.#records.query
        .selectFrom('dkim_keys')
        .selectAll()
        .where('domain', '=', name)
        .where('active', '=', 1)
        .orderBy('algorithm', 'desc'),
    )
  }

  #remember(domain: SendingDomain): void {
    this.#domains.set(domain.name, domain)
    if (domain.bounceHost !== '') this.#byBounceHost.set(domain.bounceHost, domain)
  }
}

function domainName(text: string, field: string): string {
  const parsed = parseAddress(`postmaster@${text.trim()}`)
  if (!parsed.ok || parsed.value.domain.startsWith('['))
    throw new Fault(`${JSON.stringify(text)} is not a domain name${parsed.ok ? '' : `: ${parsed.error.reason}`}`, {
      code: 'invalid-domain',
      field,
      remedy: 'Give the domain as it stands after the @ of your sender addresses, such as example.com.',
      exitCode: EX.DATAERR,
    })
  return parsed.value.domain
}
