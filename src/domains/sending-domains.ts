import { type Clock, EX, Fault } from '#base'
import { type DkimKey, parseAddress } from '#mail'
import type { Records, RecordsTables, Vault } from '#store'
import { KeyRing, type PublishedKey } from './key-ring.ts'

export type SendingDomain = {
  readonly name: string
  /** Where bounces of this domain come back to; empty: the domain keeps its MAIL FROM and bounces go to the sender. */
  readonly bounceHost: string
  readonly active: boolean
  readonly createdMs: number
}

/** The domains mail may be sent for, and their keys. Kept in memory whole: an installation has hundreds, not millions. */
export class SendingDomains {
  readonly #records: Records
  readonly #clock: Clock
  /** The keys of the domains, and their rotation. */
  readonly keyRing: KeyRing
  readonly #domains = new Map<string, SendingDomain>()
  readonly #byBounceHost = new Map<string, SendingDomain>()

  private constructor(records: Records, vault: Vault, clock: Clock) {
    this.#records = records
    this.#clock = clock
    this.keyRing = new KeyRing(records, vault, clock)
  }

  static async open(records: Records, vault: Vault, clock: Clock): Promise<SendingDomains> {
    const domains = new SendingDomains(records, vault, clock)
    for (const row of await records.read(records.query.selectFrom('domains').selectAll()))
      domains.#remember(sendingDomain(row))
    return domains
  }

  get(name: string): SendingDomain | undefined {
    return this.#domains.get(name)
  }

  /**
   * The domain by either form of its name (`münchen.example`, `xn--mnchen-3ya.example`), in any case.
   * @throws Fault `not-found`, `invalid-domain`
   */
  named(text: string): SendingDomain {
    const domain = this.#domains.get(domainName(text, 'domain'))
    if (domain !== undefined) return domain
    throw unknownDomain(text)
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
    if (host === domain)
      throw new Fault('the bounce host is the domain itself: all mail to the domain would come here', {
        code: 'invalid-domain',
        field: 'bounce_host',
        remedy: `Take a name below it, such as bounces.${domain}.`,
        exitCode: EX.DATAERR,
      })
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
    const keys = await this.keyRing.insertPair(domain, 'signing', null)
    await this.#records.write(
      query.insertInto('domains').values({ name: domain, created_ms: nowMs, bounce_host: host, active: 1 }),
      ...keys,
    )
    this.#remember(added)
    this.keyRing.forget(domain)
    return added
  }

  /** Forgets the domain and its keys; mail already accepted for it goes on unsigned only if nobody holds it: remove when its queue is empty. */
  async remove(name: string): Promise<boolean> {
    const domain = this.#domains.get(name)
    if (domain === undefined) return false
    const { query } = this.#records
    await this.#records.write(
      this.keyRing.deleteAll(name),
      query.deleteFrom('domains').where('name', '=', name),
      query.deleteFrom('settings').where('name', '=', `dns-watch:${name}`),
    )
    this.#domains.delete(name)
    this.#byBounceHost.delete(domain.bounceHost)
    this.keyRing.forget(name)
    return true
  }

  /** The keys that sign for a domain; empty when it is not known. */
  keysFor(name: string): Promise<readonly DkimKey[]> {
    return this.keyRing.keysFor(name)
  }

  publishedKeys(name: string): Promise<readonly PublishedKey[]> {
    return this.keyRing.published(name)
  }

  #remember(domain: SendingDomain): void {
    this.#domains.set(domain.name, domain)
    if (domain.bounceHost !== '') this.#byBounceHost.set(domain.bounceHost, domain)
  }
}

export function sendingDomain(row: RecordsTables['domains']): SendingDomain {
  return { name: row.name, bounceHost: row.bounce_host, active: row.active === 1, createdMs: row.created_ms }
}

export function unknownDomain(text: string): Fault {
  return new Fault(`there is no sending domain ${JSON.stringify(text)}`, {
    code: 'not-found',
    field: 'domain',
    remedy: 'See those there are with: relevo domain list; add it with: relevo domain add',
    exitCode: EX.NOINPUT,
  })
}

/**
 * A domain name as it is kept: lower case, A-labels.
 * @throws Fault `invalid-domain`
 */
export function domainName(text: string, field: string): string {
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
